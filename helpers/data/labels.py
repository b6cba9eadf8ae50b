"""What the label columns say: one label per text, or several, in one cell or in columns of 0 and 1. How they are written is
found out and said; whatever could mean two things is refused."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from helpers.data.columns import BINARY, EMOTIONS, check_cells, is_from_prodigy
from helpers.data.records import split_cell
from helpers.data.tables import Table
from helpers.exceptions import DataError, shorten

UNANSWERED = ("NONE", "-1", "", "?")  # what stands where a label is kept secret, or is to be predicted
MARK = "\0"  # begins the names of the columns that are made here: no file has such a name


@dataclass(frozen=True)
class Labels:
    """The labels of a dataset: their `names`, the `columns` of each table that hold them, as names of one label or as "0"
    and "1" of several, and notes."""

    names: list[str]
    columns: list[str]
    multilabel: bool
    notes: list[str]


def is_unlabelled(table: Table, columns: list[str], known: set[str] = frozenset()) -> bool:
    """Return whether the table's label columns hold nothing but what stands for an unknown label: these rows are
    questions. `known` are the labels of train, where -1 may be one."""
    unknown = [value for value in UNANSWERED if value not in known]
    cells = table.rows[columns].fillna("").astype(str).apply(lambda column: column.str.strip().isin(unknown))
    return bool(cells.all(axis=None))


def take_accepted(table: Table) -> None:
    """Leave out what Prodigy's users rejected or ignored: these rows say what a text is not."""
    if is_from_prodigy(table):
        table.keep(table.rows["answer"].map(str) == "accept", "rejected or ignored")
        if table.rows.empty:
            raise DataError(f"{table.source} has no accepted answer: annotate some rows.")


def read_labels(
    tables: dict[str, Table], columns: list[str], known: list[str] | None = None, multilabel=False
) -> Labels:
    """Put the labels into columns of their own in every table; return what they are. The labels are those of train,
    or those that are `known` to a (`multilabel`) model which is only scored. Raises `DataError` for the first cell that does not fit."""
    found = _read_columns(tables, columns, known, multilabel)
    split_up = [name for name in found.names if "," in name]
    if found.multilabel and split_up and known is None:
        raise DataError(
            f"{next(iter(tables.values())).source}: the label {shorten(split_up[0], 60)!r} has a comma, which is what stands "
            "between the labels of a text: rename it."
        )
    return found


def _read_columns(tables: dict[str, Table], columns: list[str], known: list[str] | None, multilabel: bool) -> Labels:
    if len(columns) > 1:
        return _read_binary(tables, columns)
    column, notes = columns[0], []
    split = _find_splitter(tables, column, known)
    if split is None:
        return _read_single(tables, column, known)
    lists = {name: _split_cells(table, column, split) for name, table in tables.items()}
    longest = max(len(cell) for cells in lists.values() for cell in cells)
    shortest = min(len(cell) for cells in lists.values() for cell in cells)
    if longest == shortest == 1 and not multilabel:
        for name, table in tables.items():
            table.rows = table.rows.assign(**{column: [cell[0] for cell in lists[name]]})
        notes = [f"Each cell of {shorten(column, 40)!r} is a list of one label: one label per text."]
        found = _read_single(tables, column, known)
        return Labels(found.names, found.columns, found.multilabel, notes + found.notes)
    return _read_several(tables, column, lists, known)


def _read_binary(tables: dict[str, Table], columns: list[str]) -> Labels:
    """Read columns of 0 and 1, one per label; refuse other cells."""
    notes = []
    for name, table in tables.items():
        made = {}
        for column in columns:
            values = table.rows[column].map(str).str.strip().str.lower()
            if (row := table.first(~values.isin(BINARY.keys()))) is not None:
                found = shorten(table.rows[column].iloc[row], 40)
                raise DataError(f"{table.place(row)}: {shorten(column, 40)!r} is {found!r}, but must be 0 or 1.")
            made[MARK + column] = values.map(BINARY)
        rows = table.rows.drop(columns=columns)
        table.rows = pd.concat([rows, pd.DataFrame(made, index=rows.index)], axis=1)
        same = [column for column in columns if made[MARK + column].nunique() == 1]
        if name == "train" and same:
            value = made[MARK + same[0]].iloc[0]
            notes.append(
                f"Warning: {shorten(same[0], 40)!r} is {value} in all rows of train: nothing can be learnt of it."
            )
    return Labels(columns, [MARK + column for column in columns], True, notes + _note_near_names(Counter(columns)))


def _find_splitter(tables: dict[str, Table], column: str, known: list[str] | None) -> Callable | None:
    """Return what takes the labels of one cell apart, None where a cell holds one label."""
    cells = pd.concat([table.rows[column] for table in tables.values()])
    values = {cell.strip() for cell in cells if isinstance(cell, str)} - {""}
    objects = [cell for cell in cells if isinstance(cell, list | dict) or hasattr(cell, "tolist")]
    lists = [found for value in values if (found := split_cell(value)) is not None]
    if objects or (values and (len(lists) == len(values) or any(len(found) > 1 for found in lists))):
        return lambda cell: [cell.strip()] if (found := split_cell(cell)) is None and isinstance(cell, str) else found
    separator = _find_separator(values, known)
    return (lambda cell: [part.strip() for part in re.split(separator, str(cell).strip())]) if separator else None


def _find_separator(values: set[str], known: list[str] | None) -> str | None:
    """Return the pattern between labels, if some cells hold several: a bar or semicolon; a comma between numbers; a comma
    or # if at least half of the parts are labels of other cells, too (so that "calm, at last" stays one label)."""
    numbers = r"\d+(?:\s*,\s*\d+)*|\d+(?: +\d+)*"
    if all(re.fullmatch(numbers, value) for value in values) and any(re.search(r"\d[ ,]", value) for value in values):
        return r"\s*[, ]\s*"
    for separator in "|;,#":
        parts = {value: [part.strip() for part in value.split(separator)] for value in values}
        several = {value: found for value, found in parts.items() if len(found) > 1}
        if not several or not all(all(found) for found in several.values()):
            continue
        where = Counter(part for found in parts.values() for part in set(found))
        pieces = {part for found in several.values() for part in found}
        shared = [part for part in pieces if (part in known if known else where[part] > 1)]
        if separator in "|;" or 2 * len(shared) >= len(pieces):
            return re.escape(separator)
    return None


def _split_cells(table: Table, column: str, split: Callable) -> list[list[str]]:
    """Return the labels of every row; refuse cells that cannot be taken apart."""
    found, name = [], shorten(column, 40)
    for row, cell in enumerate(table.rows[column]):
        labels = split(cell) if cell is not None and str(cell).strip() else None
        shown = shorten(repr(cell), 50)
        if labels is None:
            problem = (
                "is empty: fill or delete it"
                if cell is None or not str(cell).strip()
                else f"is {shown}, no list of labels"
            )
            raise DataError(f"{table.place(row)}: {name!r} {problem}.")
        if len(set(labels)) < len(labels):
            remedy = "if it is a row of 0 and 1, give every label a column"
            raise DataError(f"{table.place(row)}: {name!r} is {shown}, a label twice: {remedy}.")
        found.append(labels)
    return found


def _read_several(tables: dict[str, Table], column: str, lists: dict, known: list[str] | None) -> Labels:
    counts = Counter(label for cell in lists.get("train", lists[next(iter(lists))]) for label in cell)
    names = list(known) if known else sort_names(counts)
    if len(names) < 2:
        raise DataError(f"{next(iter(tables.values())).source}: {shorten(column, 40)!r} has fewer than two labels.")
    for split, table in tables.items():
        for row, cell in enumerate(lists[split]):
            _require_known(table, row, cell, names, by_model=known is not None)
        flags = {MARK + name: ["1" if name in cell else "0" for cell in lists[split]] for name in names}
        rows = table.rows.drop(columns=column)
        table.rows = pd.concat([rows, pd.DataFrame(flags, index=rows.index, dtype=str)], axis=1)
    note = f"{shorten(column, 40)!r} holds several labels in a cell: several of the {len(names)} may be true of a text."
    return Labels(names, [MARK + name for name in names], True, [note, *_note_near_names(counts)])


def _read_single(tables: dict[str, Table], column: str, known: list[str] | None) -> Labels:
    """Read a column of names. Refuses blanks, fewer than two labels, one that occurs once, and one that train lacks; of
    what is only scored, only blanks."""
    for table in tables.values():
        check_cells(table, column)
    cells = {name: table.rows[column].map(str).str.strip() for name, table in tables.items()}
    found = set().union(*(set(values) for values in cells.values()))
    if all(re.fullmatch(r"-?\d+(\.0+)?", value) for value in found):  # 1.0 is 1, as a table with gaps writes it
        cells = {name: values.str.replace(r"\.0+$", "", regex=True) for name, values in cells.items()}
    for name, table in tables.items():
        table.rows = table.rows.drop(columns=column).assign(**{MARK + column: cells[name]})
    if known is not None:
        return Labels(sort_names(set().union(*cells.values())), [MARK + column], False, [])
    counts = Counter(cells["train"])
    _check_counts(tables["train"], column, cells["train"], counts)
    for split, table in tables.items():
        row = table.first(~cells[split].isin(set(counts)))
        if row is not None:
            _require_known(table, row, [cells[split].iloc[row]], list(counts), by_model=False)
    whole = [name for name in counts if "," in name]
    notes = [f"Labels such as {shorten(whole[0], 40)!r} are taken whole, commas included."] if whole else []
    return Labels(sort_names(counts), [MARK + column], False, notes + _note_near_names(counts))


def _check_counts(train: Table, column: str, cells: pd.Series, counts: Counter) -> None:
    name = shorten(column, 40)
    if len(counts) < 2:
        raise DataError(
            f"{train.source}: {name!r} has only the label {shorten(next(iter(counts)), 60)!r}; a classifier needs two."
        )
    rare, times = counts.most_common()[-1]
    if times > 1:
        return
    if len(counts) > 20 and 2 * len(counts) > len(cells) and cells.str.len().mean() > 40:
        remedy = "if texts and labels are swapped, name text_column and label_column"
        raise DataError(
            f"{train.source}: {name!r} has {len(counts):,} different labels in {len(cells):,} rows: {remedy}."
        )
    near = [other for other in counts if other != rare and _key(other) == _key(rare)]
    hint = f" (near: {shorten(near[0], 40)!r})" if near else ""
    place = train.place(train.first(cells == rare))
    problem = f"the label {shorten(rare)!r} occurs only here{hint}"
    raise DataError(f"{place}: {problem}: add examples, or merge or delete it.")


def _require_known(table: Table, row: int, labels: list[str], names: list[str], *, by_model: bool) -> None:
    for label in labels:
        if label not in names:
            near = [name for name in names if _key(name) == _key(label)]
            who = "the model" if by_model else "train"
            has = f"{who} has {shorten(', '.join(near or sort_names(names)), 90)}"
            raise DataError(f"{table.place(row)}: unknown label {shorten(label)!r}: {has}.")


def _key(name: str) -> str:
    """Return a label without what the eye hardly sees: case, blanks, invisible characters."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Zs", "Cc"))


def _note_near_names(counts: Counter) -> list[str]:
    groups = defaultdict(list)
    for name in sorted(counts):
        groups[_key(name)].append(f"{ascii(shorten(name, 40)) if not name.isprintable() else repr(shorten(name, 40))}")
    near = [" and ".join(group) for group in groups.values() if len(group) > 1]
    if not near:
        return []
    return [
        f"Warning: labels that differ only in case, blanks or invisible characters: {shorten('; '.join(near), 150)}."
    ]


def sort_names(names) -> list[str]:
    """Return the six emotions in their usual order, other names sorted, numbers by value."""
    if set(names) == set(EMOTIONS):
        return list(EMOTIONS)
    return sorted(names, key=lambda name: (0, int(name), name) if re.fullmatch(r"-?\d{1,9}", name) else (1, 0, name))
