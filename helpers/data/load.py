"""Load a dataset by name, refuse what cannot be right, split without leaks, and report what to know before training.
Taught in notebook 00, section 2."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from datasets import DatasetDict

from helpers.assets.find import Asset, find_dataset
from helpers.data import columns
from helpers.data.corpus import LoadedData, to_dataset
from helpers.data.duplicates import duplicate_notes
from helpers.data.kaggle import UNKNOWN, is_unlabelled
from helpers.data.reviews import ARCHIVE, read_review_splits
from helpers.data.splits import carve_missing_splits
from helpers.data.tables import SPLITS, Table, read_chunks, read_hub_tables, read_local_tables


def load_data(
    dataset: str, *, text_column: str | None = None, label_column: str | Sequence[str] | None = None, seed: int = 0
) -> LoadedData:
    """Return the dataset called `dataset`: a name of `data/assets.toml`, a local file or folder, or a Hub id.

    A folder holds `train|validation|test.(csv|tsv|jsonl|parquet)[.gz]`. What is missing is carved out of train:
    stratified, seeded, equal texts kept together; a test file whose labels are all NONE counts as missing.
    `label_column` names one column, or several 0/1 columns (a list, or names joined by commas); by default the usual
    names are tried, then all 0/1 columns together. Raises `DataError` for whatever would make training fail or mislead.
    """
    tables = _read_tables(find_dataset(dataset))
    first = next(iter(tables.values()))
    text_column = columns.find_text_column(first, text_column)
    label_columns = columns.find_label_columns(first, label_column, text_column)
    used, multilabel, notes = [text_column, *label_columns], len(label_columns) > 1, []
    if "test" in tables and is_unlabelled(tables["test"].rows, label_columns):  # as a competition hands it out
        test = tables.pop("test")
        notes = [f"{test.source} has no labels ({UNKNOWN}): its {len(test.rows):,} rows can be predicted, not scored."]
    for table in tables.values():
        columns.check_ids(table)
        columns.check_columns(table, used)
        columns.check_texts(table, text_column)
        if multilabel:
            columns.check_binary(table, label_columns)
    label_names = label_columns if multilabel else columns.find_label_names(tables, label_columns[0])
    notes += carve_missing_splits(tables, text_column, label_columns, seed)
    named = {name: table.rows[used].set_axis(["text", *label_columns], axis=1) for name, table in tables.items()}
    notes += duplicate_notes(named)
    splits = {name: to_dataset(tables[name].rows, text_column, label_columns, label_names) for name in SPLITS}
    return LoadedData(DatasetDict(splits), label_names, multilabel, notes)


def _read_tables(asset: Asset) -> dict[str, Table]:
    """Return the splits of a dataset as they were written, by the reader that knows its form."""
    if not asset.is_local:
        return read_hub_tables(asset.location, asset.revision)
    path = Path(asset.location)
    if path.name == ARCHIVE:  # the movie reviews come with ratings, and with a split of their own
        splits = read_review_splits(path)
        return {name: Table(splits[name], f"{path.name} ({name})", first_line=1) for name in SPLITS}
    return read_local_tables(path)


def read_text_chunks(path: Path, text_column: str | None, chunk_rows: int) -> Iterator[tuple[pd.DataFrame, str]]:
    """Yield the rows of a .csv or .tsv file piece by piece, each piece with the name of its text column.
    Texts are checked as in `load_data`; labels are not asked for. Raises `DataError` for what cannot be right."""
    for table in read_chunks(path, chunk_rows):
        column = columns.find_text_column(table, text_column)
        columns.check_columns(table, [column])
        columns.check_texts(table, column, whole=False)
        yield table.rows, column
