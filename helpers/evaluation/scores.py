"""A system's result on one split: its metrics and how sure they are. Taught in notebook 01, section 6."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

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


def predictions_table(texts: Sequence[str], scores: Scores) -> pd.DataFrame:
    """Return text, true, predicted, confidence and one probability column per label, a row per text.

    For several labels per text, true and predicted are joined by commas, and confidence is that of the least sure label.
    """
    names, probability = scores.label_names, scores.probability

    def words(row) -> str:
        return ",".join(compress(names, row)) if np.ndim(row) else names[row]

    several = np.ndim(scores.labels) == 2
    true, predicted = map(words, scores.labels), map(words, scores.predictions)
    table = pd.DataFrame({"text": list(texts), "true": true, "predicted": predicted})
    table["confidence"] = (np.maximum(probability, 1 - probability).min if several else probability.max)(axis=1)
    for i, name in enumerate(names):
        table[f"p({name})" if name in table else name] = probability[:, i]  # a label may be called "true"
    return table


def incorrect_table(texts: Sequence[str], scores: Scores) -> pd.DataFrame:
    """Return the rows that got a wrong label: text, actual, predicted, confidence, a probability p(…) per label, and loss,
    the largest first, by which confident errors stand above doubtful ones. The index counts rows.

    The loss is the cross-entropy; of several labels per text, which all have to be right, it is their mean.
    """
    labels, several = np.asarray(scores.labels), np.ndim(scores.labels) == 2
    table = predictions_table(texts, scores).iloc[:, :4].rename(columns={"true": "actual"})
    for i, name in enumerate(scores.label_names):
        table[f"p({name})"] = scores.probability[:, i]
    hits = labels.astype(bool) if several else np.eye(len(scores.label_names), dtype=bool)[labels]
    chance = np.where(hits, scores.probability, 1 - scores.probability)  # of what is true of each label
    loss = -np.log(np.maximum(chance, 1e-12))
    table["loss"] = loss.mean(axis=1) if several else loss[hits]
    wrong = (scores.predictions != labels).any(axis=1) if several else scores.predictions != labels
    return table[wrong].sort_values("loss", ascending=False, kind="stable")
