"""Where to cut a probability into yes and no: at 0.5, at one threshold for all labels, or at one for each.

Choose them on validation rows, or on inner folds; never on the rows that are scored. Taught in notebook 04, section 5.
"""

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import decide, fast_score

DEFAULT = 0.5
KINDS = ("half", "global", "per_label")


def tune_thresholds(kind: str, labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return one threshold per label `(labels,)`: 0.5 ("half"), one for all ("global"), or one each ("per_label")."""
    labels, probability = np.asarray(labels).astype(np.int64), np.asarray(probability)
    if kind not in KINDS:
        raise ValueError(f"thresholds={kind!r} is unknown: use one of {', '.join(KINDS)}.")
    if labels.shape != probability.shape:
        raise ValueError(f"labels {labels.shape} and probabilities {probability.shape} do not belong together.")
    if kind == "per_label":
        columns = zip(labels.T, probability.T, strict=True)
        return np.array([best_label_threshold(truth, scores) for truth, scores in columns])
    return np.full(labels.shape[1], DEFAULT if kind == "half" else best_global_threshold(labels, probability))


def best_label_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold with the best F1 of one label, from `labels` (0/1) and `scores`, both `(rows,)`.

    Only the places halfway between two neighbouring scores, and 0.5, can matter: equal scores cannot be parted. Of
    equally good ones it is the one nearest to 0.5; a label that never occurs here teaches nothing and keeps 0.5.
    """
    if not labels.any():
        return DEFAULT
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(labels) + 1) + labels.sum())  # if the first k rows are called
    ends = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))  # k may end only where the score changes
    lower = np.append(ranked, 0.0)[ends + 1]
    inside = (lower < DEFAULT) & (ranked[ends] >= DEFAULT)  # 0.5 makes the same cut: then take 0.5 itself
    cuts = np.where(inside, DEFAULT, (ranked[ends] + lower) / 2)
    best = np.flatnonzero(f1[ends] >= f1[ends].max() - 1e-12)
    return float(cuts[best[np.abs(cuts[best] - DEFAULT).argmin()]])


def best_global_threshold(labels: np.ndarray, probability: np.ndarray) -> float:
    """Return the one threshold, a multiple of 0.01, with the best macro F1; of equals the one nearest to 0.5."""
    grid = np.arange(1, 100) / 100
    scores = [fast_score("f1_macro", labels, decide(probability, multilabel=True, thresholds=cut)) for cut in grid]
    best = grid[np.array(scores) >= max(scores) - 1e-12]
    return float(best[np.abs(best - DEFAULT).argmin()])


def measure_optimism(labels: np.ndarray, probability: np.ndarray, *, repeats: int = 50, seed: int = 0) -> pd.DataFrame:
    """Return per kind of threshold the mean macro F1 on the half of the rows it was tuned on, and on the other half.
    The rows are cut in two at random, `repeats` times; the columns differ by what tuning promises too much."""
    labels, generator = np.asarray(labels).astype(np.int64), np.random.default_rng(seed)
    scores = {kind: [] for kind in KINDS}
    for _ in range(repeats):
        order = generator.permutation(len(labels))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        for kind in KINDS:
            cuts = tune_thresholds(kind, labels[halves[0]], probability[halves[0]])
            called = decide(probability, multilabel=True, thresholds=cuts)
            scores[kind].append([fast_score("f1_macro", labels[rows], called[rows]) for rows in halves])
    return pd.DataFrame({kind: np.mean(pairs, axis=0) for kind, pairs in scores.items()}, index=["tuned on", "fresh"]).T
