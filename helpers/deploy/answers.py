"""What a model says of a text, whatever computes it; no PyTorch here, so that a service may do without.
Taught in notebooks 03, section 9, and 08."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.evaluation.metrics import decide
from helpers.exceptions import SettingError, find_text_fault


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text. With several labels per text, `label` joins them by commas (or is "none")."""

    text: str
    label: str
    confidence: float  # of the label; of the least sure one where several may be true
    probabilities: dict[str, float]  # per label, the likeliest first
    truncated: bool  # the text was longer than the model reads; its end was lost
    labels: tuple[str, ...] = ()  # what is true: one label, or of several any number


def require_texts(texts: Sequence[str]) -> list[str]:
    """Return `texts` as a list. Raises `SettingError` for a text that is empty, no text at all, or holds half a character."""
    if isinstance(texts, str):
        raise SettingError("predict takes a list of texts: use predict_one for a single one.")
    texts = list(texts)
    for row, text in enumerate(texts):
        if fault := find_text_fault(text):
            raise SettingError(f"Text {row + 1} of {len(texts)} {fault}.")
    return texts


def predict_texts(predictor, texts: Sequence[str]) -> list[Prediction]:
    """Return the prediction of `predictor`, a `Predictor` or an `OnnxPredictor`, for each text.
    Raises `SettingError` for a text that is empty, no text at all, or holds half a character."""
    texts = require_texts(texts)
    if not texts:
        return []
    how = {"multilabel": predictor.multilabel, "thresholds": predictor.thresholds}
    return describe_answers(texts, *predictor.predict_with_cut(texts), predictor.label_names, **how)


def describe_answers(
    texts: Sequence[str], probability: np.ndarray, cut: np.ndarray, names: list[str], *, multilabel: bool, thresholds
) -> list[Prediction]:
    """Return a prediction per text, from its row of probabilities `(texts, labels)` and whether it was `cut` `(texts,)`."""
    chosen = decide(probability, multilabel=multilabel, thresholds=thresholds)
    found = []
    for text, row, choice, lost in zip(texts, probability, chosen, cut, strict=True):
        if multilabel:
            labels = tuple(name for name, on in zip(names, choice, strict=True) if on)
            confidence = float(np.where(choice == 1, row, 1 - row).min())
        else:
            labels, confidence = (names[choice],), float(row[choice])
        order = np.argsort(-row, kind="stable")
        scores = {names[i]: float(row[i]) for i in order}
        found.append(Prediction(text, ",".join(labels) or "none", confidence, scores, bool(lost), labels))
    return found
