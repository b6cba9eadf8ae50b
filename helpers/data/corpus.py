"""A corpus: splits of texts and labels with the labels' names, smaller samples of it, and what to look at before training.
Taught in notebook 00, section 2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from helpers.exceptions import DataError

MANY_LABELS = 30  # as many as a line can name


@dataclass(frozen=True)
class LoadedData:
    """A dataset as the course uses it: `splits` has train, validation and test with the columns `text` and `label` (int,
    ClassLabel), or `labels` (float32 vector) if `multilabel`, and the columns that came along. `notes` are sentences that
    a notebook should print; `origin` says how many rows of which columns were read, see `describe`; `carved` names the
    splits that were missing and set aside from train."""

    splits: DatasetDict
    label_names: list[str]
    multilabel: bool
    notes: list[str]
    origin: str = ""
    carved: tuple[str, ...] = ()


def to_dataset(rows: pd.DataFrame, text_column: str, label_columns: list[str], label_names: list[str]) -> Dataset:
    """Return text and target first (see `LoadedData`), then the columns that came along, as text. One label column holds
    names, several hold 0 and 1. What came along under the name of a text or target is left out: it would be learnt."""
    if len(label_columns) == 1:
        name, feature = "label", ClassLabel(names=label_names)
        numbers = {label: number for number, label in enumerate(label_names)}
        target = rows[label_columns[0]].map(numbers).to_numpy(dtype=np.int64)
    else:
        name, feature = "labels", List(Value("float32"), length=len(label_names))
        target = list(rows[label_columns].astype(float).to_numpy(dtype=np.float32))
    content, features = {"text": rows[text_column].tolist(), name: target}, {"text": Value("string"), name: feature}
    for column in rows.columns:
        if column not in (text_column, *label_columns, "text", "label", "labels"):
            content[str(column)], features[str(column)] = rows[column].astype(str).tolist(), Value("string")
    return Dataset.from_dict(content, features=Features(features))


def require_one_label(data: LoadedData, name: str) -> None:
    """Refuse data with several labels per text, in a notebook about one."""
    if data.multilabel:
        raise DataError(f"{name} has several labels per text: take notebook 04, or name one column in label_column.")


def require_several_labels(data: LoadedData, name: str) -> None:
    """Refuse data with one label per text, in a notebook about several."""
    if not data.multilabel:
        raise DataError(
            f"{name} has one label per text: take notebook 01, or name several 0/1 columns in label_column."
        )


def relabel(data: LoadedData, names: list[str]) -> LoadedData:
    """Return `data` with its labels numbered as in `names`, which hold all of its own and may hold more."""
    if names == data.label_names:
        return data
    places = np.array([names.index(name) for name in data.label_names])
    splits = {}
    for name, split in data.splits.items():
        column = "labels" if data.multilabel else "label"
        old, feature = np.asarray(split[column]), ClassLabel(names=names)
        if data.multilabel:
            wide, feature = np.zeros((len(split), len(names)), np.float32), List(Value("float32"), length=len(names))
            wide[:, places] = old
        new = list(wide) if data.multilabel else places[old]
        others = [other for other in split.column_names if other not in ("text", column)]
        splits[name] = split.remove_columns(column).add_column(column, new, feature=feature)
        splits[name] = splits[name].select_columns(["text", column, *others])
    return replace(data, splits=DatasetDict(splits), label_names=list(names))


def take_examples(
    data: LoadedData, max_train_examples: int | None, seed: int = 0, max_validation_examples: int | None = None
) -> LoadedData:
    """Return `data` with at most `max_train_examples` training rows, and at most `max_validation_examples` to choose by:
    for one label per text in the labels' ratios, for several at random."""
    for name, limit in (("train", max_train_examples), ("validation", max_validation_examples)):
        split = data.splits[name]
        if limit is not None and limit < len(split):
            if limit < 2 * len(data.label_names):
                raise DataError(f"max_{name}_examples={limit} is too few for {len(data.label_names)} labels.")
            chosen = split.select(_choose_rows(split, limit, data.multilabel, seed))
            data = replace(data, splits=DatasetDict({**data.splits, name: chosen}))
    return data


def _choose_rows(split: Dataset, count: int, multilabel: bool, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(split))
    if not multilabel:  # interleave the labels in proportion: sort by each row's rank within its own label
        label = np.asarray(split["label"])[order]
        within = pd.Series(label).groupby(label)
        order = order[np.argsort((within.cumcount() / within.transform("size")).to_numpy(), kind="stable")]
    return np.sort(order[:count])


def describe(data: LoadedData) -> str:
    """Return the one line to print before training: rows read of rows in the files, from which columns, and the classes
    with their counts in train (what `take_examples` left of it)."""
    counts = balance_table(data)["train"]
    shown = [f"{name} {count:,}" for name, count in counts.head(MANY_LABELS).items()]
    rest = f", and {len(counts) - MANY_LABELS} more" if len(counts) > MANY_LABELS else ""
    kind = "several labels per text" if data.multilabel else "one label per text"
    origin = data.origin or f"{sum(data.splits.num_rows.values()):,} rows"
    return f"{origin} · {kind}, in train: {', '.join(shown)}{rest}"


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
        encoded = tokenizer(list(texts), truncation=False, verbose=False)
        lengths["tokens"] = [len(ids) for ids in encoded["input_ids"]]
    quantiles = {unit: np.quantile(values, [0.5, 0.95, 1.0], method="inverted_cdf") for unit, values in lengths.items()}
    return pd.DataFrame(quantiles, index=["median", "95 % are at most", "longest"]).T
