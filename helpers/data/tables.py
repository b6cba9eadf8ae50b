"""Files in, tables out: every cell as it was written, and one sentence for whatever cannot be read.
What the tables must hold to be a dataset is checked in `columns`; which files make a dataset is known to `layouts`."""

import contextlib
import gzip
import io
import itertools
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from helpers.data import delimited, names, records
from helpers.exceptions import DataError, shorten

SPLITS = ("train", "validation", "test")
KINDS = ("csv", "tsv", "jsonl", "json", "parquet", "xlsx", "txt")
MAX_COLUMNS = 1_000
BOMB = "unpacks to more than 100 times its size, as no text does: check it."
# What openpyxl raises for a workbook that is damaged inside, beside what is raised for other files.
DAMAGED_BOOK = (SyntaxError, TypeError, AttributeError, LookupError)
# What a file is that begins so, whatever its name says.
DISGUISES = {
    b"\x1f\x8b": "is packed by gzip: add .gz to its name",
    b"PK\x03\x04": "is a zip archive, or a workbook: unpack it, or call it .xlsx",
    b"PAR1\x15": "is a parquet file: call it .parquet",
    b"version https://git-lfs": "is what Git LFS left in place of the file: fetch it by `git lfs pull`",
}
WHOLE = 1 << 40  # rows of one piece: more than any file has


@dataclass
class Table:
    """Rows of one split with the file they came from; the index counts the file's rows, blank ones included.
    `notes` say what was found out about the file; `left_out` counts rows that were not taken, by reason."""

    rows: pd.DataFrame
    source: str
    first_line: int
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        count = len(self.rows.columns)
        if count > MAX_COLUMNS:
            raise DataError(f"{self.source} has {count:,} columns; the course reads {MAX_COLUMNS:,}: delete some.")

    def place(self, row: int) -> str:
        """Return where a row stands, for a message: the file's name and the row's number in it."""
        return f"{self.source}, row {self.rows.index[row] + self.first_line}"

    def keep(self, wanted, reason: str) -> None:
        """Leave out the rows that are not `wanted`, a truth value per row, and count them."""
        if dropped := int((~np.asarray(wanted)).sum()):
            self.rows = self.rows[np.asarray(wanted)]
            self.left_out[reason] = self.left_out.get(reason, 0) + dropped

    @staticmethod
    def first(wrong) -> int | None:
        """Return the first row at which `wrong`, one truth value per row, is true; None if it is true of none."""
        rows = np.flatnonzero(wrong)
        return int(rows[0]) if len(rows) else None


def find_kind(path: Path) -> str | None:
    """Return which of `KINDS` a file's name says it is, whatever the case and packed or not; None for other files."""
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    return kind if kind in KINDS else None


def read_table(path: Path) -> Table:
    """Return the rows of one data file, every cell as text, but for lists and objects."""
    tables = list(read_chunks(path, WHOLE))
    if len(tables) == 1:
        return tables[0]
    rows = pd.concat([table.rows for table in tables])
    return Table(rows, tables[0].source, tables[0].first_line, tables[0].notes, tables[0].left_out)


def read_chunks(path: Path, chunk_rows: int) -> Iterator[Table]:
    """Yield a data file piece by piece, at most `chunk_rows` rows each, in its order: memory for any length of file (of
    a JSON array, which has to be read whole, only the table is cut). All pieces have the same columns. Raises `DataError`
    for what cannot be read, and for a file without rows."""
    kind, source, found = find_kind(path), shorten(path.name), False
    if kind is None:
        known = ".csv, .tsv, .jsonl and .parquet files (also .gz), .json and .xlsx, not this"
        raise DataError(f"{source}: the course reads {known}: save it as one of them.")
    with _guarded(path):
        _refuse_disguise(path, kind)
        notes, left_out, pieces = _open(path, kind, chunk_rows)
        for rows in pieces:
            if len(rows):
                found = True
                yield Table(rows, source, 1 if kind in ("jsonl", "json", "parquet", "txt") else 2, notes, left_out)
    if not found:
        raise DataError(f"{source} has no rows: fill it, or delete the file to have the split carved out of train.")


def _open(path: Path, kind: str, chunk_rows: int) -> tuple[list[str], dict[str, int], Iterator[pd.DataFrame]]:
    """Return what there is to say of a file, its blank rows, and its pieces."""
    if kind in ("csv", "tsv"):
        layout = delimited.find_layout(path)
        blank = {"blank": layout.count.blank} if layout.count.blank else {}
        return layout.notes, blank, delimited.read_pieces(path, layout, chunk_rows)
    if kind == "parquet":
        return [], {}, records.read_parquet_pieces(_unpacked(path), min(chunk_rows, 1 << 20))
    if kind == "xlsx":
        return _open_workbook(path, chunk_rows)
    if kind == "txt":
        return _open_text(path, chunk_rows)
    return [], {}, records.cut_json_rows(path, chunk_rows)


def _cut(cells: Iterator[tuple[int, list]], columns: list[str], chunk_rows: int) -> Iterator[pd.DataFrame]:
    while piece := list(itertools.islice(cells, chunk_rows)):
        rows = pd.DataFrame([row for _, row in piece], index=[number for number, _ in piece], dtype=object)
        yield rows.set_axis(columns, axis=1)


def _open_text(path: Path, chunk_rows: int):
    """One text per line, in a column called text."""
    with delimited.open_text(path) as file:
        blank = sum(not line.strip() for line in file)

    def lines():
        with delimited.open_text(path) as file:
            for number, line in enumerate(file):
                if line.strip():
                    yield number, [line.rstrip("\r\n")]

    return [], {"blank": blank} if blank else {}, _cut(lines(), ["text"], chunk_rows)


def _open_workbook(path: Path, chunk_rows: int):
    """The one sheet of a workbook that has rows; its first line names the columns."""
    import openpyxl

    _refuse_zip_bomb(path)
    book = openpyxl.load_workbook(_unpacked(path), read_only=True, data_only=True)
    sheets = {}
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # some programs state them wrongly
        if any(any(cell is not None for cell in row) for row in sheet.iter_rows(values_only=True)):
            sheets[sheet.title] = sheet
    if len(sheets) != 1:
        found = f"{len(sheets)} sheets with rows ({shorten(', '.join(sheets), 80)})" if sheets else "no rows"
        raise DataError(f"{shorten(path.name)} has {found}: keep one sheet, or save the one you mean as .csv.")
    title, sheet = next(iter(sheets.items()))
    filled = [(n, row) for n, row in enumerate(sheet.iter_rows(values_only=True)) if any(c is not None for c in row)]
    start, header = filled[0]
    width = 1 + max(i for i, cell in enumerate(header) if cell is not None)
    cells = ((n - 1, [_text_of(c) for c in (*row, *[None] * width)[:width]]) for n, row in filled[1:])
    blank = filled[-1][0] + 1 - start - len(filled)
    note = f"{shorten(path.name)}: the sheet {shorten(title, 40)!r} is read."
    columns = names.name_columns([_text_of(cell) for cell in header[:width]])
    return [note], {"blank": blank} if blank else {}, _cut(cells, columns, chunk_rows)


def _unpacked(path: Path):
    """Return a file that can be read in any order: the path, or what is packed in it, in memory."""
    return io.BytesIO(gzip.decompress(path.read_bytes())) if delimited.is_packed(path) else path


def _refuse_disguise(path: Path, kind: str) -> None:
    """Refuse a file that is none of its kind, and say what it is."""
    with delimited.open_bytes(path) as file:
        start = file.read(100)
    own = {"xlsx": b"PK", "parquet": b"PAR1"}.get(kind)
    for mark, problem in DISGUISES.items():
        if start.startswith(mark) and not (own and mark.startswith(own)):
            raise DataError(f"{shorten(path.name)} {problem}.")
    first = start[:8]
    if own is None and len(first) == 8 and any(first[::2]) != any(first[1::2]):  # without a mark at its beginning
        raise DataError(
            f"{shorten(path.name)} is UTF-16, as Excel's Unicode text: save it again with the encoding UTF-8."
        )


def _refuse_zip_bomb(path: Path) -> None:
    """Refuse a workbook, which is a zip archive, that would fill the memory."""
    with zipfile.ZipFile(_unpacked(path)) as parts:
        if sum(part.file_size for part in parts.infolist()) > max(100e6, 100 * path.stat().st_size):
            raise DataError(f"{shorten(path.name)} {BOMB}")


def _text_of(cell) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Refuse a file that would fill the memory, and turn what the libraries raise while it is read into one sentence."""
    name, more = shorten(path.name), DAMAGED_BOOK if find_kind(path) == "xlsx" else ()
    try:
        if delimited.is_packed(path):
            _refuse_bomb(path)
        yield
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 ({_line_of_bad_bytes(path)}): save it again with the encoding UTF-8."
        ) from error
    except PermissionError as error:
        raise DataError(f"{name} may not be read: ask for the right to read it, or copy it.") from error
    except (pa.ArrowException, ValueError, OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, *more) as error:
        reason = shorten(str(error).strip().split("\n")[0], 80)
        raise DataError(f"{name} could not be read ({reason}): repair or export it again.") from error


def _refuse_bomb(path: Path) -> None:
    """Unpack a .gz file piece by piece, keeping nothing, and refuse one that would fill the memory."""
    unpacked = 0
    with gzip.open(path) as file:
        while piece := file.read(1 << 20):
            unpacked += len(piece)
            if unpacked > 100e6 and unpacked > 100 * path.stat().st_size:  # text packs to a third, seldom to a tenth
                raise DataError(f"{shorten(path.name)} {BOMB}")


def _line_of_bad_bytes(path: Path) -> str:
    with delimited.open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return "row 1 begins as UTF-16, Excel's Unicode text, does"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"row {number}, byte 0x{line[error.start]:02x}"
    return "bytes at the end"
