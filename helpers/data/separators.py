"""What stands between the cells of a file: found out from its first lines."""

import csv
import re

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}


def find_separator(lines: list[str], usual: str) -> str:
    """Return what separates the cells of the first of `lines`: `usual`, if that is in it, unless only another one gives
    every line as many cells (a comma may be part of a name: `text;label (a, b)`)."""
    said = re.fullmatch(r'"?sep=(.)"?\s*', lines[0])
    if said and said[1] in SEPARATORS:
        return said[1]
    found = [s for s in SEPARATORS if s in lines[0] and (len(lines) == 1 or s in lines[1])]
    if usual in lines[0]:
        even = [s for s in dict.fromkeys([usual, *found]) if _is_even(lines, s)]
        return even[0] if even else usual
    return max(found, key=lines[0].count) if found else usual


def _is_even(lines: list[str], separator: str) -> bool:
    """Return whether all lines have equally many cells, and more than one."""
    try:
        widths = {len(row) for row in csv.reader(lines, delimiter=separator)}
    except csv.Error:
        return False
    return len(widths) == 1 and widths != {1}
