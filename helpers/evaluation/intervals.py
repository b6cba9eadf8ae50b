"""How much luck is in a score? Percentile bootstrap intervals of 95 %: what other test rows could have shown.

Taught in notebook 00, section 6 (one score), and notebook 02, section 6 (the difference of two models).
Rows are drawn with replacement, as many as there are (Efron & Tibshirani, *An Introduction to the Bootstrap*, ch. 13).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from helpers.evaluation.metrics import fast_score

TAILS = [0.025, 0.975]


def interval(score: Callable[[np.ndarray], float], rows: int, *, samples: int = 2000, seed: int = 0) -> np.ndarray:
    """Return low and high of `score(numbers of the drawn rows)`; if it returns several scores, a column of them each."""
    numbers = np.arange(max(rows, 2)) % rows  # scipy wants two rows at least: a single one is drawn twice
    found = bootstrap(
        (numbers,), score, n_resamples=samples, vectorized=False, method="percentile", rng=np.random.default_rng(seed),
        batch=max(1, 2**20 // rows),  # draws held at once: 8 MiB, however many rows
    )  # fmt: skip
    return np.quantile(found.bootstrap_distribution, TAILS, axis=-1)  # scipy's own bounds vary with its version


def bootstrap_intervals(
    labels: np.ndarray, predictions: np.ndarray, metrics: Sequence[str] = ("accuracy", "f1_macro"), *,
    samples: int = 2000, seed: int = 0,
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Return low and high per metric of `fast_score`, all from the same draws.
    They speak of the choice of test rows alone, not of the seed, nor of the training data."""
    labels, predictions = np.asarray(labels).astype(np.int64), np.asarray(predictions)

    def scores(rows: np.ndarray) -> list[float]:
        true, called = labels[rows], predictions[rows]
        return [fast_score(name, true, called) for name in metrics]

    bounds = interval(scores, len(labels), samples=samples, seed=seed)
    return {name: (low, high) for name, (low, high) in zip(metrics, bounds.T.tolist(), strict=True)}


def bootstrap_difference(
    labels: np.ndarray, first, second, metric: str = "accuracy", *, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of `second`'s metric minus `first`'s: both scored on the same drawn rows each time.

    Predictions are `(rows,)`, or a list of such, one per seed. Then the seeds of each model are drawn too, and the
    interval speaks of both kinds of luck, which test rows and which seed, though three seeds show little of the second.
    Raises `ValueError` for predictions of other rows.
    """
    labels = np.asarray(labels).astype(np.int64)
    models = as_runs(first, labels), as_runs(second, labels)
    generator, differences = np.random.default_rng(seed), []
    for _ in range(samples):
        rows = generator.integers(0, len(labels), len(labels))
        drawn = [[runs[k] for k in generator.integers(0, len(runs), len(runs))] for runs in models]
        scores = [np.mean([fast_score(metric, labels[rows], run[rows]) for run in runs]) for runs in drawn]
        differences.append(scores[1] - scores[0])
    low, high = np.quantile(differences, TAILS).tolist()
    return low, high


def per_label_f1(
    labels: np.ndarray, runs, label_names: list[str], *, samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return a row per label: value (F1 averaged over `runs`), and low and high, its 95 % bootstrap interval.

    `runs` are predictions `(rows,)`, or a list of such, one per seed. Raises `ValueError` where they have other rows.
    """
    labels = np.asarray(labels).astype(np.int64)
    columns = [labels, *as_runs(runs, labels)]
    true, *called = [np.stack([column == k for k in range(len(label_names))], axis=1) for column in columns]
    rows, generator = len(labels), np.random.default_rng(seed)
    value = resample_label_f1(lambda _: np.ones((1, rows)), 1, true, called)[0]  # the sample as it is

    def draw(size: int) -> np.ndarray:
        return generator.multinomial(rows, np.full(rows, 1 / rows), size=size)

    low, high = np.quantile(resample_label_f1(draw, samples, true, called), TAILS, axis=0)
    return pd.DataFrame({"value": value, "low": low, "high": high}, index=label_names)


def resample_label_f1(
    draw: Callable[[int], np.ndarray], samples: int, true: np.ndarray, called: Sequence[np.ndarray]
) -> np.ndarray:
    """Return F1 per label for each resample, `(samples, labels)`, averaged over the runs in `called`.

    `true` and every array of `called` hold 0 or 1, `(rows, labels)`. `draw(size)` returns how often each of `size`
    resamples has each row, `(size, rows)`: hits and totals are then weighted sums, many resamples in one product.
    """
    hits = [(true * run).astype(float) for run in called]  # floats: their product is far quicker, and counts are exact
    totals = [true.astype(float) + run for run in called]
    size, f1 = max(1, 2**20 // len(true)), np.zeros((samples, true.shape[1]))
    for start in range(0, samples, size):
        weights = draw(min(size, samples - start)).astype(float)
        for hit, total in zip(hits, totals, strict=True):
            f1[start : start + size] += 2 * (weights @ hit) / np.maximum(weights @ total, 1) / len(called)
    return f1


def as_runs(predictions, labels: np.ndarray) -> list[np.ndarray]:
    """Return predictions as a list, one array per seed; a single array is one seed."""
    single = np.ndim(predictions) == labels.ndim
    runs = [np.asarray(run) for run in ([predictions] if single else predictions)]
    for run in runs:
        if run.shape != labels.shape:
            raise ValueError(f"Predictions of shape {run.shape} do not fit labels of shape {labels.shape}.")
    return runs
