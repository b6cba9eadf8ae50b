"""Every figure of the course: tables in, a Figure out; showing and saving are the caller's. One palette, in `style`."""
# ruff: noqa: F401

from helpers.plots.analysis import (
    draw_explorer,
    plot_attributions,
    plot_influence,
    plot_projections,
    plot_slices,
    plot_stacks,
)
from helpers.plots.data import plot_balance, plot_lengths, plot_padding, plot_ratings
from helpers.plots.drift import plot_drift
from helpers.plots.evaluation import (
    plot_calibration, plot_co_occurrence, plot_confusion, plot_cost, plot_label_confusions,
    plot_label_lines, plot_methods, plot_probabilities, plot_reliability,
    plot_risk_coverage, plot_scores,
)  # fmt: skip
from helpers.plots.labels import plot_optimism, plot_thresholds
from helpers.plots.leaderboard import (
    plot_false_positives, plot_forest, plot_heat_map, plot_learning_curves, plot_pareto, plot_ranks, plot_worlds,
)  # fmt: skip
from helpers.plots.training import (
    plot_checkpoint_choice, plot_history, plot_learning_rate, plot_levels, plot_memory, plot_rates,
    plot_runs,
)  # fmt: skip

__all__ = [name for name in dir() if name.startswith(("plot_", "draw_"))]
