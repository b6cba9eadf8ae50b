"""Is one model better than another? Paired tests on the same test rows, over several seeds, and a sentence that follows.

Taught in notebook 02, section 6.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from helpers.evaluation.intervals import as_runs, bootstrap_difference
from helpers.evaluation.metrics import fast_score


@dataclass(frozen=True)
class PairedTest:
    """McNemar's table off its diagonal, and what it says: rows that exactly one of two models got right."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar_test(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Return McNemar's exact test for two models' predictions `(rows,)` of the same rows.

    If the models were equally good, each row that only one of them gets right would be a fair coin's throw. Rows that
    both get right or both wrong say nothing (McNemar, *Psychometrika* 12, 1947). Several labels per text
    `(rows, labels)` count as right only if all of them are.
    """
    right_first, right_second = _right(labels, first), _right(labels, second)
    only_first, only_second = int((right_first & ~right_second).sum()), int((right_second & ~right_first).sum())
    differing = only_first + only_second
    p_value = binomtest(only_first, differing, 0.5).pvalue if differing else 1.0
    return PairedTest(only_first, only_second, float(p_value))


def combine_p_values(p_values: list[float]) -> float:
    """Return one p-value for several tests of the same rows, valid however much they depend on each other.

    It is the median (of an even number the upper one) times the number of tests over its rank: 1.5 times the median of
    three (Rüschendorf, *Advances in Applied Probability* 14, 1982). Most tests must be small for it to be small.
    """
    rank = len(p_values) // 2 + 1
    return min(1.0, sorted(p_values)[rank - 1] * len(p_values) / rank)


@dataclass(frozen=True)
class Comparison:
    """All that `verdict` judges by: two models, several seeds each, one test split. Scores are accuracies."""

    names: tuple[str, str]
    rows: int
    scores: tuple[list[float], list[float]]  # per model one per seed
    interval: tuple[float, float]  # of the second's mean minus the first's
    tests: list[PairedTest]  # one per pair of seeds
    p_value: float

    @property
    def difference(self) -> float:
        """Mean accuracy of the second model minus that of the first."""
        return float(np.mean(self.scores[1]) - np.mean(self.scores[0]))

    @property
    def seeds_agree(self) -> bool:
        """Whether every run of one model beats every run of the other."""
        first, second = self.scores
        return min(second) > max(first) or min(first) > max(second)


def compare_models(labels: np.ndarray, first, second, names: tuple[str, str], *, seed: int = 0) -> Comparison:
    """Return the comparison of two models from their predictions on the same rows: per model a list, one per seed.

    Raises `ValueError` unless both models have the same number of runs, each with a prediction for every row.
    """
    labels = np.asarray(labels).astype(np.int64)
    first, second = as_runs(first, labels), as_runs(second, labels)
    if len(first) != len(second):
        raise ValueError(
            f"{names[0]} has {len(first)} runs and {names[1]} {len(second)}: train both with the same seeds."
        )
    tests = [mcnemar_test(labels, a, b) for a, b in zip(first, second, strict=True)]
    return Comparison(
        names=names,
        rows=len(labels),
        scores=tuple([fast_score("accuracy", labels, run) for run in model] for model in (first, second)),
        interval=bootstrap_difference(labels, first, second, seed=seed),
        tests=tests,
        p_value=combine_p_values([test.p_value for test in tests]),
    )


def verdict(comparison: Comparison, *, level: float = 0.05) -> str:
    """Return the sentence that the comparison allows, and no stronger one.

    A winner is named only if three things hold: the interval of the difference leaves out zero, the combined p-value
    lies below `level`, and every run of the one model beats every run of the other.
    """
    c, seeds = comparison, len(comparison.tests)
    runs = f"{seeds} seeds" if seeds > 1 else "1 seed"
    low, high = (100 * bound for bound in c.interval)
    # The sign ≈ marks numbers that depend on trained weights: the notebooks' tests overlook them.
    evidence = f"difference ≈ {100 * c.difference:+.1f} points, 95 % interval ≈ {low:+.1f} to ≈ {high:+.1f}, p ≈ {c.p_value:.2g}"
    needed = fewest_differing_rows(level)
    if max(test.only_first + test.only_second for test in c.tests) < needed:
        return (
            f"{c.rows} test texts cannot tell {c.names[0]} and {c.names[1]} apart: they differ on fewer than {needed} of "
            f"them, too few for any test ({evidence})."
        )
    if (low > 0 or high < 0) and c.p_value < level:
        winner, loser = c.names if c.difference < 0 else c.names[::-1]
        if c.seeds_agree:
            return f"{winner} is better than {loser} on these {c.rows} test texts, with {runs} ({evidence})."
        return (
            f"{winner} is ahead of {loser} on average, but not with every seed: train more seeds before naming a winner "
            f"({evidence})."
        )
    return f"No difference between {c.names[0]} and {c.names[1]} that {c.rows} test texts and {runs} could show ({evidence})."


def fewest_differing_rows(level: float = 0.05) -> int:
    """Return how many rows two models must differ on before McNemar's test can fall below `level` at all: 6 for 0.05."""
    return math.floor(1 - math.log2(level)) + 1


def _right(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"Predictions of shape {predictions.shape} do not fit labels of shape {labels.shape}.")
    return (labels == predictions).reshape(len(labels), -1).all(axis=1)
