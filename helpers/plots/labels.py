"""Figures for texts with several labels at once, and for comparisons of many runs. Notebook 04."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from helpers.plots.evaluation import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, STYLE, YELLOW

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, GREY, YELLOW)
MARKERS = "osD^vPX*"
THRESHOLD_NAMES = {"half": "0.5 for all", "global": "one, tuned", "per_label": "one per label"}


def _panels(rows: int, columns: int, width: float, height: float):
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    plt.close(figure)  # the caller shows it
    return figure, axes


@plt.rc_context(STYLE)
def plot_co_occurrence(panels: dict[str, pd.DataFrame]) -> Figure:
    """Return squares, side by side, from `multilabel.co_occurrence`: of the row's texts, how many also have the column?"""
    size = (0.4 if len(panels) == 1 else 0.34) * len(next(iter(panels.values()))) + 1.5
    figure, axes = _panels(1, len(panels), size * len(panels) + 0.6, size)
    for i, (ax, (title, shares)) in enumerate(zip(axes[0], panels.items(), strict=True)):
        values = shares.to_numpy().copy()
        np.fill_diagonal(values, np.nan)  # every label goes with itself
        image = ax.imshow(values, cmap=plt.get_cmap("Blues").with_extremes(bad="#EEEEEE"), vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(values):
            if np.isfinite(share):
                colour = "white" if share > 0.55 else "black"
                ax.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=7.5)
        ax.set_xticks(range(len(shares)), shares.columns, rotation=60, ha="right")
        ax.set_yticks(range(len(shares)), shares.index if i == 0 else [""] * len(shares))
        ax.spines[:].set_visible(False)
        ax.set(
            title=title, xlabel="… also have this label", ylabel="of the texts with this label …" if i == 0 else None
        )
    figure.colorbar(image, ax=axes[0], shrink=0.6, format=PercentFormatter(1, decimals=0))
    return figure


@plt.rc_context(STYLE)
def plot_runs(histories: dict[str, pd.DataFrame], *, metric: str = "f1_macro") -> Figure:
    """Return every run of a comparison in one view: validation loss and `metric` by epoch, a line per run."""
    figure, axes = _panels(1, 2, 9.5, 3.6)
    for i, (name, history) in enumerate(histories.items()):
        style = {"color": COLOURS[i % 8], "marker": MARKERS[i % 8], "label": name, "alpha": 0.9}
        axes[0, 0].plot(history["epoch"], history["loss"], "--", **style)
        axes[0, 1].plot(history["epoch"], history[metric], "-", **style)
    axes[0, 0].set(title="Validation loss", xlabel="epoch")
    axes[0, 1].set(title=f"Validation {metric.replace('_', ' ')} at 0.5", xlabel="epoch")
    for ax in axes[0]:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y", alpha=0.3)
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside right upper")
    return figure


@plt.rc_context(STYLE)
def plot_checkpoint_choice(history: pd.DataFrame, choices: dict[str, int]) -> Figure:
    """Return the path of a run through loss and macro F1, epoch by epoch, with the epoch that each rule would keep."""
    figure, axes = _panels(1, 1, 7.5, 4.0)
    ax = axes[0, 0]
    ax.plot(history["loss"], history["f1_macro"], "-", color=GREY, linewidth=1, zorder=1)
    ax.scatter(history["loss"], history["f1_macro"], color=GREY, s=22, zorder=2)
    for row in history.itertuples():
        ax.annotate(
            f"{row.epoch}", (row.loss, row.f1_macro), xytext=(11, -18), textcoords="offset points", color="#555555"
        )
    for i, (rule, epoch) in enumerate(choices.items()):
        row = history[history["epoch"] == epoch].iloc[0]
        ax.scatter(
            row["loss"], row["f1_macro"], s=130 + 130 * i, facecolors="none", edgecolors=(BLUE, RED, GREEN)[i],
            linewidths=2.2, label=f"{rule}: epoch {epoch}", zorder=3,
        )  # fmt: skip
    ax.margins(0.12)
    ax.set(title="Which epoch to keep?", xlabel="validation loss (lower is better)", ylabel="validation macro F1")
    ax.legend(loc="best", labelspacing=1.0)
    return figure


@plt.rc_context(STYLE)
def plot_optimism(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return, for each system and kind of threshold, the score on the tuning half and on the other half, side by side.

    Each table has a row per kind, and the columns `tuned on` and `fresh`.
    """
    figure, axes = _panels(1, len(tables), 4.6 * len(tables), 3.4)
    highest = max(table.to_numpy().max() for table in tables.values())
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        places = np.arange(len(table))
        for offset, column, colour in ((-0.2, "tuned on", ORANGE), (0.2, "fresh", BLUE)):
            bars = ax.bar(
                places + offset,
                table[column],
                0.38,
                color=colour,
                label=f"half it was {column}" if offset < 0 else "fresh half",
            )
            ax.bar_label(bars, fmt="{:.3f}", padding=2, fontsize=9)
        ax.set_xticks(places, [THRESHOLD_NAMES.get(kind, kind) for kind in table.index])
        ax.set(title=title, ylim=(0, highest * 1.18), ylabel="macro F1")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@plt.rc_context(STYLE)
def plot_label_lines(table: pd.DataFrame, *, title: str, ylabel: str = "F1") -> Figure:
    """Return a line per column of `table` over its rows, the labels, in their order: from frequent to rare, say."""
    figure, axes = _panels(1, 1, 9.5, 3.8)
    ax = axes[0, 0]
    for i, name in enumerate(table.columns):
        ax.plot(range(len(table)), table[name], marker=MARKERS[i % 8], color=COLOURS[i % 8], label=name, alpha=0.85)
    ax.set_xticks(range(len(table)), table.index, rotation=30, ha="right")
    ax.set(title=title, ylabel=ylabel, ylim=(-0.03, 1))
    ax.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper")
    return figure


@plt.rc_context(STYLE)
def plot_memory(table: pd.DataFrame) -> Figure:
    """Return stacked bars, a row of `table` each, of the bytes in its columns, from `memory.count_memory`."""
    figure, axes = _panels(1, 1, 8.5, 0.5 * len(table) + 1.7)
    ax, left = axes[0, 0], np.zeros(len(table))
    for column, colour in zip(table.columns, (BLUE, ORANGE, SKY, GREY), strict=False):
        megabytes = table[column].to_numpy() / 1e6
        ax.barh(table.index, megabytes, left=left, color=colour, label=column)
        left += megabytes
    ax.bar_label(ax.containers[-1], labels=[f"{total:,.0f} MB" for total in left], padding=4)
    ax.invert_yaxis()
    ax.set(title="What a training step keeps in memory", xlabel="MB", xlim=(0, left.max() * 1.15))
    figure.legend(loc="outside lower center", ncols=len(table.columns))
    return figure


@plt.rc_context(STYLE)
def plot_label_confusions(counts: pd.DataFrame, *, columns: int = 6) -> Figure:
    """Return a small confusion matrix per label from `multilabel.count_label_confusions`; colour is the share of the row."""
    rows = -(-len(counts) // columns)
    figure, axes = _panels(rows, columns, 1.75 * columns, 2.25 * rows + 0.3)
    for ax in axes.ravel()[len(counts) :]:
        ax.set_visible(False)
    for i, (ax, (name, row)) in enumerate(zip(axes.ravel(), counts.iterrows(), strict=False)):
        cells = row.to_numpy().reshape(2, 2)
        shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (true, called), share in np.ndenumerate(shares):
            colour = "white" if share > 0.55 else "black"
            ax.text(called, true, f"{cells[true, called]}", ha="center", va="center", color=colour)
        ax.set_xticks([0, 1], ["no", "yes"])
        ax.set_yticks([0, 1], ["no", "yes"] if i % columns == 0 else ["", ""])
        ax.spines[:].set_visible(False)
        ax.set_title(name, fontsize=10.5, loc="center")
    figure.supxlabel("predicted", fontsize=10.5)
    figure.supylabel("true", fontsize=10.5)
    return figure


@plt.rc_context(STYLE)
def plot_calibration(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the truth over the probability that was given, from `multilabel.calibration_table`, a line per system."""
    figure, axes = _panels(1, 1, 5.6, 4.2)
    ax = axes[0, 0]
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="as promised")
    for i, (name, table) in enumerate(tables.items()):
        ax.plot(table["probability"], table["true"], marker=MARKERS[i], color=COLOURS[i], label=name)
    ax.set(title="May the probability be believed?", xlabel="probability given", ylabel="share that was true")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.legend(loc="upper left")
    return figure


@plt.rc_context(STYLE)
def plot_methods(
    table: pd.DataFrame, *, label_column: str, x: str, y: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """Return points with names: `y` (higher is better) over `x` (logarithmic, further left is cheaper)."""
    figure, axes = _panels(1, 1, 7.0, 3.8)
    ax = axes[0, 0]
    rows = table.sort_values(y, ascending=False).to_dict("records")
    for i, row in enumerate(rows):  # from the top: of two neighbours the higher one gets the higher name
        close = any(abs(np.log(row[x] / other[x])) < 0.2 for other in rows[:i])
        ax.scatter(row[x], row[y], color=COLOURS[i % 8], marker=MARKERS[i % 8], s=80)
        ax.annotate(row[label_column], (row[x], row[y]), xytext=(9, -14 if close else 5), textcoords="offset points")
    ax.set_xscale("log")
    ax.margins(x=0.25)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.25 * table[y].max()))
    ax.grid(alpha=0.3)
    return figure


def order_by_frequency(labels: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Return the label names, the most frequent first."""
    counts = np.asarray(labels).sum(axis=0)
    return [label_names[i] for i in np.argsort(-counts, kind="stable")]
