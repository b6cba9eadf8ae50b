"""Predictions, and the numbers that may be said about them. Counts are summed over all rows, never averaged over batches.

Taught in notebook 00, section 4 (the metrics by hand), and notebook 01, section 9.
"""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from helpers.device import Device, autocast
from helpers.models.batches import EncodedTexts, collate, cut_by_tokens


@contextmanager
def evaluation_mode(model: torch.nn.Module):
    """Switch dropout and gradients off inside the block, and put every part of the model back into its mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def compute_rows(
    compute: Callable,
    model: torch.nn.Module,
    encoded: EncodedTexts,
    shape: tuple[int, ...],
    device: Device | None = None,
    *,
    max_tokens: int | None = None,
) -> np.ndarray:
    """Return `compute(input_ids, attention_mask)` for all of `encoded`, `(rows, *shape)` in fp32 and in their order.

    Rows are sorted by length and cut into batches of at most `max_tokens` padded tokens: by default 8192 on a GPU, which
    wants large batches, and 1024 on a CPU, which would spend half of a large one on padding. The mode of `model` is
    restored. Given a `device`, it runs in that device's mixed precision, else in fp32.
    """
    where = next(model.parameters()).device
    max_tokens = max_tokens or (8192 if where.type == "cuda" else 1024)
    results = np.empty((len(encoded), *shape), dtype=np.float32)
    with evaluation_mode(model), autocast(device):
        for rows in cut_by_tokens(np.arange(len(encoded)), encoded.lengths, max_tokens):
            batch = collate(encoded, rows, where)
            results[rows] = compute(batch["input_ids"], batch["attention_mask"]).float().cpu().numpy()
    return results


def predict_logits(
    classifier, encoded: EncodedTexts, device: Device | None = None, *, max_tokens: int | None = None
) -> np.ndarray:
    """Return fp32 logits `(rows, labels)` in the order of `encoded`, batch by batch as in `compute_rows`."""
    return compute_rows(classifier, classifier, encoded, (len(classifier.label_names),), device, max_tokens=max_tokens)


def probabilities(logits: np.ndarray, *, multilabel: bool) -> np.ndarray:
    """Return probabilities `(rows, labels)`: softmax over the labels, or a sigmoid each when several may be true."""
    if multilabel:
        return expit(logits)
    return softmax(logits, axis=1)


def decide(probability: np.ndarray, *, multilabel: bool, thresholds: float | np.ndarray = 0.5) -> np.ndarray:
    """Return predictions: the likeliest label `(rows,)`, or 0/1 `(rows, labels)` where a threshold is reached."""
    return (probability >= thresholds).astype(np.int64) if multilabel else probability.argmax(axis=1)


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean loss per row: cross-entropy for int labels, binary cross-entropy (mean over labels) for floats."""
    logits, labels = torch.tensor(logits), torch.tensor(labels)
    if labels.is_floating_point():
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).item()
    return torch.nn.functional.cross_entropy(logits, labels).item()


def compute_metrics(labels: np.ndarray, predictions: np.ndarray, label_names: list[str]) -> dict:
    """Return accuracy, precision, recall and F1 (macro, micro, weighted) and a dictionary `per_class`.

    Macro F1 averages over the labels that occur: one that is never predicted counts with 0, but one that occurs neither
    in `labels` nor in `predictions` has no F1 and is left out (in `per_class` it has zeros). For several labels per text
    every one counts, and accuracy is the share of rows with every label right. Both as in scikit-learn and `fast_score`.
    """
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)
    classes = np.arange(len(label_names))
    occurring = classes if labels.ndim == 2 else np.union1d(labels, predictions)
    metrics = {"accuracy": float(accuracy_score(labels, predictions))}
    for average in ("macro", "micro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, predictions, average=average, labels=occurring, zero_division=0.0
        )
        metrics |= {
            f"precision_{average}": float(precision),
            f"recall_{average}": float(recall),
            f"f1_{average}": float(f1),
        }
    scores = precision_recall_fscore_support(labels, predictions, average=None, labels=classes, zero_division=0.0)
    metrics["per_class"] = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(label_names, *scores, strict=True)
    }
    return metrics


def per_class_table(metrics: dict) -> pd.DataFrame:
    """Return the per-class part of `compute_metrics` as a table, one row per label."""
    return pd.DataFrame(metrics["per_class"]).T.astype({"support": int})


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, label_names: list[str]) -> pd.DataFrame:
    """Return counts `(true, predicted)`; rows are the truth."""
    counts = confusion_matrix(labels, predictions, labels=range(len(label_names)))
    return pd.DataFrame(
        counts, index=pd.Index(label_names, name="true"), columns=pd.Index(label_names, name="predicted")
    )


def bootstrap_intervals(
    labels: np.ndarray,
    predictions: np.ndarray,
    metrics: tuple[str, ...] = ("accuracy", "f1_macro"),
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return a percentile bootstrap interval per metric: what else could this test set's size have shown?

    Rows are drawn with replacement `samples` times (Efron & Tibshirani, *An Introduction to the Bootstrap*, ch. 13).
    It speaks of the choice of test rows alone, not of the seed, nor of the training data.
    """
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)
    generator = np.random.default_rng(seed)
    scores = {name: np.empty(samples) for name in metrics}
    for i in range(samples):
        rows = generator.integers(0, len(labels), len(labels))
        for name in metrics:
            scores[name][i] = fast_score(name, labels[rows], predictions[rows])
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {name: tuple(float(x) for x in np.quantile(values, tails)) for name, values in scores.items()}


def fast_score(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return "accuracy" or "f1_macro", "f1_micro", "f1_weighted" from counts: what scikit-learn gives, without its checks.

    As in scikit-learn, macro F1 leaves out a label that occurs neither in `labels` nor in `predictions`; with a column
    per label `(rows, labels)` every column counts.
    """
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
