"""Is a difference real if train and test rows were drawn many times from the same corpus? The runs share rows, so they say
less than as many runs on new data. Taught in notebook 07, sections 3 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as t_distribution


@dataclass(frozen=True)
class ResampledTest:
    """A mean over resamplings, its 95 % interval, and whether it may be zero."""

    mean: float
    low: float
    high: float
    t: float
    degrees: int
    p_value: float


def resampled_t_test(values: Sequence[float], test_to_train: float) -> ResampledTest:
    """Return the t-test of Nadeau & Bengio (*Machine Learning* 52, 2003) for `values`: one difference of two systems per
    division into train and test rows, or the scores of one system.

    `test_to_train` is the number of test rows over the number of training rows, 1/4 for five folds. With 0 it is the plain
    t-test, which takes the values for independent. The training sets overlap, so the variance of the mean is not s²/J but
    about (1/J + test_to_train) s². Seeds within a fold are no new divisions: average them first (`average_folds`).
    Values that are all the same give p = 1 if they are zero, else 0. Raises `ValueError` for fewer than two values.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or test_to_train < 0:
        raise ValueError("A t-test needs at least two finite values in a row, and a ratio that is not negative.")
    degrees, mean, spread = len(values) - 1, float(values.mean()), float(values.std(ddof=1))
    error = ((1 / len(values) + test_to_train) ** 0.5) * spread
    if error < 1e-12:
        return ResampledTest(mean, mean, mean, 0.0 if mean == 0 else np.inf, degrees, float(abs(mean) < 1e-12))
    reach = float(t_distribution.ppf(0.975, degrees)) * error
    p_value = float(2 * t_distribution.sf(abs(mean) / error, degrees))
    return ResampledTest(mean, mean - reach, mean + reach, mean / error, degrees, p_value)


def average_folds(scores: Sequence[float], folds: Sequence[int]) -> np.ndarray:
    """Return one score per fold, in their order: the mean over its seeds."""
    return pd.Series(np.asarray(scores, dtype=float)).groupby(np.asarray(folds)).mean().to_numpy()


def divide_rows(rows: int, folds: int, repeats: int, generator: np.random.Generator) -> np.ndarray:
    """Return which row is tested in which division, `(repeats * folds, rows)`: each repeat is a new k-fold division."""
    parts = [generator.permutation(rows) % folds for _ in range(repeats)]
    return np.concatenate([part == np.arange(folds)[:, None] for part in parts])


def score_twins(
    tested: np.ndarray, generator: np.random.Generator, *, traits: int = 10, signal: float = 0.25
) -> np.ndarray:
    """Return the accuracy of a learner minus that of its twin, per division of `tested` `(divisions, rows)`, on rows that are
    drawn here and now.

    A row has a label, 1 or -1, and twice as many `traits`: normal numbers, shifted by the label times `signal`. One
    learner sees the first half of them, the twin the other, and both predict by the nearer class mean. So over all data that
    could have been drawn they are exactly equally good, and whoever finds a difference is wrong.
    """
    rows = tested.shape[1]
    labels = generator.permutation(np.arange(rows) % 2 * 2 - 1)
    seen = generator.normal(size=(2, rows, traits)) + signal * labels[:, None]
    right = []
    for part in seen:  # a learner each
        weights, sums = [], []
        for sign in (1, -1):
            own = ~tested & (labels == sign)
            weights.append((own @ part) / own.sum(axis=1)[:, None])  # class means, (divisions, traits)
            sums.append((weights[-1] ** 2).sum(axis=1))
        margin = (weights[0] - weights[1]) @ part.T - ((sums[0] - sums[1]) / 2)[:, None]
        right.append(((margin > 0) == (labels > 0)) & tested)
    return (right[1].sum(axis=1) - right[0].sum(axis=1)) / tested.sum(axis=1)


def simulate_false_positives(
    repeats: Sequence[int] = (1, 2, 4, 10), *, worlds: int = 1000, rows: int = 200, folds: int = 5, level: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return per number of `repeats` of a k-fold cross-validation how often each test finds a difference between twins, who
    have none (`score_twins`): the share of `worlds` with p below `level`, plain and corrected. Each share has a standard
    error of about (share * (1 - share) / worlds) ** 0.5."""
    generator, found = np.random.default_rng(seed), []
    for _ in range(worlds):
        tested = divide_rows(rows, folds, max(repeats), generator)
        differences = score_twins(tested, generator)
        parts = [differences[: folds * count] for count in repeats]
        found.append([[resampled_t_test(p, r).p_value < level for r in (0, 1 / (folds - 1))] for p in parts])
    index = pd.Index([folds * count for count in repeats], name="values")
    return pd.DataFrame(np.mean(found, axis=0), index, ["plain", "corrected"])
