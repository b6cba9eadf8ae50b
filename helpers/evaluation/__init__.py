"""How good is it, and how sure are we? Arrays in, numbers out; nothing here knows a model.
Taught in notebook 00 (metrics by hand), 02 (comparisons), 03 (calibration), 04 (several labels, thresholds) and 07 (many
systems, folds and seeds)."""

from helpers.evaluation.calibration import (
    calibration_error, fit_temperature, reliability_table, risk_at, risk_coverage,
)  # fmt: skip
from helpers.evaluation.comparison import compare_models, mcnemar_test, verdict
from helpers.evaluation.fingerprints import seal_record
from helpers.evaluation.intervals import bootstrap_difference, bootstrap_intervals, interval, per_label_f1
from helpers.evaluation.metrics import (
    compute_metrics, confusion_counts, decide, mean_loss, per_class_table, probabilities,
)  # fmt: skip
from helpers.evaluation.multilabel import (
    co_occurrence, compare_with_chance, compute_multilabel_metrics, count_label_confusions, label_table,
    order_by_frequency, trivial_predictions,
)  # fmt: skip
from helpers.evaluation.ranking import compare_pairs, count_seeds_needed, group_systems, pick_best_seeds
from helpers.evaluation.resampling import (
    average_folds, divide_rows, resampled_t_test, score_twins, simulate_false_positives,
)  # fmt: skip
from helpers.evaluation.scores import Scores, predictions_table, score, score_table
from helpers.evaluation.thresholds import (
    KINDS, compare_kinds, cross_fit, judge_probabilities, measure_optimism, tune_thresholds,
)  # fmt: skip

__all__ = [
    "KINDS", "Scores", "average_folds", "bootstrap_difference", "bootstrap_intervals", "calibration_error",
    "co_occurrence", "compare_kinds", "compare_models", "compare_pairs", "compare_with_chance", "compute_metrics",
    "compute_multilabel_metrics", "confusion_counts", "count_label_confusions", "count_seeds_needed", "cross_fit",
    "decide", "divide_rows", "fit_temperature", "group_systems", "interval", "judge_probabilities",
    "label_table", "mcnemar_test", "mean_loss", "measure_optimism", "order_by_frequency", "per_class_table",
    "per_label_f1", "pick_best_seeds", "predictions_table", "probabilities", "reliability_table", "resampled_t_test",
    "risk_at", "risk_coverage", "score", "score_table", "score_twins", "seal_record", "simulate_false_positives",
    "trivial_predictions", "tune_thresholds", "verdict",
]  # fmt: skip
