"""Which columns hold texts and labels, and what must be true of them: the checks behind `load_data`.
Every refusal is one sentence that names the file, the row and the remedy."""

import re

import numpy as np
import pandas as pd

from helpers.data.tables import Table
from helpers.exceptions import DataError

EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
ELEVEN_EMOTIONS = (
    "anger", "anticipation", "disgust", "fear", "joy", "love", "optimism", "pessimism", "sadness", "surprise", "trust",
)  # fmt: skip
TEXT_COLUMNS = ("text", "Tweet", "sentence", "content", "review")
LABEL_COLUMNS = (("label",), ("emotion",), ("sentiment",), ("labels",), ELEVEN_EMOTIONS)  # the last as in SemEval
BINARY = ("0", "1", "0.0", "1.0")  # how files write no and yes
MAX_CHARACTERS = 1_000_000  # of one text; a longer one is a file that was read wrongly


def find_text_column(table: Table, wanted: str | None) -> str:
    """Return `wanted`, or else the first of the usual names that the table has."""
    found = [name for name in TEXT_COLUMNS if name in table.rows] if wanted is None else [wanted]
    if not found:
        raise DataError(f"{table.source} has no column 'text' (it has {_join(table.rows)}): set text_column=….")
    return found[0]


def find_label_columns(table: Table, wanted, text_column: str) -> list[str]:
    """Return the columns that are `wanted`, or else those of a usual name, or else all columns of 0 and 1."""
    if wanted is not None:
        return [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    for usual in LABEL_COLUMNS:
        if set(usual) <= set(table.rows):
            return list(usual)
    binary = [c for c in table.rows if c != text_column and table.rows[c].astype(str).isin(BINARY).all()]
    if len(binary) < 2:
        raise DataError(f"{table.source} has no column 'label' (it has {_join(table.rows)}): set label_column=….")
    return binary


def check_ids(table: Table) -> None:
    """Refuse a competition's file in which a row came twice, as after merging two files."""
    ids = table.rows.get("ID", pd.Series(dtype=str))
    if (row := table.first(ids.duplicated())) is not None:
        raise DataError(f"{table.place(row)}: the ID {ids.iloc[row]!r} occurs a second time: give every row its own.")


def check_columns(table: Table, needed: list[str]) -> None:
    """Refuse a table that lacks one of the `needed` columns."""
    for name in needed:
        if name not in table.rows:
            raise DataError(f"{table.source} has no column {name!r}: it has {_join(table.rows)}.")


def check_texts(table: Table, column: str, *, whole: bool = True) -> None:
    """Refuse texts that are missing, blank or endless; make the others `str`. `whole` says that all rows are in the table."""
    _check_cells(table, column, whole=whole)
    table.rows[column] = table.rows[column].astype(str)
    if (row := table.first(table.rows[column].str.len() > MAX_CHARACTERS)) is not None:
        size = f"{len(table.rows[column].iloc[row]):,} characters; the course reads {MAX_CHARACTERS:,}"
        raise DataError(f"{table.place(row)}: {column!r} has {size}: cut the text in pieces.")


def _check_cells(table: Table, column: str, *, whole: bool = True) -> None:
    """Refuse what is no text or label: lists, objects and bytes, which jsonl and parquet files may hold, and blanks."""
    values = table.rows[column]
    if values.dtype == object:
        row = table.first([isinstance(value, list | tuple | dict | bytes | np.ndarray) for value in values])
        if row is not None:
            value = _join([repr(values.iloc[row])])[:60]
            raise DataError(f"{table.place(row)}: {column!r} is {value}, but must be one text or number.")
    empty = np.flatnonzero(values.isna() | (values.astype(str).str.strip() == ""))
    if len(empty):
        count = f"{'' if whole else 'at least '}{len(empty)} such rows"
        raise DataError(f"{table.place(empty[0])}: {column!r} is empty ({count}): fill or delete them.")


def check_binary(table: Table, columns: list[str]) -> None:
    """Refuse cells other than 0 and 1; make them "0" and "1"."""
    for name in columns:
        values = table.rows[name].astype(str)
        if (row := table.first(~values.isin(BINARY))) is not None:
            raise DataError(f"{table.place(row)}: {name!r} is {values.iloc[row]!r}, but must be 0 or 1.")
        table.rows[name] = values.str[0]


def find_label_names(tables: dict[str, Table], column: str) -> list[str]:
    """Return the labels of train: the six emotions in their usual order, other names sorted, numbers by value.
    Refuses blank labels, fewer than two of them, one that occurs once, and one that train does not have."""
    for table in tables.values():
        _check_cells(table, column)
        table.rows[column] = table.rows[column].astype(str).str.strip()
    train = tables["train"]
    counts = train.rows[column].value_counts()
    if len(counts) < 2:
        raise DataError(f"{train.source}: {column!r} has only the label {counts.index[0]!r}; a classifier needs two.")
    if counts.min() == 1:
        rare = counts.index[-1]
        place = train.place(train.first(train.rows[column] == rare))
        raise DataError(f"{place}: the label {rare!r} occurs only here: add examples, or merge or delete it.")
    names = set(counts.index)
    for table in tables.values():
        if (row := table.first(~table.rows[column].isin(names))) is not None:
            label = table.rows[column].iloc[row]
            raise DataError(f"{table.place(row)}: unknown label {label!r}: train has {_join(sorted(names))}.")
    if names == set(EMOTIONS):
        return list(EMOTIONS)
    return sorted(names, key=lambda name: (0, int(name), name) if re.fullmatch(r"-?\d{1,9}", name) else (1, 0, name))


def _join(names) -> str:
    """Return names for a message: on one line, and not more than fit there."""
    line = " ".join(", ".join(map(str, names)).split())
    return line if len(line) <= 300 else line[:300] + "…"
