"""For the tests: run folders as notebooks leave them, made within milliseconds, without any model."""

from pathlib import Path

import numpy as np

from helpers.device import Device
from helpers.evaluation.scores import Scores, score
from helpers.runs import complete_run, metrics_record

CPU = Device("cpu", "a test CPU", "no", "eager")
LABELS = ["sad", "glad", "calm"]


def answer(truth: np.ndarray, accuracy: float, seed: int, names: tuple = ("f1_macro",)) -> Scores:
    """Return scores of a system that is right on about so many rows (or single labels), and else says the next label."""
    generator = np.random.default_rng(seed)
    several, right = truth.ndim == 2, generator.random(truth.shape) < accuracy
    called = np.where(right, truth, 1 - truth) if several else np.where(right, truth, (truth + 1) % len(LABELS))
    probability = called * 0.8 + 0.1 if several else np.eye(len(LABELS))[called]
    return score(truth, probability, LABELS, names=names)


def make_run(
    folder: Path, *, accuracy: float = 0.8, rows: int = 60, fold: int | None = None, folds: int | None = None,
    seed: int = 0, model: str = "tiny", several: bool = False, texts: list[str] | None = None, fast: bool = False,
    **changes,
) -> Path:  # fmt: skip
    """Write a finished run of `model` into `folder` and return it; the rows of a fold are the same for all models.
    With `fast`, no interval is computed."""
    generator = np.random.default_rng(100 + (fold or 0))
    truth = generator.integers(0, 2, (rows, 3)) if several else generator.integers(0, 3, rows)
    luck = [seed, fold or 0, len(model), *model.encode()]
    scores = answer(truth, accuracy, np.random.default_rng(luck).integers(2**31), () if fast else ("f1_macro",))
    texts = texts or [f"text {i}, of fold {fold}" for i in range(rows)]
    given = {
        "notebook": "experiment", "model": model, "method": "full", "dataset": "toy", "seed": seed, "device": CPU,
        "sizes": {"train": 4 * rows, "validation": 20, "test": rows}, "metrics": scores.metrics,
        "intervals": scores.intervals, "data": "d1", "fold": fold, "folds": folds, "train_seconds": 2.5,
    }  # fmt: skip
    complete_run(folder, metrics_record(**given | changes), texts, scores)
    return folder


def make_grid(folder: Path, systems: dict[str, float], *, folds: int = 5, seeds: int = 2, **changes) -> Path:
    """Write a grid of systems with these accuracies, folds and seeds below `folder`; return it."""
    for model, accuracy in systems.items():
        for fold in range(1, folds + 1):
            for seed in range(seeds):
                own = {"fold": fold, "folds": folds, "seed": seed, "accuracy": accuracy, "model": model}
                make_run(folder / f"{model}-fold{fold}-seed{seed}", **own | changes)
    return folder
