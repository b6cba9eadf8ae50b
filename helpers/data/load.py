"""Datasets: load by name, refuse what cannot be right, split without leaks, and report what to know before training.

Taught in notebook 00, section 2.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from helpers.assets.find import find_dataset
from helpers.data.columns import ELEVEN_EMOTIONS as ELEVEN_EMOTIONS
from helpers.data.columns import EMOTIONS as EMOTIONS
from helpers.data.columns import (
    check_binary,
    check_columns,
    check_ids,
    check_texts,
    find_label_columns,
    find_label_names,
    find_text_column,
)
from helpers.data.tables import SPLITS, DataError, Table, read_chunks, read_hub_tables, read_local_tables
from helpers.models.batches import count_tokens


@dataclass(frozen=True)
class LoadedData:
    """A dataset as the course uses it.

    `splits` has train, validation and test with the columns `text` and `label` (int, ClassLabel), or `labels` (float32
    vector) if `multilabel`, and the columns that came along. `notes` are sentences that a notebook should print.
    """

    splits: DatasetDict
    label_names: list[str]
    multilabel: bool
    notes: list[str]


def load_data(
    dataset: str, *, text_column: str | None = None, label_column: str | Sequence[str] | None = None, seed: int = 0
) -> LoadedData:
    """Return the dataset called `dataset`: a name of `data/assets.toml`, a local file or folder, or a Hub id.

    A folder holds `train|validation|test.(csv|tsv|jsonl|parquet)[.gz]`. What is missing is carved out of train:
    stratified, seeded, equal texts kept together; a test file whose labels are all NONE counts as missing.
    `label_column` names one column, or several 0/1 columns (a list, or names joined by commas); by default the usual
    names are tried, then all 0/1 columns together.
    Raises `DataError` for anything that would make training fail or mislead.
    """
    asset = find_dataset(dataset)
    tables = (
        read_local_tables(Path(asset.location)) if asset.is_local else read_hub_tables(asset.location, asset.revision)
    )
    first = next(iter(tables.values()))
    text_column = find_text_column(first, text_column)
    label_columns = find_label_columns(first, label_column, text_column)
    unlabelled = _drop_unlabelled_test(tables, label_columns)
    for table in tables.values():
        check_ids(table)
        check_columns(table, [text_column, *label_columns])
        check_texts(table, text_column)
    if len(label_columns) > 1:
        label_names = list(label_columns)
        for table in tables.values():
            check_binary(table, label_columns)
    else:
        label_names = find_label_names(tables, label_columns[0])
    notes = unlabelled + _carve_missing_splits(tables, text_column, label_columns, seed)
    notes += _duplicate_notes(tables, text_column, label_columns)
    to_split = _to_multilabel_split if len(label_columns) > 1 else _to_single_label_split
    splits = {name: to_split(tables[name].rows, text_column, label_columns, label_names) for name in SPLITS}
    return LoadedData(DatasetDict(splits), label_names, len(label_columns) > 1, notes)


def read_text_chunks(path: Path, text_column: str | None, chunk_rows: int) -> Iterator[tuple[pd.DataFrame, str]]:
    """Yield the rows of a .csv or .tsv file piece by piece, each piece with the name of its text column.

    Texts are checked as in `load_data`; labels are not asked for. Raises `DataError` for what cannot be right.
    """
    for table in read_chunks(path, chunk_rows):
        column = find_text_column(table, text_column)
        check_columns(table, [column])
        check_texts(table, column, whole=False)
        yield table.rows, column


def _drop_unlabelled_test(tables: dict[str, Table], label_columns: list[str]) -> list[str]:
    """Take away a test file whose labels are all NONE, as a competition hands it out; `helpers.kaggle` reads it."""
    test = tables.get("test")
    known = [name for name in label_columns if test is not None and name in test.rows.columns]
    if not known or not (test.rows[known].astype(str) == "NONE").all(axis=None):
        return []
    del tables["test"]
    return [f"{test.source} has no labels (NONE): its {len(test.rows):,} rows can be predicted, not scored."]


def normalise(text: str) -> str:
    """Return `text` without case, punctuation and extra spaces: what makes two texts duplicates of each other.

    Letters, digits, combining marks and emoji stay.
    """
    kept = [c if c.isalnum() or unicodedata.category(c) in ("So", "Mn", "Mc") else " " for c in text.casefold()]
    return " ".join("".join(kept).split()) or text.strip()


def _carve_missing_splits(tables: dict[str, Table], text_column: str, label_columns: list[str], seed: int) -> list[str]:
    """Carve validation and test out of train where they are missing (10 % of it each time); return what was done."""
    notes = []
    for name in ("validation", "test"):
        if name not in tables:
            train = tables["train"]
            if train.rows[text_column].map(normalise).nunique() < 10:
                raise DataError(
                    f"{train.source} has too few texts to set some aside as {name}: add rows, or a {name} file."
                )
            held_out = _hold_out(train.rows, text_column, label_columns, share=0.1, seed=seed)
            if not held_out.any():
                raise DataError(
                    f"{train.source} has too few texts per label to set some aside as {name}: add a {name} file."
                )
            kept = train.rows[~held_out].reset_index(drop=True)
            tables[name] = Table(
                train.rows[held_out].reset_index(drop=True), f"{train.source} ({name} part)", train.first_line
            )
            tables["train"] = Table(kept, train.source, train.first_line)
            notes.append(
                f"There is no {name} split: {held_out.sum():,} rows of train were set aside for it (seed {seed})."
            )
    return notes


def _hold_out(rows: pd.DataFrame, text_column: str, label_columns: list[str], share: float, seed: int) -> np.ndarray:
    """Return a mask over `rows`: about `share` of them, label ratios kept, equal texts on the same side."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    groups = pd.factorize(rows[text_column].map(normalise))[0]
    first_rows = rows[label_columns].groupby(groups).first()
    flags = (
        pd.get_dummies(first_rows[label_columns[0]])
        if len(label_columns) == 1
        else first_rows.astype(float).astype(int)
    )
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    _, chosen = next(splitter.split(flags.to_numpy(), flags.to_numpy().astype(int)))
    return np.isin(groups, chosen)


def _duplicate_notes(tables: dict[str, Table], text_column: str, label_columns: list[str]) -> list[str]:
    report = duplicate_report(
        {n: t.rows[[text_column, *label_columns]].set_axis(["text", *label_columns], axis=1) for n, t in tables.items()}
    )
    notes = []
    for row in report[report["texts"] > 0].itertuples():
        count = "1 text occurs" if row.texts == 1 else f"{row.texts:,} texts occur"
        where = (
            f"more than once in {row.first}" if row.first == row.second else f"both in {row.first} and in {row.second}"
        )
        notes.append(f"Warning: {count} {where}, {row.conflicting:,} of them with conflicting labels.")
    return notes


def duplicate_report(splits) -> pd.DataFrame:
    """Return, for each split and each pair of splits, how many texts occur more than once, and how many of these with
    conflicting labels. Columns: first, second, texts, conflicting. Case, punctuation and spaces do not count.

    `splits` maps names to tables with `text` and label columns; a `DatasetDict` of `load_data` will do.
    """
    seen = {}
    for name, split in splits.items():
        table = split.to_pandas() if isinstance(split, Dataset) else split
        columns = [c for c in ("label", "labels") if c in table.columns] or [c for c in table.columns if c != "text"]
        labels = [str(tuple(map(str, row))) for row in table[columns].itertuples(index=False)]
        keys = table["text"].map(normalise)
        seen[name] = pd.Series(labels, dtype=object).groupby(keys.to_numpy()).agg(["size", set])
    rows = []
    names = list(seen)
    for i, first in enumerate(names):
        repeated = seen[first][seen[first]["size"] > 1]
        rows.append((first, first, len(repeated), sum(len(labels) > 1 for labels in repeated["set"])))
        for second in names[i + 1 :]:
            both = seen[first].merge(seen[second], left_index=True, right_index=True, suffixes=("_1", "_2"))
            rows.append(
                (
                    first,
                    second,
                    len(both),
                    sum(len(a | b) > 1 for a, b in zip(both["set_1"], both["set_2"], strict=True)),
                )
            )
    return pd.DataFrame(rows, columns=["first", "second", "texts", "conflicting"])


def _to_single_label_split(
    rows: pd.DataFrame, text_column: str, label_columns: list[str], label_names: list[str]
) -> Dataset:
    numbers = {name: i for i, name in enumerate(label_names)}
    label = rows[label_columns[0]].map(numbers).to_numpy(dtype=np.int64)
    return _to_dataset(rows, text_column, label_columns, label=(label, ClassLabel(names=label_names)))


def _to_multilabel_split(
    rows: pd.DataFrame, text_column: str, label_columns: list[str], label_names: list[str]
) -> Dataset:
    labels = rows[label_columns].astype(float).to_numpy(dtype=np.float32)
    return _to_dataset(
        rows, text_column, label_columns, labels=(list(labels), List(Value("float32"), length=len(label_names)))
    )


def _to_dataset(rows: pd.DataFrame, text_column: str, label_columns: list[str], **target) -> Dataset:
    """Return text and target first, then the columns that came along, as text."""
    ((name, (values, feature)),) = target.items()
    content, features = {"text": rows[text_column].tolist(), name: values}, {"text": Value("string"), name: feature}
    for column in rows.columns:
        if column not in (text_column, *label_columns, "text", name):
            content[str(column)], features[str(column)] = rows[column].astype(str).tolist(), Value("string")
    return Dataset.from_dict(content, features=Features(features))


def take_examples(
    data: LoadedData, max_train_examples: int | None, seed: int = 0, max_validation_examples: int | None = None
) -> LoadedData:
    """Return `data` with at most `max_train_examples` training rows, and at most `max_validation_examples` to choose by:
    for one label per text in the labels' ratios, for several at random."""
    limits = {"train": max_train_examples, "validation": max_validation_examples}
    splits = dict(data.splits)
    for name, limit in limits.items():
        if limit is not None and limit < len(splits[name]):
            if limit < 2 * len(data.label_names):
                raise DataError(f"max_{name}_examples={limit} is too few for {len(data.label_names)} labels.")
            splits[name] = splits[name].select(_choose_rows(splits[name], limit, data.multilabel, seed))
    unchanged = all(splits[name] is data.splits[name] for name in limits)
    return data if unchanged else LoadedData(DatasetDict(splits), data.label_names, data.multilabel, data.notes)


def _choose_rows(split: Dataset, count: int, multilabel: bool, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(split))
    if not multilabel:  # interleave the labels in proportion: sort by each row's rank within its own label
        label = np.asarray(split["label"])[order]
        rank = pd.Series(label).groupby(label).cumcount() / pd.Series(label).groupby(label).transform("size")
        order = order[np.argsort(rank.to_numpy(), kind="stable")]
    return np.sort(order[:count])


def balance_table(data: LoadedData) -> pd.DataFrame:
    """Return how many rows of each split carry each label, and their share in percent of train."""
    counts = {}
    for name, split in data.splits.items():
        if data.multilabel:
            counts[name] = np.asarray(split["labels"]).sum(axis=0).astype(int)
        else:
            counts[name] = np.bincount(split["label"], minlength=len(data.label_names))
    table = pd.DataFrame(counts, index=data.label_names)
    table["train %"] = (100 * table["train"] / len(data.splits["train"])).round(1)
    return table


def length_table(texts: Sequence[str], tokenizer=None) -> pd.DataFrame:
    """Return median, 95th percentile and maximum of the lengths in characters, words and (with a tokenizer) tokens."""
    lengths = {"characters": [len(text) for text in texts], "words": [len(text.split()) for text in texts]}
    if tokenizer is not None:
        lengths["tokens"] = count_tokens(texts, tokenizer)
    quantiles = {unit: np.quantile(values, [0.5, 0.95, 1.0], method="inverted_cdf") for unit, values in lengths.items()}
    return pd.DataFrame(quantiles, index=["median", "95 % are at most", "longest"]).T
