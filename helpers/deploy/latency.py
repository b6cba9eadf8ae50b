"""What a model costs at work: time for one text and for many, bytes on disk. Taught in notebook 02, section 7."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.device import Device
from helpers.models.batches import EncodedTexts, select_rows
from helpers.models.predict import predict_logits


@dataclass(frozen=True)
class Latency:
    """How long one text takes, in milliseconds: half of the texts, and 95 of 100, are done within so much."""

    p50_ms: float
    p95_ms: float
    texts: int
    repeats: int


def measure_latency(
    predict: Callable[[str], object], texts: Sequence[str], *, warm_up: int = 3, repeats: int = 5
) -> Latency:
    """Return the latency of `predict(text)`, one text at a time: per text the median of `repeats` calls.

    The first calls are slow for reasons that do not come back (memory is allocated, kernels are chosen), so `warm_up`
    calls go unmeasured. The median keeps whatever else the machine does at times out of a text's figure; p95 over the
    texts then speaks of long texts, not of hiccups. `predict` must return a finished result, as `Predictor` does.
    """
    texts = list(texts)
    if not texts:
        raise ValueError("measure_latency needs at least one text.")
    for i in range(warm_up):
        predict(texts[i % len(texts)])
    medians = [np.median([_seconds(predict, text) for _ in range(repeats)]) for text in texts]
    p50, p95 = np.quantile(medians, [0.5, 0.95]) * 1000
    return Latency(float(p50), float(p95), len(texts), repeats)


def measure_throughput(
    classifier, encoded: EncodedTexts, device: Device | None = None, *, warm_up: int = 32, repeats: int = 3
) -> float:
    """Return texts per second when all of `encoded` are predicted in batches: the median of `repeats`, after a warm-up."""
    predict_logits(classifier, select_rows(encoded, range(min(warm_up, len(encoded)))), device)
    seconds = [_seconds(lambda texts: predict_logits(classifier, texts, device), encoded) for _ in range(repeats)]
    return len(encoded) / float(np.median(seconds))


def measure_folder_bytes(folder: str | Path) -> int:
    """Return the size of all files below `folder` together."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _seconds(predict: Callable[[object], object], text) -> float:
    start = time.perf_counter()
    predict(text)
    return time.perf_counter() - start
