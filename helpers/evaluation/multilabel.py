"""Metrics for texts with several labels at once. Taught in notebook 04, sections 2, 4 and 10."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, multilabel_confusion_matrix

from helpers.evaluation.intervals import TAILS, resample_label_f1
from helpers.evaluation.metrics import compute_metrics, per_class_table, widen


def compute_multilabel_metrics(
    labels: np.ndarray, predictions: np.ndarray, probability: np.ndarray, label_names: list[str]
) -> dict:
    """Return `compute_metrics` and what only several labels have, all from 0 to 1, arrays `(rows, labels)`.

    `f1_samples` and `jaccard` are averages over rows; a row without labels, and called so, counts 1, as in the shared
    task. `exact_match` is the share of rows with every label right; `hamming_loss` of single decisions that are
    wrong, and `label_accuracy` of those that are right, which flatters: labels are rare, so saying no is mostly right.
    `average_precision` needs no threshold; it averages over the labels that occur.
    """
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)
    metrics = compute_metrics(labels, predictions, label_names)
    present, true, called = labels.any(axis=0), widen(labels), widen(predictions)
    precision = average_precision_score(labels[:, present], probability[:, present]) if present.any() else 0.0
    wrong = float((labels != predictions).mean())
    return metrics | {
        "exact_match": metrics["accuracy"],
        "f1_samples": float(f1_score(true, called, average="samples", zero_division=1.0)),
        "jaccard": float(jaccard_score(true, called, average="samples", zero_division=1.0)),
        "hamming_loss": wrong,
        "label_accuracy": 1 - wrong,
        "average_precision": float(precision),
    }


def trivial_predictions(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return what costs nothing: never any label, always every label. A model that is not above both has learnt nothing."""
    shape = np.shape(labels)
    return {"never any label": np.zeros(shape, dtype=np.int64), "always every label": np.ones(shape, dtype=np.int64)}


def label_table(
    labels: np.ndarray,
    predictions: np.ndarray,
    probability: np.ndarray,
    label_names: Sequence[str],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row per label: rows, precision, recall, f1 with a 95 % bootstrap interval, and average precision."""
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)
    metrics = compute_metrics(labels, predictions, list(label_names))
    rows, generator = len(labels), np.random.default_rng(seed)

    def draw(size: int) -> np.ndarray:
        return np.stack([np.bincount(drawn, minlength=rows) for drawn in generator.integers(0, rows, (size, rows))])

    draws = resample_label_f1(draw, samples, labels, [predictions])
    table = per_class_table(metrics).rename(columns={"support": "rows"})
    table["low"], table["high"] = np.quantile(draws, TAILS, axis=0)
    pairs = zip(labels.T, probability.T, strict=True)
    table["average precision"] = [average_precision_score(y, p) if y.any() else np.nan for y, p in pairs]
    return table[["rows", "precision", "recall", "f1", "low", "high", "average precision"]]


def count_label_confusions(labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """Return a row per label with the four cells of its own confusion matrix.
    The truth comes first: swapped, misses and false alarms change places, and nothing else shows it."""
    true, called = widen(np.asarray(labels).astype(int)), widen(np.asarray(predictions))
    cells = multilabel_confusion_matrix(true, called, labels=range(len(label_names))).reshape(-1, 4)
    columns = ["rightly absent", "false alarm", "missed", "found"]
    return pd.DataFrame(cells, index=list(label_names), columns=columns)


def co_occurrence(labels: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """Return the share of rows with the row's label that also have the column's; nan for a label that never occurs."""
    labels = np.asarray(labels).astype(float)
    counts = labels.sum(axis=0)[:, None]
    shares = labels.T @ labels / np.where(counts > 0, counts, np.nan)
    return pd.DataFrame(shares, index=list(label_names), columns=list(label_names))


def compare_with_chance(
    labels: np.ndarray, label_names: Sequence[str], *, shuffles: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Return for each pair of labels how many rows have both, and what chance makes of it, the closest pair first.

    The control: every column is shuffled on its own, so that labels stay as frequent and nothing binds them. `shuffled` is
    the mean of so many shuffles, `low` and `high` are the extremes, `ratio` is seen / shuffled, and `outside` says whether
    the pair occurs "more often" or "more seldom" than in any shuffle, or "no".
    """
    labels, generator = np.asarray(labels).astype(np.int64), np.random.default_rng(seed)
    mixed = (generator.permuted(labels, axis=0) for _ in range(shuffles))
    pairs = np.triu_indices(len(label_names), 1)
    chance = np.stack([(rows.T @ rows)[pairs] for rows in mixed])
    table = pd.DataFrame({"seen": (labels.T @ labels)[pairs], "shuffled": chance.mean(axis=0)})
    table["low"], table["high"] = chance.min(axis=0), chance.max(axis=0)
    table["ratio"] = table["seen"] / table["shuffled"].replace(0, np.nan)
    beyond = [table["seen"] > table["high"], table["seen"] < table["low"]]
    table["outside"] = np.select(beyond, ["more often", "more seldom"], "no")
    table.index = [f"{label_names[i]} + {label_names[j]}" for i, j in zip(*pairs, strict=True)]
    return table.sort_values("ratio", ascending=False, kind="stable")


def order_by_frequency(labels: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Return the label names, the most frequent first; `labels` `(rows, labels)` are 0 or 1."""
    counts = np.asarray(labels).sum(axis=0)
    return [label_names[i] for i in np.argsort(-counts, kind="stable")]
