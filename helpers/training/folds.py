"""k-fold cross-validation for several labels: every row scored once, by a model that never saw it.
Taught in notebooks 04 and 05."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from datasets import DatasetDict, concatenate_datasets

from helpers.data.corpus import LoadedData
from helpers.data.duplicates import normalise
from helpers.evaluation.metrics import decide, fast_score, probabilities
from helpers.evaluation.thresholds import KINDS, tune_thresholds
from helpers.exceptions import DataError, SettingError


@dataclass(frozen=True)
class Fold:
    """Row numbers of a fold. Weights come from `train`; epoch and thresholds from `tuning`; the score from `scored`."""

    number: int
    train: np.ndarray
    tuning: np.ndarray
    scored: np.ndarray


def make_folds(
    texts: Sequence[str], labels: np.ndarray, label_names: Sequence[str], *, folds: int = 5,
    tuning_share: float = 0.15, seed: int = 0,
) -> list[Fold]:  # fmt: skip
    """Return `folds` folds over the rows: `scored` parts that together hold each row once, label ratios kept.

    What is not scored is divided again into train and tuning, so that neither weights nor thresholds nor the choice
    of the epoch see the rows that are scored. Equal texts stay together. Stratified after Sechidis et al. (2011).
    Raises `DataError` for a label that occurs too rarely to be in every part.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit

    labels = np.asarray(labels).astype(np.int64)
    if not 2 <= folds <= len(labels):
        raise SettingError(f"folds={folds}: use at least 2, and no more than there are rows ({len(labels)}).")
    groups = pd.factorize(pd.Series(list(texts)).map(normalise))[0]
    kinds = pd.DataFrame(labels).groupby(groups).first().to_numpy()  # (distinct texts, labels)
    for name, count in zip(label_names, kinds.sum(axis=0), strict=True):
        if count <= folds:
            raise DataError(f"{name!r} occurs in {count} rows, too few for {folds} folds: use fewer folds, or drop it.")
    result = []
    outer = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    for number, (rest, scored) in enumerate(outer.split(kinds, kinds)):
        inner = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=tuning_share, random_state=seed)
        train, tuning = next(inner.split(kinds[rest], kinds[rest]))
        parts = [np.flatnonzero(np.isin(groups, chosen)) for chosen in (rest[train], rest[tuning], scored)]
        result.append(Fold(number, *parts))
    return result


def take_fold(data: LoadedData, fold: int | None, folds: int = 5, *, seed: int = 0) -> LoadedData:
    """Return `data` divided for fold number `fold` of `folds`, from 1: `test` is the part that is scored, `validation` the
    rows for epoch and thresholds. Train and validation are pooled; the data's own test split is in no fold.

    Whatever seed a run has, the folds are drawn with `seed`, so that every system and seed meets the same ones.
    Without a `fold`, return `data` as it is. Raises `SettingError` for a fold that does not exist.
    """
    if fold is None:
        return data
    if not 1 <= fold <= folds:
        raise SettingError(f"fold={fold}: with folds={folds} it must be a whole number from 1 to {folds}.")
    pool = concatenate_datasets([data.splits["train"], data.splits["validation"]])
    labels = np.asarray(pool["labels" if data.multilabel else "label"]).astype(np.int64)
    flags = labels if data.multilabel else np.eye(len(data.label_names), dtype=np.int64)[labels]
    found = make_folds(pool["text"], flags, data.label_names, folds=folds, seed=seed)[fold - 1]
    parts = {"train": found.train, "validation": found.tuning, "test": found.scored}
    note = f"Fold {fold} of {folds}: train and validation were divided anew; the data's own test split is not used."
    splits = DatasetDict({name: pool.select(rows) for name, rows in parts.items()})
    return replace(data, splits=splits, notes=[*data.notes, note])


def cross_validate(
    train_and_predict: Callable[[Fold], tuple[np.ndarray, np.ndarray]], labels: np.ndarray, folds: list[Fold]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the macro F1 of every fold under each kind of threshold, and the out-of-fold logits `(rows, labels)`.

    `train_and_predict(fold)` builds a *new* classifier, trains it on `fold.train`, and returns its logits for
    `fold.tuning` and for `fold.scored`. Thresholds are tuned on the former and judged on the latter.
    """
    labels = np.asarray(labels).astype(np.int64)
    logits = np.full(labels.shape, np.nan, dtype=np.float32)
    rows = []
    for fold in folds:
        of_tuning, logits[fold.scored] = train_and_predict(fold)
        inner, outer = (probabilities(x, multilabel=True) for x in (of_tuning, logits[fold.scored]))
        cuts = {kind: tune_thresholds(kind, labels[fold.tuning], inner) for kind in KINDS}
        called = {kind: decide(outer, multilabel=True, thresholds=cut) for kind, cut in cuts.items()}
        scores = {kind: fast_score("f1_macro", labels[fold.scored], calls) for kind, calls in called.items()}
        rows.append({"fold": fold.number + 1, "rows": len(fold.scored), **scores})
    return pd.DataFrame(rows).set_index("fold"), logits


def fold_table(labels: np.ndarray, folds: list[Fold], label_names: Sequence[str]) -> pd.DataFrame:
    """Return how often each label occurs in the scored rows of each fold, a row per fold, in percent."""
    shares = [100 * np.asarray(labels)[fold.scored].mean(axis=0) for fold in folds]
    numbers = pd.Index([fold.number + 1 for fold in folds], name="fold")
    return pd.DataFrame(shares, numbers, list(label_names))
