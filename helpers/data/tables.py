"""Files in, tables out: every cell as it was written, and one sentence for whatever cannot be read.
What the tables must hold to be a dataset is checked in `columns`; which reader a dataset needs is chosen in `load`."""

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

from helpers.assets.find import read_pinned
from helpers.assets.hub_errors import explain_hub_errors
from helpers.exceptions import DataError

SPLITS = ("train", "validation", "test")
KINDS = ("csv", "tsv", "jsonl", "parquet")
SUFFIXES = tuple(f".{kind}{packed}" for kind in KINDS for packed in ("", ".gz"))
SEPARATORS = {"csv": ",", "tsv": "\t"}
# Every cell as text, so that nothing is guessed: "NA" stays a word, "01" keeps its zero.
AS_TEXT = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "skip_blank_lines": False}
MAX_COLUMNS = 1_000


@dataclass
class Table:
    """Rows of one split with the file they came from; the index counts the file's rows, blank ones included."""

    rows: pd.DataFrame
    source: str
    first_line: int

    def __post_init__(self):
        count = len(self.rows.columns)
        if count > MAX_COLUMNS:
            raise DataError(f"{self.source} has {count:,} columns; the course reads {MAX_COLUMNS:,}: delete some.")

    def place(self, row: int) -> str:
        """Return where a row stands, for a message: the file's name and the row's number in it."""
        return f"{self.source}, row {self.rows.index[row] + self.first_line}"

    @staticmethod
    def first(wrong) -> int | None:
        """Return the first row at which `wrong`, one truth value per row, is true; None if it is true of none."""
        rows = np.flatnonzero(wrong)
        return int(rows[0]) if len(rows) else None


def read_local_tables(path: Path) -> dict[str, Table]:
    """Return the splits that a file or folder holds; a single file is train."""
    if path.is_file():
        return {"train": read_table(path)}
    files = {name: [file for suffix in SUFFIXES if (file := path / f"{name}{suffix}").is_file()] for name in SPLITS}
    if not files["train"]:
        raise DataError(f"{path} holds no train file: name it train.csv, .tsv, .jsonl or .parquet (also with .gz).")
    for name, found in files.items():
        if len(found) > 1:
            raise DataError(f"{path} holds {found[0].name} and {found[1].name}: keep only one file for {name}.")
    return {name: read_table(found[0]) for name, found in files.items() if found}


def read_chunks(path: Path, chunk_rows: int) -> Iterator[Table]:
    """Yield a .csv or .tsv file (also .gz) piece by piece, at most `chunk_rows` rows each: memory for any length of file.
    Cells, index, checks and errors are those of `read_table`; a file without rows is an error, too."""
    separator, found = SEPARATORS.get(_find_kind(path)), False
    if separator is None:
        raise DataError(f"{path.name}: only .csv and .tsv files (also .gz) are read in pieces: save it as one.")
    with _guarded(path), pd.read_csv(path, sep=separator, chunksize=chunk_rows, **AS_TEXT) as chunks:
        for rows in chunks:
            rows = _clean_rows(rows, separator, path.name)
            if len(rows):
                found = True
                yield Table(rows, path.name, first_line=2)
    if not found:
        raise DataError(f"{path.name} has no rows: fill it.")


def read_table(path: Path) -> Table:
    """Return the rows of one data file, every cell as text."""
    kind = _find_kind(path)
    with _guarded(path):
        if kind == "parquet":
            content = path.read_bytes()
            rows = pd.read_parquet(io.BytesIO(gzip.decompress(content) if path.suffix == ".gz" else content))
        elif kind == "jsonl":
            rows = pd.read_json(path, lines=True, dtype=False, convert_dates=False, encoding="utf-8-sig")
        else:
            rows = _clean_rows(pd.read_csv(path, sep=SEPARATORS[kind], **AS_TEXT), SEPARATORS[kind], path.name)
    if rows.empty:
        raise DataError(f"{path.name} has no rows: fill it, or delete the file to have the split carved out of train.")
    return Table(rows, path.name, first_line=1 if kind in ("jsonl", "parquet") else 2)


def _find_kind(path: Path) -> str:
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind not in KINDS:
        raise DataError(f"{path.name}: the course reads .csv, .tsv, .jsonl and .parquet files (also .gz), not this.")
    return kind


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Refuse a file that would fill the memory, and turn what the libraries raise while it is read into one sentence."""
    try:
        if path.suffix == ".gz":
            _refuse_bomb(path)
        yield
    except DataError:
        raise
    except UnicodeDecodeError as error:
        bad = _line_of_bad_bytes(path)
        raise DataError(f"{path.name} is not UTF-8 ({bad}): save it again with the encoding UTF-8.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path.name} is empty: it needs a header line and rows.") from error
    except (pd.errors.ParserError, ValueError, OSError, EOFError, zlib.error) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path.name} could not be read ({reason}): repair or export it again.") from error


def _clean_rows(rows: pd.DataFrame, separator: str, name: str) -> pd.DataFrame:
    """Return `rows` of a .csv or .tsv file without blank lines (the index keeps counting them); refuse shifted cells."""
    if not isinstance(rows.index, pd.RangeIndex):  # pandas took surplus first cells for an index
        raise DataError(f"{name}: rows have more cells than the header: put texts with commas in quotes.")
    rows = rows[~(rows.isna() | (rows == "")).all(axis=1)]
    _refuse_swallowed_rows(rows, separator, name)
    return rows


def _refuse_bomb(path: Path) -> None:
    """Unpack a .gz file piece by piece, keeping nothing, and refuse one that would fill the memory."""
    unpacked = 0
    with gzip.open(path) as file:
        while piece := file.read(1 << 20):
            unpacked += len(piece)
            if unpacked > 100e6 and unpacked > 100 * path.stat().st_size:  # text packs to a third, seldom to a tenth
                raise DataError(f"{path.name} unpacks to more than 100 times its size, as no text does: check it.")


def _refuse_swallowed_rows(rows: pd.DataFrame, separator: str, name: str) -> None:
    """Refuse a cell that holds a whole row in one of its lines: the mark of a quotation mark that was never closed."""
    values = set(rows.iloc[:, -1])
    for column in rows.columns:
        for row, cell in rows.loc[rows[column].str.contains("\n", regex=False, na=False), column].items():
            for line in cell.splitlines():
                fields = []
                with contextlib.suppress(csv.Error):  # the line is longer than any row that was swallowed
                    fields = next(csv.reader([line], delimiter=separator), [])
                if len(fields) == len(rows.columns) > 1 and (separator == "\t" or fields[-1] in values):
                    problem = "a quotation mark is not closed, so that the next rows became part of this cell"
                    raise DataError(f"{name}, row {row + 2}: {problem}: close it, or write it twice.")


def _line_of_bad_bytes(path: Path) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"row {number}, byte 0x{line[error.start]:02x}"
    return "bytes at the end"


def read_hub_tables(name: str, revision: str | None) -> dict[str, Table]:
    """Return the splits of a dataset on the Hub, its labels by name, without those whose labels are kept secret."""
    folder = read_pinned(name).get("folder")  # where a repository holds several datasets
    with explain_hub_errors(name):
        loaded = datasets.load_dataset(name, revision=revision, data_dir=folder)
    tables = {}
    for split in [split for split in SPLITS if split in loaded]:
        rows = loaded[split].to_pandas()
        features = loaded[split].features.items()
        if any(isinstance(feature, datasets.ClassLabel) and (rows[c] == -1).all() for c, feature in features):
            continue  # a benchmark that keeps its test labels to itself, as GLUE does
        for column, feature in features:
            if isinstance(feature, datasets.ClassLabel):  # read labels by name, as from a file
                rows[column] = [feature.names[i] if i >= 0 else "" for i in rows[column]]
            elif feature == datasets.Value("bool"):
                rows[column] = rows[column].astype(int)
        tables[split] = Table(rows, f"{name} ({split})", first_line=0)
    if "train" not in tables:
        raise DataError(f"{name} has no split called train: it has {', '.join(loaded)}.")
    return tables
