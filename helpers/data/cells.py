"""Several labels in one cell: a list, or words between separators. Which ones part labels is found out from all cells of a
column, so that "calm, at last" may be one label."""

import re
import string
from collections import Counter
from collections.abc import Callable

import pandas as pd

from helpers.data.records import split_cell
from helpers.data.tables import Table
from helpers.exceptions import DataError, shorten

CERTAIN = ("|", ";")  # no label has one of these in it
NUMBERS = ", "  # parts numbers
SEPARATORS = (*CERTAIN, ",", "#", "/", "&", "+", "\r\n", "，", "、", "；")
RUNS = (*CERTAIN, NUMBERS, "\r\n")  # several of them at once are one
WHOLE_NUMBER = r"-?\d+(\.0+)?"  # 1.0 is 1, as a table with gaps writes it


def find_splitter(tables: dict[str, Table], column: str, known: list[str] | None) -> Callable | None:
    """Return what takes the labels of one cell apart, None where a cell holds one label."""
    cells = pd.concat([table.rows[column] for table in tables.values()])
    values = {cell.strip() for cell in cells if isinstance(cell, str)} - {""}
    objects = [cell for cell in cells if isinstance(cell, list | dict) or hasattr(cell, "tolist")]
    lists = [found for value in values if (found := split_cell(value)) is not None]
    if objects or (values and (len(lists) == len(values) or any(len(found) > 1 for found in lists))):
        return lambda cell: [cell.strip()] if (found := split_cell(cell)) is None and isinstance(cell, str) else found
    separator = _find_separator(values, known)
    return (lambda cell: _cut(str(cell), separator)) if separator else None


def _find_separator(values: set[str], known: list[str] | None) -> str | None:
    """Return the characters between labels, if some cells hold several: a bar or semicolon; a comma between numbers; another
    one of `SEPARATORS` if at least half of the parts are labels of other cells, too."""
    numbers = r"\d+(?:\s*,\s*\d+)*|\d+(?: +\d+)*"
    if all(re.fullmatch(numbers, value) for value in values) and any(re.search(r"\d[ ,]", value) for value in values):
        return NUMBERS
    for separator in SEPARATORS:
        is_certain = separator in CERTAIN
        parts = {value: _cut(value, separator) for value in values}
        several = {value: found for value, found in parts.items() if len(found) > 1}
        # "joy;" is joy, as Microsoft Forms writes it; but ";)" is a face.
        if not several and not (is_certain and any(re.search(rf"\w\s*[{separator}]+$", value) for value in values)):
            continue
        where = Counter(part for found in parts.values() for part in set(found))
        pieces = {part for found in several.values() for part in found}
        shared = [part for part in pieces if (part in known if known else where[part] > 1)]
        if is_certain or ("" not in pieces and 2 * len(shared) >= len(pieces)):
            return separator
    return None


def _cut(cell: str, separator: str) -> list[str]:
    """Return the parts of a cell, without what stands at its ends: "joy;anger;" has two."""
    inside = cell.strip().strip(separator + string.whitespace)
    return [part.strip() for part in re.split(f"[{separator}]" + "+" * (separator in RUNS), inside)]


def split_cells(tables: dict[str, Table], column: str, split: Callable) -> dict[str, list[list[str]]]:
    """Return the labels of every row of every table, whole numbers without a point; refuse what cannot be taken apart."""
    lists = {
        name: [_split_one(table, column, row, split, cell) for row, cell in enumerate(table.rows[column])]
        for name, table in tables.items()
    }
    if all(re.fullmatch(WHOLE_NUMBER, label) for cells in lists.values() for cell in cells for label in cell):
        return {name: [[label.partition(".")[0] for label in cell] for cell in cells] for name, cells in lists.items()}
    return lists


def _split_one(table: Table, column: str, row: int, split: Callable, cell) -> list[str]:
    is_empty = bool(pd.api.types.is_scalar(cell) and pd.isna(cell)) or not str(cell).strip()
    labels, shown = None if is_empty else split(cell), shorten(repr(cell), 50)
    if labels is not None and "" not in labels and len(set(labels)) == len(labels):
        return labels
    problem = f"is {shown}, no list of labels"
    if is_empty:
        problem = "is empty: fill or delete it"
    elif labels is not None and "" in labels:
        problem = f"is {shown}, with a label that is empty: fill or delete it"
    elif labels is not None:
        problem = f"is {shown}, a label twice: if it is a row of 0 and 1, give every label a column"
    raise DataError(f"{table.place(row)}: {shorten(column, 40)!r} {problem}.")


def note_whole_names(names: list[str]) -> list[str]:
    """Return what to say of labels that could be several, but were taken whole."""
    if commas := [name for name in names if "," in name]:
        return [f"Labels such as {shorten(commas[0], 40)!r} are taken whole, commas included."]
    if whole := [name for name in names if re.search(rf"\w\s*[{''.join(SEPARATORS)}]\s*\w", name)]:
        remedy = "if they are several labels, part them by ;"
        return [f"Labels such as {shorten(whole[0], 40)!r} are taken whole: {remedy}."]
    return []
