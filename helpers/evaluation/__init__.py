"""How good is it, and how sure are we? Arrays in, numbers out; nothing here knows a model.
Taught in notebook 00 (metrics by hand), 02 (comparisons), 03 (calibration) and 04 (several labels, thresholds)."""

from helpers.evaluation.calibration import calibration_error, fit_temperature, reliability_table, risk_at, risk_coverage
from helpers.evaluation.comparison import compare_models, mcnemar_test, verdict
from helpers.evaluation.intervals import bootstrap_difference, bootstrap_intervals, interval, per_label_f1
from helpers.evaluation.metrics import (
    compute_metrics, confusion_counts, decide, mean_loss, per_class_table, probabilities,
)  # fmt: skip
from helpers.evaluation.multilabel import (
    co_occurrence, compare_with_chance, compute_multilabel_metrics, count_label_confusions, headline_table, label_table,
    order_by_frequency, trivial_predictions,
)  # fmt: skip
from helpers.evaluation.scores import Scores, incorrect_table, predictions_table, score, score_table
from helpers.evaluation.thresholds import (
    KINDS, compare_kinds, cross_fit, judge_probabilities, measure_optimism, tune_thresholds,
)  # fmt: skip

__all__ = [
    "KINDS", "Scores", "bootstrap_difference", "bootstrap_intervals", "calibration_error", "co_occurrence",
    "compare_kinds", "compare_models", "compare_with_chance", "compute_metrics", "compute_multilabel_metrics",
    "confusion_counts", "count_label_confusions", "cross_fit", "decide", "fit_temperature", "headline_table",
    "incorrect_table", "interval", "judge_probabilities", "label_table", "mcnemar_test", "mean_loss",
    "measure_optimism", "order_by_frequency", "per_class_table", "per_label_f1", "predictions_table", "probabilities",
    "reliability_table", "risk_at", "risk_coverage", "score", "score_table", "trivial_predictions", "tune_thresholds",
    "verdict",
]  # fmt: skip
