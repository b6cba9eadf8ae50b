"""Which columns hold texts and labels: the one that was named, or one of a usual name; never one that only looks like it.
Every refusal is one sentence that names the file, the row and the remedy."""

import re
import textwrap
import unicodedata

import numpy as np
import pandas as pd

from helpers.data.names import clean_name
from helpers.data.tables import Table
from helpers.exceptions import DataError, shorten

EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
ELEVEN_EMOTIONS = (
    "anger", "anticipation", "disgust", "fear", "joy", "love", "optimism", "pessimism", "sadness", "surprise", "trust",
)  # fmt: skip
TEXT_COLUMNS = ("text", "Tweet", "sentence", "content", "review", "comment", "message", "utterance")
LABEL_COLUMNS = (("label",), ("emotion",), ("sentiment",), ("labels",), ELEVEN_EMOTIONS)  # the last as in SemEval
# How files write no and yes, whatever the case.
BINARY = {"0": "0", "1": "1", "0.0": "0", "1.0": "1", "false": "0", "true": "1", "no": "0", "yes": "1"}
MAX_CHARACTERS = 1_000_000  # of one text; a longer one is a file that was read wrongly


def match_column(table: Table, name: str) -> str | None:
    """Return the table's column called `name`; else the only one that differs in case, in how its accents are
    stored, or in blanks around it."""
    if name in table.rows:
        return name
    wanted = clean_name(name)
    if wanted in table.rows:
        return wanted
    near = [column for column in table.rows if _fold(str(column)) == _fold(wanted)]
    return near[0] if len(near) == 1 else None


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def find_text_column(table: Table, wanted: str | None) -> str:
    """Return `wanted`, or else the first of the usual names that the table has."""
    if wanted is not None:
        return require_column(table, wanted)
    found = next((column for name in TEXT_COLUMNS if (column := match_column(table, name))), None)
    if found is None:
        _refuse_missing_header(table)
        raise DataError(f"{table.source} has no column 'text' (it has {join_names(table.rows)}): set text_column=….")
    return found


def find_label_columns(table: Table, wanted, text_column: str, known: list[str] | None = None):
    """Return the columns that are `wanted`, or else those of a usual name (or of the `known` labels), or else all others
    if they hold nothing but 0 and 1; and notes on what was not named."""
    if wanted is not None:
        if isinstance(wanted, str):
            wanted = [wanted] if match_column(table, wanted) else wanted.split(",")
        return _find_named_columns(table, list(wanted), text_column), []
    if is_from_prodigy(table) and "accept" in table.rows:
        return ["accept"], []
    usual = [*LABEL_COLUMNS, *([tuple(known)] if known else [])]
    matched = [[match_column(table, name) for name in names] for names in usual]
    matched = [names for names in matched if None not in names and text_column not in names]
    if not matched:
        return _find_binary_columns(table, text_column)
    others = [repr(names[0]) for names in matched[1:] if len(names) == 1]
    note = f"The labels are those of {matched[0][0]!r}, not of {' or '.join(others)}: label_column=… chooses."
    return matched[0], [note] if others and len(matched[0]) == 1 else []


def _find_named_columns(table: Table, wanted: list[str], text_column: str) -> list[str]:
    """Return the table's columns called as in `wanted`; refuse one that is named twice, or that holds the texts."""
    if len(wanted) > 1 and "" in map(str.strip, wanted):
        names = shorten(",".join(wanted), 60)
        raise DataError(f"label_column={names!r} has a comma without a name beside it: delete the comma.")
    found = [require_column(table, name) for name in wanted]
    if twice := [name for name in found if found.count(name) > 1]:
        raise DataError(f"label_column names {shorten(twice[0], 40)!r} twice: name each once.")
    if text_column in found:
        raise DataError(f"{table.source}: {text_column!r} is text and label at once: set text_column, label_column.")
    return found


def _find_binary_columns(table: Table, text_column: str):
    others = [c for c in table.rows if c != text_column and not str(c).startswith("Unnamed: ")]
    binary = [c for c in others if is_binary(table.rows[c])]
    constant = [c for c in binary if table.rows[c].nunique() == 1]
    if len(binary) < 2 or len(binary) < len(others) or constant:
        _refuse_missing_header(table)
        example = shorten(",".join(map(str, [c for c in binary if c not in constant])), 70)
        example = example or (others[0] if len(others) == 1 else "…")
        has = f"it has {join_names(table.rows)}"
        if any(match_column(table, name) == text_column for names in LABEL_COLUMNS for name in names):
            name = shorten(text_column, 40)
            raise DataError(f"{table.source}: {name!r} is named as the text: name the labels too, label_column=….")
        raise DataError(f"{table.source} has no column 'label' ({has}): name the labels, e.g. label_column={example}.")
    remedy = "label_column=… chooses others"
    return binary, [f"Taken for labels, as all columns but the text hold 0 or 1: {join_names(binary)}; {remedy}."]


def is_binary(cells: pd.Series) -> bool:
    """Return whether a column holds nothing but no and yes, as files write them."""
    return bool(len(cells)) and set(cells.map(str).str.strip().str.lower().unique()) <= BINARY.keys()


def is_from_prodigy(table: Table) -> bool:
    """Return whether the rows are answers that Prodigy recorded: accepted, rejected or ignored."""
    if "answer" not in table.rows or not {"accept", "label"} & set(table.rows):
        return False
    answers = set(table.rows["answer"].map(str))
    return answers <= {"accept", "reject", "ignore"} and bool({"_input_hash", "_view_id", "options"} & set(table.rows))


def require_column(table: Table, name: str) -> str:
    """Return the table's column called `name`; refuse a table that lacks it, or has it twice with different cells."""
    found = match_column(table, name)
    if found is None:
        _refuse_missing_header(table)
        raise DataError(f"{table.source} has no column {shorten(name, 40)!r}: it has {join_names(table.rows)}.")
    return found


def align_columns(table: Table, needed: list[str]) -> None:
    """Call the columns of a table as those of train are called; refuse a table that lacks one of the `needed`."""
    names = {require_column(table, name): name for name in needed}
    table.rows = table.rows.rename(columns={old: new for old, new in names.items() if old != new})


def check_twins(table: Table, columns: list[str]) -> None:
    """Refuse a label column that the table has twice with different cells: nobody can know which one is meant."""
    for name in columns:
        twin = f"{name}.1"
        if twin in table.rows and not table.rows[name].equals(table.rows[twin]):
            raise DataError(f"{table.source} has two columns {shorten(name, 40)!r} that differ: rename one of them.")


def _refuse_missing_header(table: Table) -> None:
    """Say that the header line is missing, if what stands there is a row like the others."""
    cells = [str(name) for name in table.rows if not str(name).startswith("Unnamed: ")]
    head = table.rows.head(1000)
    same = [cell for cell in cells if cell in head and (head[cell].map(str) == cell).any()]
    like_texts = [cell for cell in cells if len(cell.split()) > 4]
    if table.first_line == 2 and (same or like_texts or (cells and all(re.fullmatch(r"[\d.,-]+", c) for c in cells))):
        first = shorten(", ".join(cells), 50)
        remedy = "write one above it that names the columns, such as text and label"
        raise DataError(f"{table.source} has no header line (its first is {first!r}): {remedy}.")


def check_ids(table: Table) -> None:
    """Refuse a competition's file in which a row came twice, as after merging two files."""
    ids = table.rows["ID"] if set(ELEVEN_EMOTIONS) <= set(table.rows) and "ID" in table.rows else pd.Series(dtype=str)
    check_unique(table, ids)


def check_unique(table: Table, ids: pd.Series) -> None:
    """Refuse an ID that occurs twice."""
    if (row := table.first(ids.duplicated())) is not None:
        found = shorten(ids.iloc[row], 40)
        raise DataError(f"{table.place(row)}: the ID {found!r} occurs a second time: give every row its own.")


def check_texts(table: Table, column: str, *, whole: bool = True) -> None:
    """Refuse texts that are missing, blank or endless; make the others `str`. `whole` says that all rows are in the table."""
    check_cells(table, column, whole=whole)
    table.rows = table.rows.assign(**{column: table.rows[column].map(str)})
    if (row := table.first(table.rows[column].str.len() > MAX_CHARACTERS)) is not None:
        size = f"{len(table.rows[column].iloc[row]):,} characters; the course reads {MAX_CHARACTERS:,}"
        raise DataError(f"{table.place(row)}: {shorten(column, 40)!r} has {size}: cut the text in pieces.")


def check_cells(table: Table, column: str, *, whole: bool = True) -> None:
    """Refuse what is no text or label: lists, objects and bytes, which jsonl and parquet files may hold, and blanks."""
    values, name = table.rows[column], shorten(column, 40)
    if values.dtype == object:
        row = table.first([isinstance(value, list | tuple | dict | bytes | np.ndarray) for value in values])
        if row is not None:
            value = shorten(repr(values.iloc[row]))
            raise DataError(f"{table.place(row)}: {name!r} is {value}, but must be one text or number.")
    empty = np.flatnonzero(values.isna() | (values.astype(str).str.strip() == ""))
    if len(empty):
        count = f"{'' if whole else 'at least '}{len(empty)} such row{'s' * (len(empty) > 1)}"
        raise DataError(f"{table.place(empty[0])}: {name!r} is empty ({count}): fill or delete them.")


def join_names(names) -> str:
    """Return names for a message: on one line, and not more than fit there."""
    return textwrap.shorten(", ".join(shorten(name, 40) for name in names), 140, placeholder=" …")
