"""May a confidence be believed? What is abstaining worth? Taught in notebook 03, sections 9, 11, and 04, section 7."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from helpers.evaluation.metrics import mean_loss


def reliability_table(labels: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> pd.DataFrame:
    """Return rows, mean confidence and accuracy per bin of confidence; bins between 0 and 1 are equally wide.

    Labels `(rows,)` are one per text: the confidence is the probability of the likeliest. Labels `(rows, labels)`, 0 or
    1, are several: every decision on every label counts as a row of its own, its confidence is the probability given,
    and accuracy the share that was true. Where confidence is above accuracy, the model promises too much.
    A bin holds its upper end, not its lower; bins without rows are left out. After Guo et al., *On Calibration of
    Modern Neural Networks* (2017).
    """
    labels, probability = np.asarray(labels), np.asarray(probability)
    if labels.ndim == 2:
        confidence, right = probability.ravel(), labels.ravel()
    else:
        confidence, right = probability.max(axis=1), probability.argmax(axis=1) == labels
    place = np.digitize(confidence, np.arange(1, bins) / bins, right=True)  # 0 to bins - 1
    table = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": right}).groupby("bin")
    table = table.agg(rows=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean"))
    table.index = pd.Index([f"{b / bins:.2f} to {(b + 1) / bins:.2f}" for b in table.index], name="bin")
    return table


def calibration_error(table: pd.DataFrame) -> float:
    """Return the mean distance between confidence and accuracy over the bins of a `reliability_table`, by rows."""
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["rows"]))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T for which softmax(logits / T) has the lowest cross-entropy: above 1 for overconfidence.

    One number cannot change which label is the likeliest, nor overfit much; still, fit it on validation and judge it on
    other rows. The search stays between 0.05 and 20: where every row is right, the best temperature would be 0.
    """
    logits, bounds = np.asarray(logits, dtype=np.float64), np.log([0.05, 20])
    best = minimize_scalar(lambda x: mean_loss(logits / np.exp(x), labels), bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def risk_coverage(labels: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Return coverage and risk: the error rate among the most confident share of rows, for every share.
    The model answers what it is surest of and leaves the rest to a person (El-Yaniv & Wiener, 2010)."""
    order = np.argsort(-probability.max(axis=1), kind="stable")
    wrong = (probability.argmax(axis=1) != np.asarray(labels))[order]
    answered = np.arange(1, len(wrong) + 1)
    return pd.DataFrame({"coverage": answered / len(wrong), "risk": np.cumsum(wrong) / answered})


def risk_at(curve: pd.DataFrame, coverage: float) -> float:
    """Return the risk at the given coverage (between 0 and 1) of a curve from `risk_coverage`."""
    return float(curve["risk"].iloc[max(0, int(np.ceil(coverage * len(curve))) - 1)])
