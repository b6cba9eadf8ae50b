"""Predictions, and the numbers that may be said about them. Counts are summed over all rows, never averaged over batches.
Taught in notebook 00, section 4 (the metrics by hand), and notebook 01, section 6."""

from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit, logsumexp, softmax
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


def probabilities(logits: np.ndarray, *, multilabel: bool) -> np.ndarray:
    """Return probabilities `(rows, labels)`: softmax over the labels, or a sigmoid each when several may be true."""
    return expit(logits) if multilabel else softmax(logits, axis=1)


def decide(probability: np.ndarray, *, multilabel: bool, thresholds: float | np.ndarray = 0.5) -> np.ndarray:
    """Return predictions: the likeliest label `(rows,)`, or 0/1 `(rows, labels)` where a threshold is reached."""
    return (probability >= thresholds).astype(np.int64) if multilabel else probability.argmax(axis=1)


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean loss per row: cross-entropy for int labels, binary cross-entropy (mean over labels) for floats."""
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if labels.dtype.kind == "f":
        return float(np.mean(np.logaddexp(0, logits) - labels * logits))
    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))


def widen(flags: np.ndarray) -> np.ndarray:
    """Return 0/1 `(rows, 1)` with an empty label beside the only one, all else as it is: scikit-learn takes a single column
    for one label per text, and "not joy" for a second label."""
    return np.hstack([flags, np.zeros_like(flags)]) if flags.ndim == 2 and flags.shape[1] == 1 else flags


def compute_metrics(labels: np.ndarray, predictions: np.ndarray, label_names: list[str]) -> dict:
    """Return accuracy, precision, recall and F1 (macro, micro, weighted) and a dictionary `per_class`.

    Macro F1 averages over the labels that occur: one that is never predicted counts with 0, but one that occurs neither
    in `labels` nor in `predictions` has no F1 and is left out (in `per_class` it has zeros). For several labels per text
    every one counts, and accuracy is the share of rows with every label right. Both as in scikit-learn and `fast_score`.
    """
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)
    classes = np.arange(len(label_names))
    occurring = classes if labels.ndim == 2 else np.union1d(labels, predictions)
    true, called = widen(labels), widen(predictions)
    scores = partial(precision_recall_fscore_support, true, called, zero_division=0.0)
    metrics = {"accuracy": float(accuracy_score(true, called))}
    for average in ("macro", "micro", "weighted"):
        found = zip(("precision", "recall", "f1"), scores(average=average, labels=occurring)[:3], strict=True)
        metrics |= {f"{name}_{average}": float(value) for name, value in found}
    metrics["per_class"] = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(label_names, *scores(labels=classes), strict=True)
    }
    return metrics


def per_class_table(metrics: dict) -> pd.DataFrame:
    """Return the per-class part of `compute_metrics` as a table, one row per label."""
    return pd.DataFrame(metrics["per_class"]).T.astype({"support": int})


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, label_names: list[str]) -> pd.DataFrame:
    """Return counts `(true, predicted)`; rows are the truth."""
    counts = confusion_matrix(labels, predictions, labels=range(len(label_names)))
    true, predicted = (pd.Index(label_names, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(counts, true, predicted)


def fast_score(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return "accuracy" or "f1_macro", "f1_micro", "f1_weighted" as in `compute_metrics`, quickly: without any checks."""
    if name == "accuracy":
        return float((labels == predictions).reshape(len(labels), -1).all(axis=1).mean())
    if labels.ndim == 2:
        hits, true, called = (labels & predictions).sum(0), labels.sum(0), predictions.sum(0)
    else:
        size = int(max(labels.max(), predictions.max())) + 1
        hits = np.bincount(labels[labels == predictions], minlength=size)
        true, called = np.bincount(labels, minlength=size), np.bincount(predictions, minlength=size)
    present = (true + called > 0) | (labels.ndim == 2)
    if name == "f1_micro":
        return float(2 * hits.sum() / max(1, true.sum() + called.sum()))
    f1 = 2 * hits[present] / np.maximum(true + called, 1)[present]
    if name == "f1_weighted":
        return float(np.average(f1, weights=true[present]) if true.any() else 0.0)
    if name == "f1_macro":
        return float(f1.mean()) if present.any() else 0.0
    raise ValueError(f"Unknown metric {name!r}: use accuracy, f1_macro, f1_micro or f1_weighted.")
