"""Datasets: load by name, refuse what cannot be right, split without leaks, and report what to know before training.

Taught in notebook 00, section 2.
"""

import csv
import gzip
import io
import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from helpers.assets import PlainError, explain_hub_errors, find_dataset, read_manifest

SPLITS = ("train", "validation", "test")
EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
ELEVEN_EMOTIONS = (
    "anger", "anticipation", "disgust", "fear", "joy", "love", "optimism", "pessimism", "sadness", "surprise", "trust",
)  # fmt: skip
TEXT_COLUMNS = ("text", "Tweet", "sentence", "content", "review")
LABEL_COLUMNS = ("label", "emotion", "sentiment", "labels")
MAX_COLUMNS = 1_000
MAX_CHARACTERS = 1_000_000  # of one text; a longer one is a file that was read wrongly
SUFFIXES = tuple(kind + packed for kind in (".csv", ".tsv", ".jsonl", ".parquet") for packed in ("", ".gz"))


class DataError(PlainError, ValueError):
    """A dataset cannot be used as it is; the message names the file, the row and the remedy."""


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
    tables = _read_local(Path(asset.location)) if asset.is_local else _read_hub(asset.location, asset.revision)
    first = next(iter(tables.values()))
    text_column = _find_text_column(first, text_column)
    label_columns = _find_label_columns(first, label_column, text_column)
    unlabelled = _drop_unlabelled_test(tables, label_columns)
    for table in tables.values():
        _check_ids(table)
        _check_columns(table, [text_column, *label_columns])
        _check_texts(table, text_column)
    if len(label_columns) > 1:
        label_names = list(label_columns)
        for table in tables.values():
            _check_binary(table, label_columns)
    else:
        label_names = _find_label_names(tables, label_columns[0])
    notes = unlabelled + _carve_missing_splits(tables, text_column, label_columns, seed)
    notes += _duplicate_notes(tables, text_column, label_columns)
    to_split = _to_multilabel_split if len(label_columns) > 1 else _to_single_label_split
    splits = {name: to_split(tables[name].rows, text_column, label_columns, label_names) for name in SPLITS}
    return LoadedData(DatasetDict(splits), label_names, len(label_columns) > 1, notes)


@dataclass
class _Table:
    """Rows of one split with the file they came from; the index counts the file's rows, blank ones included."""

    rows: pd.DataFrame
    source: str
    first_line: int

    def place(self, row: int) -> str:
        return f"{self.source}, row {self.rows.index[row] + self.first_line}"


def _read_local(path: Path) -> dict[str, _Table]:
    if path.name == "hutto_ICWSM_2014.tar.gz":  # the movie reviews come with ratings, and with a split of their own
        from helpers.reviews import read_review_splits

        splits = read_review_splits(path)
        return {name: _Table(splits[name], f"{path.name} ({name})", first_line=1) for name in SPLITS}
    if path.is_file():
        return {"train": _read_file(path)}
    files = {
        name: [path / f"{name}{suffix}" for suffix in SUFFIXES if (path / f"{name}{suffix}").is_file()]
        for name in SPLITS
    }
    if not files["train"]:
        raise DataError(
            f"{path} holds no train file: name it train.csv, train.tsv, train.jsonl or train.parquet (or .gz)."
        )
    for name, found in files.items():
        if len(found) > 1:
            raise DataError(f"{path} holds {found[0].name} and {found[1].name}: keep only one file for {name}.")
    return {name: _read_file(found[0]) for name, found in files.items() if found}


def read_file(path: str | Path) -> pd.DataFrame:
    """Return the rows of one data file, every cell as text; the index counts the file's rows, blank ones included."""
    return _read_file(Path(path)).rows


def _read_file(path: Path) -> _Table:
    """Read one file with every cell as text, so that nothing is guessed ("NA" stays a word, "01" keeps its zero)."""
    kind = next(
        (k for k in ("csv", "tsv", "jsonl", "parquet") if path.name.removesuffix(".gz").endswith("." + k)), None
    )
    if kind is None:
        raise DataError(f"{path.name}: the course reads .csv, .tsv, .jsonl and .parquet files (also .gz), not this.")
    try:
        if path.suffix == ".gz":
            _refuse_bomb(path)
        if kind == "parquet":
            content = path.read_bytes()
            rows = pd.read_parquet(io.BytesIO(gzip.decompress(content) if path.suffix == ".gz" else content))
        elif kind == "jsonl":
            rows = pd.read_json(path, lines=True, dtype=False, convert_dates=False, encoding="utf-8-sig")
        else:
            separator = "," if kind == "csv" else "\t"
            rows = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False
            )
            if not isinstance(rows.index, pd.RangeIndex):  # pandas took surplus first cells for an index
                raise DataError(f"{path.name}: rows have more cells than the header: put texts with commas in quotes.")
            rows = rows[~(rows.isna() | (rows == "")).all(axis=1)]  # blank lines; the index keeps counting them
            _refuse_swallowed_rows(rows, separator, path.name)
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is not UTF-8 ({_line_of_bad_bytes(path)}): save it again with the encoding UTF-8."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path.name} is empty: it needs a header line and rows.") from error
    except (pd.errors.ParserError, ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name} could not be read ({str(error).strip().splitlines()[0]}): repair or export it again."
        ) from error
    if len(rows.columns) > MAX_COLUMNS:
        raise DataError(
            f"{path.name} has {len(rows.columns):,} columns; the course reads {MAX_COLUMNS:,}: delete some."
        )
    if rows.empty:
        raise DataError(f"{path.name} has no rows: fill it, or delete the file to have the split carved out of train.")
    return _Table(rows, path.name, first_line=1 if kind in ("jsonl", "parquet") else 2)


def _refuse_bomb(path: Path) -> None:
    """Unpack a .gz file piece by piece, keeping nothing, and refuse one that would fill the memory."""
    unpacked = 0
    with gzip.open(path) as file:
        while piece := file.read(1 << 20):
            unpacked += len(piece)
            if unpacked > 100e6 and unpacked > 100 * path.stat().st_size:  # text packs to a third, seldom to a tenth
                raise DataError(
                    f"{path.name} unpacks to more than 100 times its size, as no text does: check the file."
                )


def _refuse_swallowed_rows(rows: pd.DataFrame, separator: str, name: str) -> None:
    """Refuse a cell that holds a whole row in one of its lines: the mark of a quotation mark that was never closed."""
    values = set(rows.iloc[:, -1])
    for column in rows.columns:
        for row, cell in rows.loc[rows[column].str.contains("\n", regex=False, na=False), column].items():
            for line in cell.splitlines():
                fields = _split_line(line, separator)
                if len(fields) == len(rows.columns) > 1 and (separator == "\t" or fields[-1] in values):
                    raise DataError(
                        f"{name}, row {row + 2}: a quotation mark is not closed, so that the next rows became part of "
                        "this cell: close it, or write it twice."
                    )


def _split_line(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # longer than any row that was swallowed
        return []


def _line_of_bad_bytes(path: Path) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"row {number}, byte 0x{line[error.start]:02x}"
    return "bytes at the end"


def _read_hub(name: str, revision: str | None) -> dict[str, _Table]:
    from datasets import load_dataset

    folder = read_manifest()["hub"].get(name, {}).get("folder")  # where a repository holds several datasets
    with explain_hub_errors(name):
        loaded = load_dataset(name, revision=revision, data_dir=folder)
    tables = {}
    for split in [split for split in SPLITS if split in loaded]:
        rows = loaded[split].to_pandas()
        if any(isinstance(f, ClassLabel) and (rows[c] == -1).all() for c, f in loaded[split].features.items()):
            continue  # a benchmark that keeps its test labels to itself, as GLUE does
        for column, feature in loaded[split].features.items():
            if isinstance(feature, ClassLabel):  # read labels by name, as from a file
                rows[column] = [feature.names[i] if i >= 0 else "" for i in rows[column]]
            elif feature == Value("bool"):
                rows[column] = rows[column].astype(int)
        tables[split] = _Table(rows, f"{name} ({split})", first_line=0)
    if "train" not in tables:
        raise DataError(f"{name} has no split called train: it has {', '.join(loaded)}.")
    return tables


def _find_text_column(table: _Table, wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    found = [name for name in TEXT_COLUMNS if name in table.rows.columns]
    if not found:
        raise DataError(f"{table.source} has no column 'text' (it has {_listed(table)}): name it with text_column=….")
    return found[0]


def _find_label_columns(table: _Table, wanted, text_column: str) -> list[str]:
    if wanted is not None:
        return [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    for name in LABEL_COLUMNS:
        if name in table.rows.columns:
            return [name]
    if set(ELEVEN_EMOTIONS) <= set(table.rows.columns):  # SemEval and Kaggle: "ID, Tweet, anger, …, trust"
        return list(ELEVEN_EMOTIONS)
    binary = [
        c
        for c in table.rows.columns
        if c != text_column and table.rows[c].astype(str).isin(["0", "1", "0.0", "1.0"]).all()
    ]
    if len(binary) < 2:
        raise DataError(f"{table.source} has no column 'label' (it has {_listed(table)}): name it with label_column=….")
    return binary


def _listed(table: _Table) -> str:
    return _shorten(table.rows.columns)


def _shorten(names) -> str:
    """Return names for a message: on one line, and not more than fit there."""
    line = " ".join(", ".join(map(str, names)).split())
    return line if len(line) <= 300 else line[:300] + "…"


def _drop_unlabelled_test(tables: dict[str, _Table], label_columns: list[str]) -> list[str]:
    """Take away a test file whose labels are all NONE, as a competition hands it out; `helpers.kaggle` reads it."""
    test = tables.get("test")
    known = [name for name in label_columns if test is not None and name in test.rows.columns]
    if not known or not (test.rows[known].astype(str) == "NONE").all(axis=None):
        return []
    del tables["test"]
    return [f"{test.source} has no labels (NONE): its {len(test.rows):,} rows can be predicted, not scored."]


def _check_ids(table: _Table) -> None:
    """Refuse a competition's file in which a row came twice, as after merging two files."""
    if "ID" in table.rows.columns:
        twice = np.flatnonzero(table.rows["ID"].duplicated())
        if len(twice):
            name = table.rows["ID"].iloc[twice[0]]
            raise DataError(f"{table.place(twice[0])}: the ID {name!r} occurs a second time: give every row its own.")


def _check_columns(table: _Table, needed: list[str]) -> None:
    for name in needed:
        if name not in table.rows.columns:
            raise DataError(f"{table.source} has no column {name!r}: it has {_listed(table)}.")


def _check_texts(table: _Table, column: str) -> None:
    texts = table.rows[column]
    _check_scalars(table, column)
    empty = np.flatnonzero(texts.isna() | (texts.astype(str).str.strip() == ""))
    if len(empty):
        raise DataError(f"{table.place(empty[0])}: {column!r} is empty ({len(empty)} such rows): fill or delete them.")
    table.rows[column] = texts.astype(str)
    long = np.flatnonzero(table.rows[column].str.len() > MAX_CHARACTERS)
    if len(long):
        raise DataError(
            f"{table.place(long[0])}: {column!r} has {len(table.rows[column].iloc[long[0]]):,} characters; the course "
            f"reads {MAX_CHARACTERS:,}: cut the text in pieces."
        )


def _check_scalars(table: _Table, column: str) -> None:
    """Refuse lists, objects and bytes, which jsonl and parquet files may hold, where a text or a label should be."""
    values = table.rows[column]
    if values.dtype == object:
        wrong = np.flatnonzero([isinstance(value, list | tuple | dict | bytes | np.ndarray) for value in values])
        if len(wrong):
            value = _shorten([repr(values.iloc[wrong[0]])])[:60]
            raise DataError(f"{table.place(wrong[0])}: {column!r} is {value}, but must be one text or number.")


def _check_binary(table: _Table, columns: list[str]) -> None:
    for name in columns:
        values = table.rows[name].astype(str)
        wrong = np.flatnonzero(~values.isin(["0", "1", "0.0", "1.0"]))
        if len(wrong):
            raise DataError(f"{table.place(wrong[0])}: {name!r} is {values.iloc[wrong[0]]!r}, but must be 0 or 1.")
        table.rows[name] = values.str[0]


def _find_label_names(tables: dict[str, _Table], column: str) -> list[str]:
    """Return the labels of train: the six emotions in their usual order, other names sorted, numbers by value."""
    for table in tables.values():
        _check_scalars(table, column)
        table.rows[column] = table.rows[column].fillna("").astype(str).str.strip()
        empty = np.flatnonzero(table.rows[column] == "")
        if len(empty):
            raise DataError(
                f"{table.place(empty[0])}: {column!r} is empty ({len(empty)} such rows): fill or delete them."
            )
    train = tables["train"]
    counts = train.rows[column].value_counts()
    if len(counts) < 2:
        raise DataError(f"{train.source}: {column!r} has only the label {counts.index[0]!r}; a classifier needs two.")
    if counts.min() == 1:
        rare = counts.index[-1]
        row = int(np.flatnonzero(train.rows[column] == rare)[0])
        raise DataError(
            f"{train.place(row)}: the label {rare!r} occurs only here: add examples, or merge or delete it."
        )
    names = set(counts.index)
    for table in tables.values():
        unknown = np.flatnonzero(~table.rows[column].isin(names))
        if len(unknown):
            label = table.rows[column].iloc[unknown[0]]
            raise DataError(f"{table.place(unknown[0])}: unknown label {label!r}: train has {_shorten(sorted(names))}.")
    if names == set(EMOTIONS):
        return list(EMOTIONS)
    return sorted(names, key=lambda name: (0, int(name), name) if re.fullmatch(r"-?\d{1,9}", name) else (1, 0, name))


def normalise(text: str) -> str:
    """Return `text` without case, punctuation and extra spaces: what makes two texts duplicates of each other.

    Letters, digits, combining marks and emoji stay.
    """
    kept = [c if c.isalnum() or unicodedata.category(c) in ("So", "Mn", "Mc") else " " for c in text.casefold()]
    return " ".join("".join(kept).split()) or text.strip()


def _carve_missing_splits(
    tables: dict[str, _Table], text_column: str, label_columns: list[str], seed: int
) -> list[str]:
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
            tables[name] = _Table(
                train.rows[held_out].reset_index(drop=True), f"{train.source} ({name} part)", train.first_line
            )
            tables["train"] = _Table(kept, train.source, train.first_line)
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


def _duplicate_notes(tables: dict[str, _Table], text_column: str, label_columns: list[str]) -> list[str]:
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


def take_examples(data: LoadedData, max_train_examples: int | None, seed: int = 0) -> LoadedData:
    """Return `data` with at most `max_train_examples` training rows: for one label per text in the labels' ratios,
    for several at random."""
    train = data.splits["train"]
    if max_train_examples is None or max_train_examples >= len(train):
        return data
    if max_train_examples < 2 * len(data.label_names):
        raise DataError(f"max_train_examples={max_train_examples} is too few for {len(data.label_names)} labels.")
    order = np.random.default_rng(seed).permutation(len(train))
    if not data.multilabel:  # interleave the labels in proportion: sort by each row's rank within its own label
        label = np.asarray(train["label"])[order]
        rank = pd.Series(label).groupby(label).cumcount() / pd.Series(label).groupby(label).transform("size")
        order = order[np.argsort(rank.to_numpy(), kind="stable")]
    smaller = DatasetDict({**data.splits, "train": train.select(np.sort(order[:max_train_examples]))})
    return LoadedData(smaller, data.label_names, data.multilabel, data.notes)


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
        lengths["tokens"] = [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
    quantiles = {unit: np.quantile(values, [0.5, 0.95, 1.0], method="inverted_cdf") for unit, values in lengths.items()}
    return pd.DataFrame(quantiles, index=["median", "95 % are at most", "longest"]).T
