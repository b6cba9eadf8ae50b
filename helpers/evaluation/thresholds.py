"""Where to cut a probability into yes and no: at 0.5, at one threshold for all labels, or at one for each, found on its own or
on a smoothed curve.

Choose them on validation rows, or on inner folds; never on the rows that are scored. Taught in notebook 04, section 6.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from helpers.evaluation.metrics import decide, fast_score

DEFAULT = 0.5
KINDS = ("half", "global", "per_label", "smooth")
WIDTH = 0.4  # of the smoothing, in log-odds: 0.2, 0.4 and 0.7 all beat none on validation tweets, 0.7 no more


def tune_thresholds(kind: str, labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return one threshold per label `(labels,)`: 0.5 ("half"), one for all ("global"), or one each: the very
    best on these rows ("per_label"), or the best once each label's curve is smoothed ("smooth")."""
    labels, probability = np.asarray(labels).astype(np.int64), np.asarray(probability)
    if kind not in KINDS:
        raise ValueError(f"thresholds={kind!r} is unknown: use one of {', '.join(KINDS)}.")
    if labels.shape != probability.shape:
        raise ValueError(f"labels {labels.shape} and probabilities {probability.shape} do not belong together.")
    if kind in ("per_label", "smooth"):
        search = best_label_threshold if kind == "per_label" else smooth_label_threshold
        return np.array([search(truth, scores) for truth, scores in zip(labels.T, probability.T, strict=True)])
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


def smooth_label_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold, a multiple of 0.01, that is best for one label when its F1 counts together with that of the
    cuts around it: a mean weighted by a Gaussian of `WIDTH`. A cut that is good by the luck of a text or two has
    worse neighbours, and loses. `labels` (0/1) and `scores` are `(rows,)`; a label that never occurs keeps 0.5."""
    if not labels.any():
        return DEFAULT
    grid = np.arange(2, 99) / 100
    called = np.asarray(scores)[:, None] >= grid  # (rows, cuts)
    f1 = 2 * called[labels > 0].sum(axis=0) / (called.sum(axis=0) + labels.sum())
    place = np.log(grid / (1 - grid))
    near = np.exp(-0.5 * ((place[:, None] - place) / WIDTH) ** 2)
    smoothed = near @ f1 / near.sum(axis=1)
    return float(grid[smoothed >= smoothed.max() - 1e-12][0])


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


def cross_fit(kind: str, labels: np.ndarray, probability: np.ndarray, *, parts: int = 10, seed: int = 0) -> np.ndarray:
    """Return the calls, 0 or 1 `(rows, labels)`, of thresholds of a `kind` that no row had a say in when it is called.

    The rows are divided at random into `parts`; each is called by the thresholds that the other parts chose.
    """
    labels, probability = np.asarray(labels).astype(np.int64), np.asarray(probability)
    part = np.random.default_rng(seed).permutation(len(labels)) % parts
    called = np.zeros_like(labels)
    for own in (part == k for k in range(parts)):
        cuts = tune_thresholds(kind, labels[~own], probability[~own])
        called[own] = decide(probability[own], multilabel=True, thresholds=cuts)
    return called


def compare_kinds(
    labels: np.ndarray, probability: np.ndarray, *, fresh: tuple[np.ndarray, np.ndarray] | None = None,
    repeats: int = 5, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return per kind of threshold the macro F1 on the very rows that chose it (in-sample), the mean of `repeats`
    cross-fittings, and how far these spread (sd); of `fresh` labels and probabilities, a test split's, also theirs (test).
    The first two differ by what tuning promises too much."""
    rows = {}

    def score(truth: np.ndarray, called: np.ndarray) -> float:
        return fast_score("f1_macro", np.asarray(truth).astype(np.int64), called)

    for kind in KINDS:
        decide_by = {"multilabel": True, "thresholds": tune_thresholds(kind, labels, probability)}
        calls = (cross_fit(kind, labels, probability, seed=seed + k) for k in range(repeats))
        fair = [score(labels, called) for called in calls]
        rows[kind] = {"in-sample": score(labels, decide(probability, **decide_by))}
        rows[kind] |= {"cross-fitted": np.mean(fair), "sd": np.std(fair)}
        if fresh is not None:
            rows[kind]["test"] = score(fresh[0], decide(fresh[1], **decide_by))
    return pd.DataFrame(rows).T


def judge_probabilities(labels: np.ndarray, by_name: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a row per system of `by_name`, from its probabilities: macro F1 at 0.5, macro F1 with one threshold for all
    (cross-fitted), average precision over the labels that occur, and how often it says yes per text at 0.5."""
    labels, rows = np.asarray(labels).astype(np.int64), {}
    present = labels.any(axis=0)
    for name, probability in by_name.items():
        fair = compare_kinds(labels, probability)["cross-fitted"]
        rows[name] = {
            "F1 at 0.5": fair["half"],
            "F1, one cut": fair["global"],
            "average precision": average_precision_score(labels[:, present], probability[:, present]),
            "yes per text": (probability >= DEFAULT).sum(axis=1).mean(),
        }
    return pd.DataFrame(rows).T
