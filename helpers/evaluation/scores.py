"""A system's result on one split: its metrics and how sure they are. Taught in notebook 01, section 6."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import bootstrap_intervals
from helpers.evaluation.metrics import compute_metrics, decide
from helpers.evaluation.multilabel import compute_multilabel_metrics

WORDS = {"accuracy": "accuracy", "f1_macro": "macro F1", "f1_micro": "micro F1", "f1_weighted": "weighted F1"}


@dataclass(frozen=True)
class Scores:
    """What one system did on one split."""

    labels: np.ndarray  # (rows,), or (rows, labels) of 0 and 1 where several may be true
    probability: np.ndarray  # (rows, labels)
    predictions: np.ndarray  # like labels
    label_names: list[str]
    metrics: dict  # as of compute_metrics, or of compute_multilabel_metrics
    intervals: dict[str, tuple[float, float]]  # 95 %, by metric


def score(
    labels: Sequence[int] | np.ndarray,
    probability: np.ndarray,
    label_names: list[str],
    *,
    thresholds: float | np.ndarray = 0.5,
    names: Sequence[str] = tuple(WORDS),
    seed: int = 0,
) -> Scores:
    """Return predictions, metrics, and bootstrap intervals of the metrics `names`, from probabilities `(rows, labels)`.

    Labels `(rows,)` are one per text: the likeliest is predicted. Labels `(rows, labels)`, 0 or 1, are several: then
    every label that reaches its threshold is predicted.
    """
    labels = np.asarray(labels)
    multilabel = labels.ndim == 2
    predictions = decide(probability, multilabel=multilabel, thresholds=thresholds)
    if multilabel:
        metrics = compute_multilabel_metrics(labels, predictions, probability, label_names)
    else:
        metrics = compute_metrics(labels, predictions, label_names)
    intervals = bootstrap_intervals(labels, predictions, names, seed=seed)
    return Scores(labels, probability, predictions, label_names, metrics, intervals)


def score_table(systems: dict[str, Scores], metrics: Sequence[str] = ("accuracy", "f1_macro")) -> pd.DataFrame:
    """Return value, low and high per metric and system, metric by metric: what `plots.plot_scores` draws."""
    rows = {
        f"{WORDS[name]} · {system}": (found.metrics[name], *found.intervals[name])
        for name in metrics
        for system, found in systems.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])
