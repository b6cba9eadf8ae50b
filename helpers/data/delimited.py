"""Files of cells between commas, tabs or semicolons. How one is written is not assumed but found out: Python's csv counts its
rows strictly, in each way of quoting that people use, and pyarrow reads them fast. The two must agree."""

import csv
import gzip
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from helpers.data.names import clean_name, name_columns
from helpers.data.separators import SEPARATORS, find_separator
from helpers.data.swallowed import Suspects
from helpers.exceptions import DataError, shorten

csv.field_size_limit(2**31 - 1)  # the default refuses texts of more than 131,072 characters
# Ways to quote, the likeliest first: RFC 4180; the same with a blank after the comma; \" for a quotation mark inside a
# text; not at all, so that a quotation mark is a character like any other, as in GLUE's files.
READINGS = {
    "quotes": {"strict": True},
    "blanks": {"strict": True, "skipinitialspace": True},
    "backslashes": {"strict": True, "escapechar": "\\"},
    "raw": {"quoting": csv.QUOTE_NONE},
}


@dataclass
class Count:
    """What one way of reading finds in a file."""

    header: list[str] = field(default_factory=list)
    skipped: int = 0  # records before the header: blank, or Excel's "sep=;"
    rows: int = 0  # after the header, blank ones not counted
    blank: int = 0
    short: int = 0  # rows with fewer cells than the header
    surplus: int = 0  # rows with more cells, those too many being empty
    quoted: int = 0  # rows with a cell in quotation marks, and
    stray: int = 0  # with a quotation mark elsewhere; both only where nothing is quoted
    problem: str | None = None

    @property
    def is_even(self) -> bool:
        """Whether every record is a row with as many cells as the header."""
        return not (self.blank or self.short or self.surplus)


@dataclass(frozen=True)
class Layout:
    """How a file is written, and how many rows it has."""

    separator: str
    reading: str
    count: Count
    names: list[str]  # of the columns, each once
    notes: list[str]


def is_packed(path: Path) -> bool:
    """Return whether a file's name says that gzip packed it."""
    return path.name.lower().endswith(".gz")


def open_bytes(path: Path):
    """Open a file, packed or not, to read its bytes."""
    return gzip.open(path) if is_packed(path) else open(path, "rb")


def open_text(path: Path):
    """Open a file, packed or not, as UTF-8 with its line ends as they are."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="")


def find_layout(path: Path) -> Layout:
    """Read a file to its end and return how it is written: the first of `READINGS` in which every row fits the header.
    Raises `DataError` with the first row that fits in none."""
    usual = "\t" if ".tsv" in path.name.lower()[-7:] else ","
    separator, order = _look_at(path, usual)
    first = None
    for reading in order:
        count = _count(path, separator, reading)
        first = first or count
        is_plain = reading != "raw" or (not count.short and count.stray > count.quoted)
        if count.problem is None and is_plain:
            names = name_columns(count.header)
            return Layout(separator, reading, count, names, _notes(path, usual, separator, reading, count))
    raise DataError(f"{shorten(path.name)}, {first.problem or 'row 2: its quotation marks do not fit: check them'}.")


def _notes(path: Path, usual: str, separator: str, reading: str, count: Count) -> list[str]:
    name, notes = shorten(path.name), []
    if separator != usual:
        notes.append(f"{name} is separated by {SEPARATORS[separator]}.")
    if reading == "raw":
        notes.append(f"{name}: its quotation marks enclose no cells and are read as part of the texts.")
    if reading == "backslashes":
        notes.append(f'{name}: \\" is read as a quotation mark inside a text.')
    if count.surplus:
        notes.append(f"{name}: {count.surplus:,} rows end in an empty cell more than the header: it is left out.")
    doubled = [
        shorten(cell, 40) for cell, times in Counter(clean_name(c) for c in count.header).items() if times > 1 and cell
    ]
    if doubled:
        notes.append(f"{name} has several columns {doubled[0]!r}: the first is the one of this name.")
    return notes


def _look_at(path: Path, usual: str) -> tuple[str, list[str]]:
    """Return what separates the cells of a file, by its first lines, and the readings to try in order."""
    with open_text(path) as file:
        lines = [line for line in itertools.islice((line[:100_000] for line in file), 20) if line.strip("\r\n")]
    if not lines:
        raise DataError(f"{shorten(path.name)} is empty: it needs a header line and rows.")
    separator, order = find_separator(lines, usual), list(READINGS)
    if f"{separator} " in lines[0]:  # a header such as "text, label"
        order[:2] = ["blanks", "quotes"]
    return separator, order


def _count(path: Path, separator: str, reading: str) -> Count:
    """Count the rows of a file in one way of reading; the first row that cannot be right is the `problem`."""
    count, number, line, suspects = Count(), 0, 0, Suspects(separator)
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=separator, **READINGS[reading])
        try:
            for row in reader:
                number += 1
                if not count.header:
                    if any(row) and not (len(row) <= 2 and re.fullmatch(r'"?sep=.?"?', row[0])):
                        count.header, count.skipped = row, number - 1
                    line = reader.line_num
                    continue
                if len(row) != len(count.header) or not row[0]:
                    _count_uneven(count, row, reader.line_num)
                if reader.line_num != line + 1:
                    suspects.add(number, row)
                elif suspects.kinds is None:
                    suspects.learn(row, len(count.header))
                if reading == "raw":
                    _count_marks(count, row)
                line = reader.line_num
                count.rows += 1
                if count.problem or suspects.found:
                    break
        except csv.Error as error:
            is_open = reader.line_num > line + 1 or "end of data" in str(error)
            count.problem = _describe_mark(number + 1, is_open)
    count.rows -= count.blank
    if count.problem is None and (row := suspects.close(len(count.header))) is not None:
        count.problem = _describe_mark(row, is_open=True)
    return count


def _count_uneven(count: Count, row: list[str], line: int) -> None:
    width = len(count.header)
    if not any(row):
        count.blank += 1
    elif len(row) < width:
        count.short += 1
    elif len(row) > width and any(cell.strip() for cell in row[width:]):
        many = f"{len(row):,}, not {width:,}"
        count.problem = f"line {line}: rows have more cells than the header ({many}): put texts with commas in quotes"
    elif len(row) > width:
        count.surplus += 1


def _count_marks(count: Count, row: list[str]) -> None:
    if any('"' in cell for cell in row):
        is_quoted = any(len(cell) > 1 and cell.strip()[:1] == '"' == cell.strip()[-1:] for cell in row)
        count.quoted, count.stray = count.quoted + is_quoted, count.stray + (not is_quoted)


def _describe_mark(row: int, is_open: bool) -> str:
    if is_open:
        problem = "a quotation mark is not closed, so that the next rows became part of this cell"
        return f"row {row}: {problem}: close it, or write it twice"
    return f"row {row}: a quotation mark stands inside a text in quotation marks: write it twice"


def read_pieces(path: Path, layout: Layout, piece_rows: int) -> Iterator[pd.DataFrame]:
    """Yield the rows, at most `piece_rows` at a time, every cell as text; the index counts the file's rows, blank ones
    included. Raises `DataError` if there are not as many as were counted."""
    done = 0
    if layout.count.is_even and layout.reading in ("quotes", "raw"):
        try:
            for rows in _read_fast(path, layout, piece_rows):
                rows.index = pd.RangeIndex(done + layout.count.skipped, done + layout.count.skipped + len(rows))
                done += len(rows)
                yield rows
        except pa.ArrowInvalid:  # a row longer than pyarrow's blocks: the rest is read slowly
            pass
    if done < layout.count.rows:
        for rows in _read_slowly(path, layout, piece_rows, done):
            done += len(rows)
            yield rows
    if done != layout.count.rows:
        raise DataError(f"{shorten(path.name)}: {done:,} of {layout.count.rows:,} rows were read: check its quotes.")


def _read_fast(path: Path, layout: Layout, piece_rows: int) -> Iterator[pd.DataFrame]:
    mark = '"' if layout.reading == "quotes" else False
    reading = arrow_csv.ReadOptions(
        column_names=layout.names,
        skip_rows_after_names=layout.count.skipped + 1,
        block_size=1 << 20,  # pyarrow reads some 30 of them ahead
        use_threads=False,
    )
    parsing = arrow_csv.ParseOptions(
        delimiter=layout.separator, quote_char=mark, newlines_in_values=bool(mark), ignore_empty_lines=False
    )
    # Nothing is guessed: "NA" stays a word, "01" keeps its zero.
    as_text = dict.fromkeys(layout.names, pa.large_string())
    options = arrow_csv.ConvertOptions(column_types=as_text, strings_can_be_null=False, null_values=[])
    with open_bytes(path) as file, arrow_csv.open_csv(file, reading, parsing, options) as batches:
        kept = []
        for batch in batches:
            kept.append(batch)
            table = pa.Table.from_batches(kept)
            while len(table) >= piece_rows:
                yield table.slice(0, piece_rows).to_pandas()
                table = table.slice(piece_rows)
            kept = table.to_batches()
        if sum(map(len, kept)):
            yield pa.Table.from_batches(kept).to_pandas()


def _read_slowly(path: Path, layout: Layout, piece_rows: int, done: int) -> Iterator[pd.DataFrame]:
    """Yield the rows after the first `done`: shorter ones filled up with empty cells, longer ones without theirs."""
    width, start = len(layout.names), layout.count.skipped + 1
    with open_text(path) as file:
        records = csv.reader(file, delimiter=layout.separator, **READINGS[layout.reading])
        numbered = enumerate(itertools.islice(records, start, None), start=start - 1)
        left = itertools.islice(((number, row) for number, row in numbered if any(row)), done, None)
        while piece := list(itertools.islice(left, piece_rows)):
            cells = [(row + [""] * (width - len(row)))[:width] for _, row in piece]
            columns = dict(enumerate(zip(*cells, strict=True)))
            rows = pd.DataFrame(columns, index=[number for number, _ in piece], dtype=str)
            yield rows.set_axis(layout.names, axis=1)
