"""A saved model at work: text in, label and probabilities out. Taught in notebooks 02, section 7, and 03, section 9."""

import contextlib
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.deploy.answers import Prediction, predict_texts
from helpers.device import Device, fast_matmul, find_device, pick_bulk_device
from helpers.evaluation.metrics import probabilities
from helpers.generation.saving import load
from helpers.models.batches import EncodedTexts, encode_texts
from helpers.models.classifier import is_multilabel, label_names
from helpers.models.predict import predict_logits

FEW = 32  # texts that are computed in full fp32 on a GPU, too: there is nothing to gain


class Predictor:
    """A trained classifier with its tokenizer and settings, ready to predict.
    It computes in fp32: for a single text, casting all weights to bf16 takes longer than it saves. Of more than `FEW`
    texts a GPU computes the matrix products in TF32."""

    def __init__(self, classifier, tokenizer, settings: dict | None = None, *, device: Device | None = None):
        """Wrap a classifier that is in memory; `settings` may hold max_length, thresholds and temperature."""
        self.device = device or find_device(precision="no")
        self.classifier = classifier.to(self.device.kind).eval()
        self.tokenizer = tokenizer
        settings = settings or {}
        self.max_length = settings.get("max_length") or 128
        if room := getattr(classifier, "room", None):  # one that writes its labels needs places for prompt and answer
            self.max_length = min(self.max_length, room)
        self.thresholds = np.asarray(0.5 if settings.get("thresholds") is None else settings["thresholds"])
        self.temperature = settings.get("temperature", 1.0)  # of a saved model, it is built into the last layer

    @classmethod
    def load(cls, model: str | Path, *, revision: str | None = None, device: Device | None = None) -> "Predictor":
        """Return the predictor of a trained classifier of any origin, as `models.load` finds it: a run's folder, a folder
        that another library wrote, a Hub id. Raises `AssetError` for a model without a trained head."""
        device = device or find_device(precision="no")
        return cls(*load(model, revision=revision, device=device), device=device)

    def for_many(self) -> "Predictor":
        """Return a predictor of the same classifier for files: where a GPU has bf16 units, in bf16 mixed precision.
        The cast of all weights that is too dear for one text is made once per call, and counts nothing beside thousands."""
        predictor = copy.copy(self)
        predictor.device = pick_bulk_device(self.device)
        return predictor

    @property
    def label_names(self) -> list[str]:
        """The labels in the order of the model's logits."""
        return label_names(self.classifier)

    @property
    def multilabel(self) -> bool:
        """Whether several labels may be true of one text."""
        return is_multilabel(self.classifier)

    def predict_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities `(texts, labels)`, calibrated by the temperature if one was stored."""
        return self.predict_with_cut(texts)[0]

    def predict_with_cut(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities `(texts, labels)` and a mask `(texts,)`: which texts were longer than the model reads."""
        encoded = encode_texts(texts, self.tokenizer, self.max_length)
        return self._score(encoded), encoded.cut

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return a prediction per text. Raises `ValueError` for a text that is empty or no text at all."""
        return predict_texts(self, texts)

    def predict_one(self, text: str) -> Prediction:
        """Return the prediction of one text."""
        return self.predict([text])[0]

    def _score(self, encoded: EncodedTexts) -> np.ndarray:
        with fast_matmul(self.device) if len(encoded) > FEW else contextlib.nullcontext():
            logits = predict_logits(self.classifier, encoded, self.device)
        return probabilities(logits / self.temperature, multilabel=self.multilabel)
