"""Thresholds, and what choosing them promises too much. Notebook 04, sections 6 and 10."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plots.names import shorten
from helpers.plots.style import BLUE, GREEN, GREY, ORANGE, SKY, new_figure, styled

THRESHOLD_NAMES = {"half": "0.5 for all", "global": "one, tuned", "per_label": "one per label", "smooth": "smoothed"}


@styled
def plot_thresholds(labels: np.ndarray, probability: np.ndarray, label_names: Sequence[str]) -> Figure:
    """Return F1 over the threshold, a line per column of `labels` and `probability` `(rows, labels)`, at most three; a
    dot where it is highest."""
    settings = {"title": "One label, every threshold", "xlabel": "threshold", "ylabel": "F1", "ylim": (0, 1)}
    figure, (ax,) = new_figure(7.5, 3.4, grid="y", **settings)
    cuts, drawn = np.arange(1, 100) / 100, {}
    columns = zip(shorten(label_names), labels.T, probability.T, ("-", "--", ":"), (BLUE, ORANGE, GREY), strict=False)
    for name, truth, scores, dashes, colour in columns:
        called = scores >= cuts[:, None]  # (cuts, rows)
        f1 = 2 * (called & (truth == 1)).sum(axis=1) / np.maximum(called.sum(axis=1) + truth.sum(), 1)
        (drawn[f"{name}, {int(truth.sum())} texts"],) = ax.plot(cuts, f1, dashes, color=colour)
        ax.plot(cuts[f1.argmax()], f1.max(), "o", color=colour)
    ax.legend(drawn.values(), drawn, loc="lower center")
    return figure


@styled
def plot_optimism(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return bars, a panel per system: scores by kind of threshold (row), and by how it was scored (column): in-sample,
    cross-fitted, test, say, from `evaluation.compare_kinds`; at most four columns."""
    top = 1.18 * max(table.to_numpy().max() for table in tables.values())
    figure, axes = new_figure(4.6 * len(tables), 3.4, titles=tables, ylim=(0, top), ylabel="macro F1")
    for ax, table in zip(axes, tables.values(), strict=True):
        places, width = np.arange(len(table)), 0.8 / len(table.columns)
        shifts = (np.arange(len(table.columns)) - (len(table.columns) - 1) / 2) * width
        for column, shift, colour in zip(table.columns, shifts, (ORANGE, SKY, BLUE, GREEN), strict=False):
            bars = ax.bar(places + shift, table[column], width * 0.95, color=colour, label=column)
            ax.bar_label(bars, fmt=lambda value: f"{value:.2f}".lstrip("0"), padding=2, fontsize=9)
        ax.set_xticks(places, shorten(THRESHOLD_NAMES.get(kind, kind) for kind in table.index))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(table.columns))
    return figure
