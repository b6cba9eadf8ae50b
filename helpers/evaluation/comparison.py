"""Is one model better than another? Paired tests on the same test rows, over several seeds, and a sentence that follows.
Taught in notebook 02, section 6."""

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
    `(rows, labels)` count as right only if all of them are. Raises `ValueError` for predictions of other rows.
    """
    labels = np.asarray(labels).astype(np.int64)
    runs = as_runs([first], labels) + as_runs([second], labels)
    right = [(run == labels).reshape(len(labels), -1).all(axis=1) for run in runs]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    differing = only_first + only_second
    return PairedTest(only_first, only_second, float(binomtest(only_first, differing).pvalue) if differing else 1.0)


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


def compare_models(labels: np.ndarray, first, second, names: tuple[str, str], *, seed: int = 0) -> Comparison:
    """Return the comparison of two models from their predictions on the same rows: per model a list, one per seed.
    Raises `ValueError` unless both models have the same number of runs, each with a prediction for every row."""
    labels = np.asarray(labels).astype(np.int64)
    first, second = as_runs(first, labels), as_runs(second, labels)
    if len(first) != len(second):
        counts = f"{names[0]} has {len(first)} runs and {names[1]} {len(second)}"
        raise ValueError(f"{counts}: train both with the same seeds.")
    scores = tuple([fast_score("accuracy", labels, run) for run in model] for model in (first, second))
    tests = [mcnemar_test(labels, a, b) for a, b in zip(first, second, strict=True)]
    p_value = combine_p_values([test.p_value for test in tests])
    interval = bootstrap_difference(labels, first, second, seed=seed)
    return Comparison(names, len(labels), scores, interval, tests, p_value)


def verdict(comparison: Comparison, *, level: float = 0.05) -> str:
    """Return the sentence that the comparison allows, and no stronger one.

    A winner is named only if three things hold: the interval of the difference leaves out zero, the combined p-value
    lies below `level`, and every run of the one model beats every run of the other.
    """
    c, (first, second), (low, high) = comparison, comparison.scores, comparison.interval
    texts, seeds = f"{c.rows} test texts", f"{len(c.tests)} seeds" if len(c.tests) > 1 else "1 seed"
    needed = math.floor(1 - math.log2(level)) + 1  # McNemar's p of n rows is at least 2 * (1/2)^n: 6 rows for 0.05
    winner, loser = c.names if c.difference < 0 else c.names[::-1]
    if max(test.only_first + test.only_second for test in c.tests) < needed:
        found = f"{texts} cannot tell {' and '.join(c.names)} apart: they differ on fewer than {needed} of them, too few for any test"
    elif low <= 0 <= high or c.p_value >= level:
        found = f"No difference between {' and '.join(c.names)} that {texts} and {seeds} could show"
    elif min(second) > max(first) or min(first) > max(second):
        found = f"{winner} is better than {loser} on these {texts}, with {seeds}"
    else:
        found = (
            f"{winner} is ahead of {loser} on average, but not with every seed: train more seeds before naming a winner"
        )
    # The sign ≈ marks numbers that depend on trained weights: the notebooks' tests overlook them.
    what = " minus ".join(c.names[::-1])
    points = f"{what} ≈ {100 * c.difference:+.1f} points, 95 % interval ≈ {100 * low:+.1f} to ≈ {100 * high:+.1f}"
    return f"{found} ({points}, p ≈ {c.p_value:.2g})."
