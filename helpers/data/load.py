"""Load a dataset by name, refuse what cannot be right, split without leaks, and report what to know before training.
Taught in notebook 00, section 2."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from datasets import DatasetDict

from helpers.assets.find import Asset, find_dataset
from helpers.data import columns, layouts
from helpers.data.corpus import LoadedData, require_one_label, to_dataset
from helpers.data.duplicates import duplicate_notes
from helpers.data.hub import read_hub_tables, read_saved_tables
from helpers.data.labels import Labels, is_unlabelled, read_labels, take_accepted
from helpers.data.reviews import ARCHIVE, read_review_splits
from helpers.data.splits import carve_missing_splits, replace_leaking_test
from helpers.data.tables import SPLITS, Table, find_kind, read_chunks, read_table
from helpers.exceptions import DataError, shorten


def load_data(
    dataset: str, *, text_column: str | None = None, label_column: str | Sequence[str] | None = None, seed: int = 0
) -> LoadedData:
    """Return the dataset called `dataset`: a name of `data/assets.toml`, a local file or folder, or a Hub id, of which
    `owner/name:configuration` is one of several datasets.

    A folder holds `train|validation|test.(csv|tsv|jsonl|json|xlsx|parquet)[.gz]` or what else `layouts` knows. What is
    missing is carved out of train: stratified, seeded, equal texts kept together; a test file without labels counts as
    missing. `label_column` names one column, whose cells may hold several labels, or several 0/1 columns (a list, or
    names joined by commas). What was found out rather than named is among the notes. Raises `DataError` for whatever
    would make training fail or mislead.
    """
    tables, notes = _read_tables(find_dataset(dataset))
    if "train" not in tables:
        source = next(iter(tables.values())).source
        raise DataError(f"{shorten(dataset, 100)} holds no train file (only {source}): name one train.csv.")
    text_column, labels, used, more = _prepare(tables, text_column, label_column)
    origin, notes = _describe_origin(tables, text_column, used), notes + more
    carved = tuple(name for name in SPLITS if name not in tables)
    notes += carve_missing_splits(tables, text_column, labels.columns, seed)
    named = {
        name: table.rows[[text_column, *labels.columns]].set_axis(["text", *labels.columns], axis=1)
        for name, table in tables.items()
    }
    notes += duplicate_notes(named)
    splits = {name: to_dataset(tables[name].rows, text_column, labels.columns, labels.names) for name in SPLITS}
    return LoadedData(DatasetDict(splits), labels.names, labels.multilabel, notes, origin, carved)


def load_sentiment(chosen) -> LoadedData:
    """Return the dataset that `chosen` (`course.choose`) names, with one label per text, negative or positive, and a test
    split that is not part of train: see `replace_leaking_test`. Raises `DataError` for other labels."""
    columns = {"text_column": chosen.text_column, "label_column": chosen.label_column}
    found = load_data(chosen.dataset, **columns, seed=chosen.seed)
    require_one_label(found, chosen.dataset)
    if found.label_names != ["negative", "positive"]:
        names = shorten(", ".join(found.label_names), 100)
        raise DataError(f"{chosen.dataset}: this notebook needs the labels negative and positive, not {names}.")
    return replace_leaking_test(found, seed=chosen.seed)


def load_scored(
    dataset: str, label_names: list[str], *, multilabel: bool = False, split: str = "test",
    text_column: str | None = None, label_column=None,
) -> LoadedData:  # fmt: skip
    """Return rows that a model with `label_names` (`multilabel`: several may be true) is only scored on, as the split
    `test` of a dataset: all rows of a file, of a folder those of `split` or, where it has none, all; nothing is set
    aside. Raises `DataError` for rows without labels, and for a `split` other than test that is not there."""
    tables, notes = _read_tables(find_dataset(dataset))
    if split in tables:
        tables = {split: tables[split]}
    elif split not in ("test", "all"):
        raise DataError(f"{shorten(dataset, 100)} has no {split} split: it has {', '.join(tables)}.")
    text_column, labels, used, more = _prepare(tables, text_column, label_column, label_names, multilabel)
    origin = _describe_origin(tables, text_column, used)
    rows = pd.concat([table.rows for table in tables.values()])
    notes += [*more, f"Scored: all {len(rows):,} rows of {shorten(', '.join(t.source for t in tables.values()), 120)}."]
    scored = DatasetDict({"test": to_dataset(rows, text_column, labels.columns, labels.names)})
    return LoadedData(scored, labels.names, labels.multilabel, notes, origin)


def _prepare(
    tables: dict[str, Table],
    text_column: str | None,
    label_column,
    known: list[str] | None = None,
    multilabel: bool = False,
) -> tuple[str, Labels, list[str], list[str]]:
    """Check texts and read labels in all tables; take splits without labels away. Return the text column, the labels,
    the columns that held them, and notes."""
    first = next(iter(tables.values()))
    notes = list(dict.fromkeys(note for table in tables.values() for note in table.notes))
    text_column = columns.find_text_column(first, text_column)
    used, more = columns.find_label_columns(first, label_column, text_column, known)
    columns.check_twins(first, used)
    notes += more + _take_questions(tables, text_column, used, [*tables] if known else ["test"])
    for table in tables.values():
        columns.align_columns(table, [text_column, *used])
        columns.check_ids(table)
        take_accepted(table)
        columns.check_texts(table, text_column)
    labels = read_labels(tables, used, known, multilabel)
    return text_column, labels, used, notes + labels.notes


def _take_questions(tables: dict[str, Table], text_column: str, used: list[str], names: list[str]) -> list[str]:
    """Take away those of the splits called `names` that have no labels, as a competition hands them out; return what is
    to be said of them."""
    notes = []
    for name in [name for name in names if name in tables]:
        table = tables[name]
        has = [found for column in used if (found := columns.match_column(table, column))]
        known = set(tables["train"].rows[used[0]].map(str)) if name != "train" and "train" in tables else set()
        if columns.match_column(table, text_column) and (not has or is_unlabelled(table, has, known)):
            if len(tables) == 1:
                raise DataError(
                    f"{table.source} has no labels: its rows can be predicted, not scored: `predict --file`."
                )
            del tables[name]
            what = sorted(set(table.rows[has].fillna("").astype(str).to_numpy().ravel()))[:1] if has else []
            shown = f" ({what[0].strip()})" if what and what[0].strip() else ""
            notes.append(
                f"{table.source} has no labels{shown}: its {len(table.rows):,} rows can be predicted, not scored."
            )
    return notes


def _describe_origin(tables: dict[str, Table], text_column: str, used: list[str]) -> str:
    """Return how many of the rows in the files were read, why not all, and from which columns."""
    read = sum(len(table.rows) for table in tables.values())
    reasons = {}
    for table in tables.values():
        for reason, count in table.left_out.items():
            reasons[reason] = reasons.get(reason, 0) + count
    why = f" ({', '.join(f'{count:,} {reason}' for reason, count in reasons.items())})" if reasons else ""
    label = f"label {shorten(used[0], 40)!r}" if len(used) == 1 else f"{len(used)} label columns"
    return f"{read:,} of {read + sum(reasons.values()):,} rows{why} · text {shorten(text_column, 40)!r}, {label}"


def _read_tables(asset: Asset) -> tuple[dict[str, Table], list[str]]:
    """Return the splits of a dataset as they were written, by the reader that knows its form, and notes."""
    path = Path(asset.location)
    if not asset.is_local:
        return read_hub_tables(asset.location, asset.revision), []
    if path.name == ARCHIVE:  # the movie reviews come with ratings, and with a split of their own
        splits = read_review_splits(path)
        tables = {name: Table(splits[name], f"{path.name} ({name})", first_line=1) for name in SPLITS}
        tables["train"].left_out = {"ambiguous": len(splits["ambiguous"])}
        return tables, []
    if path.is_dir():
        return (read_saved_tables(path), []) if layouts.is_saved_dataset(path) else layouts.read_folder(path)
    if not path.is_file():
        raise DataError(f"{shorten(path.name)} holds no train file: it is neither a file nor a folder.")
    if find_kind(path) == "txt":
        remedy = "put texts and labels into a .csv file with a header line: text,label"
        raise DataError(f"{shorten(path.name)}: a .txt file holds texts without labels, to be predicted: {remedy}.")
    return {"train": read_table(path)}, []


def read_text_chunks(path: Path, text_column: str | None, chunk_rows: int) -> Iterator[tuple[Table, str]]:
    """Yield the rows of a data file piece by piece, each piece with the name of its text column.
    Texts are checked as in `load_data`; labels are not asked for. Raises `DataError` for what cannot be right."""
    for table in read_chunks(path, chunk_rows):
        column = columns.find_text_column(table, text_column)
        columns.check_texts(table, column, whole=False)
        yield table, column
