"""What the label columns say: one label per text, or several, in one cell or in columns of 0 and 1. How they are written is
found out and said; whatever could mean two things is refused."""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

import pandas as pd

from helpers.data.cells import WHOLE_NUMBER, find_splitter, note_whole_names, split_cells
from helpers.data.columns import BINARY, EMOTIONS, check_cells, is_from_prodigy
from helpers.data.tables import Table
from helpers.exceptions import DataError, shorten

# What stands where a label is kept secret, or is to be predicted, in capitals or not.
UNANSWERED = ("none", "nan", "-1", "", "?")
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
    unknown = set(UNANSWERED) - {label.strip().lower() for label in known}
    cells = (
        table.rows[columns].fillna("").astype(str).apply(lambda column: column.str.strip().str.lower().isin(unknown))
    )
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
    split = find_splitter(tables, column, known)
    if split is None:
        return _read_single(tables, column, known)
    lists = split_cells(tables, column, split)
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
        if name == "train":
            notes += _note_constant({column: made[MARK + column] for column in columns})
    return Labels(columns, [MARK + column for column in columns], True, notes + _note_near_names(Counter(columns)))


def _note_constant(flags: dict[str, pd.Series]) -> list[str]:
    """Return what to say of the first label that is 0, or 1, in all rows of train."""
    same = [name for name, values in flags.items() if values.nunique() == 1]
    if not same:
        return []
    value = flags[same[0]].iloc[0]
    return [f"Warning: {shorten(same[0], 40)!r} is {value} in all rows of train: nothing can be learnt of it."]


def _read_several(tables: dict[str, Table], column: str, lists: dict, known: list[str] | None) -> Labels:
    counts = Counter(label for cell in lists.get("train", lists[next(iter(lists))]) for label in cell)
    names = list(known) if known else sort_names(counts)
    if len(names) < 2:
        raise DataError(f"{next(iter(tables.values())).source}: {shorten(column, 40)!r} has fewer than two labels.")
    if known is None and all(set(cell) == set(names) for cell in lists["train"]):
        same = f"every row has the labels {shorten(', '.join(names), 60)}"
        remedy = "if it is a row of 0 and 1, give every label a column"
        raise DataError(f"{tables['train'].source}: {shorten(column, 40)!r} cannot be learnt, as {same}: {remedy}.")
    notes = [
        f"{shorten(column, 40)!r} holds several labels in a cell: several of the {len(names)} may be true of a text."
    ]
    for split, table in tables.items():
        for row, cell in enumerate(lists[split]):
            _require_known(table, row, cell, names, by_model=known is not None)
        flags = {MARK + name: ["1" if name in cell else "0" for cell in lists[split]] for name in names}
        rows = table.rows.drop(columns=column)
        table.rows = pd.concat([rows, pd.DataFrame(flags, index=rows.index, dtype=str)], axis=1)
        if split == "train" and known is None:
            notes += _note_constant({name: table.rows[MARK + name] for name in names})
    return Labels(names, [MARK + name for name in names], True, notes + _note_near_names(counts))


def _read_single(tables: dict[str, Table], column: str, known: list[str] | None) -> Labels:
    """Read a column of names. Refuses blanks, fewer than two labels, one that occurs once, and one that train lacks; of
    what is only scored, only blanks."""
    for table in tables.values():
        check_cells(table, column)
    cells = {name: table.rows[column].map(str).str.strip() for name, table in tables.items()}
    found = set().union(*(set(values) for values in cells.values()))
    if all(re.fullmatch(WHOLE_NUMBER, value) for value in found):
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
    notes = note_whole_names(list(counts)) + _note_near_names(counts)
    return Labels(sort_names(counts), [MARK + column], False, notes)


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
    groups, looks = defaultdict(list), Counter(unicodedata.normalize("NFC", name) for name in counts)
    for name in sorted(counts):
        is_plain = name.isprintable() and looks[unicodedata.normalize("NFC", name)] == 1
        groups[_key(name)].append((repr if is_plain else ascii)(shorten(name, 40)))
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
