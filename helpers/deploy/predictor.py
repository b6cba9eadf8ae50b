"""A saved model at work: text in, label and probabilities out, and how long that takes.

Taught in notebook 02, section 5.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.device import Device, find_device
from helpers.evaluation.metrics import decide, predict_logits, probabilities
from helpers.models.batches import EncodedTexts, count_tokens, encode_texts
from helpers.models.classifier import load_saved_classifier


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text. With several labels per text, `label` joins them by commas (or is "none")."""

    text: str
    label: str
    confidence: float  # of the label; of the least sure one where several may be true
    probabilities: dict[str, float]  # per label, the likeliest first
    truncated: bool  # the text was longer than the model reads; its end was lost


class Predictor:
    """A trained classifier with its tokenizer and settings, ready to predict.

    It computes in fp32: for a single text, casting all weights to bf16 takes longer than it saves.
    """

    def __init__(self, classifier, tokenizer, settings: dict | None = None, *, device: Device | None = None):
        """Wrap a classifier that is in memory; `settings` may hold max_length, thresholds and temperature."""
        self.device = device or find_device(precision="no")
        self.classifier = classifier.to(self.device.kind).eval()
        self.tokenizer = tokenizer
        settings = settings or {}
        self.max_length = settings.get("max_length") or 128
        self.thresholds = np.asarray(settings.get("thresholds", 0.5))
        self.temperature = settings.get("temperature", 1.0)

    @classmethod
    def load(cls, folder: str | Path, *, device: Device | None = None) -> "Predictor":
        """Return the predictor of a run folder, or of the `model` folder inside it.

        Raises `FileNotFoundError` for a folder without a saved model.
        """
        folder = Path(folder)
        inside = folder / "model"
        device = device or find_device(precision="no")
        classifier, tokenizer, settings = load_saved_classifier(
            inside if (inside / "classifier.json").exists() else folder, attention=device.attention
        )
        return cls(classifier, tokenizer, settings, device=device)

    @property
    def label_names(self) -> list[str]:
        """The labels in the order of the model's logits."""
        return self.classifier.label_names

    def predict_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities `(texts, labels)`, calibrated by the temperature if one was stored."""
        encoded = encode_texts(texts, self.tokenizer, self.max_length)
        logits = predict_logits(self.classifier, encoded, self.device)
        return probabilities(logits / self.temperature, multilabel=self.classifier.multilabel)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return a prediction per text. Raises `ValueError` for a text that is empty or no text at all."""
        if isinstance(texts, str):
            raise ValueError("predict takes a list of texts: use predict_one for a single one.")
        texts = list(texts)
        for row, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"Text {row + 1} of {len(texts)} is {'empty' if isinstance(text, str) else repr(text)}: give some words."
                )
        if not texts:
            return []
        truncated = count_tokens(texts, self.tokenizer) > self.max_length
        rows = self.predict_probabilities(texts)
        return [
            self._describe(text, row, truncated=bool(cut))
            for text, row, cut in zip(texts, rows, truncated, strict=True)
        ]

    def predict_one(self, text: str) -> Prediction:
        """Return the prediction of one text."""
        return self.predict([text])[0]

    def _describe(self, text: str, row: np.ndarray, *, truncated: bool) -> Prediction:
        multilabel = self.classifier.multilabel
        chosen = decide(row[None], multilabel=multilabel, thresholds=self.thresholds)[0]
        if multilabel:
            label = ",".join(name for name, on in zip(self.label_names, chosen, strict=True) if on) or "none"
            confidence = float(np.where(chosen == 1, row, 1 - row).min())
        else:
            label, confidence = self.label_names[chosen], float(row[chosen])
        order = np.argsort(-row, kind="stable")
        return Prediction(text, label, confidence, {self.label_names[i]: float(row[i]) for i in order}, truncated)


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
    first = EncodedTexts(encoded.input_ids[:warm_up], encoded.pad_id)
    predict_logits(classifier, first, device)
    seconds = [_seconds(lambda texts: predict_logits(classifier, texts, device), encoded) for _ in range(repeats)]
    return len(encoded) / float(np.median(seconds))


def measure_folder_bytes(folder: str | Path) -> int:
    """Return the size of all files below `folder` together."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _seconds(predict: Callable[[object], object], text) -> float:
    start = time.perf_counter()
    predict(text)
    return time.perf_counter() - start
