"""Rows that became part of one cell, because a quotation mark was never closed and a later one happened to close it."""

import re

SAMPLE_ROWS = 1000  # enough to know what the cells of a column look like


class Suspects:
    """Rows that reach over several lines. One is swallowed rows if each of its lines, taken by itself, is a row: as many
    cells as the header, and in them what the other rows have there. A text with line breaks hardly ever looks so."""

    def __init__(self, separator: str):
        self.separator, self.kinds, self.found = separator, None, None
        self._sample: list[list[str]] = []
        self._waiting: list[tuple[int, list[str]]] = []

    def learn(self, row: list[str], width: int) -> None:
        """Take a row of one line as an example; after enough of them, look at the rows that wait."""
        if len(row) == width:
            self._sample.append(row)
        if len(self._sample) >= SAMPLE_ROWS:
            self.close(width)

    def add(self, number: int, row: list[str]) -> None:
        """Look at a row of several lines, at once or when enough is known."""
        lines = re.split(r"\r\n|\r|\n", self.separator.join(row))
        if len(row) > 1 and all(line.count(self.separator) == len(row) - 1 for line in lines):
            self._waiting.append((number, lines))
            if self.kinds is not None:
                self.close(len(row))

    def close(self, width: int) -> int | None:
        """Return the number of the first row that swallowed others, as far as is known."""
        if self.kinds is None:
            self.kinds = [_find_kind([row[i] for row in self._sample]) for i in range(width)]
        for number, lines in self._waiting:
            if self.found is None and all(self._is_row(line) for line in lines):
                self.found = number
        self._waiting.clear()
        return self.found

    def _is_row(self, line: str) -> bool:
        known = [(kind, cell) for kind, cell in zip(self.kinds, line.split(self.separator), strict=True) if kind]
        fits = all(cell in kind if isinstance(kind, set) else re.fullmatch(kind, cell) for kind, cell in known)
        return fits and (bool(known) or self.separator == "\t")


def _find_kind(cells: list[str]) -> set[str] | str | None:
    """Return what the cells of a column have in common: a few values, or a pattern; None for texts of any kind."""
    values = set(cells)
    if len(values) <= max(2, len(cells) // 4):
        return values
    for pattern in (r"\s*-?[\d.]+\s*", r"\S*\d\S*"):  # numbers; names of one word with a number in it
        if all(re.fullmatch(pattern, cell) for cell in cells):
            return pattern
    return None
