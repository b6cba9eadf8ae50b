"""How training went: one run in notebooks 01 and 03, two models in 02, and in 04 many runs, their choice and memory."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.names import count_columns, extra_inches, shorten
from helpers.plots.style import BLUE, COLOURS, GREEN, GREY, MARKERS, ORANGE, PURPLE, RED, SKY, new_figure, styled


@styled
def plot_learning_rate(rates: Sequence[float]) -> Figure:
    """Return the learning rate at each step `(steps,)`, from `training.learning_rate_at`."""
    labels = {"xlabel": "optimizer step", "ylabel": "learning rate"}
    figure, (ax,) = new_figure(7.5, 2.4, title="Learning rate: warm up, then cool down", **labels)
    ax.plot(np.arange(1, len(rates) + 1), rates, color=BLUE)
    ax.set_ylim(0, None)
    return figure


def _two_panels_by_epoch(height: float, *titles: str, grid: str = "") -> tuple[Figure, Axes, Axes]:
    readable = [title.replace("_", " ") for title in titles]  # a metric's name may be part of it
    figure, axes = new_figure(9.5, height, titles=readable, grid=grid, xlabel="epoch")
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, *axes


@styled
def plot_history(history: pd.DataFrame, step_losses: Sequence[float], *, metric: str = "f1_macro") -> Figure:
    """Return two panels from a `TrainingResult`: losses by epoch over the single steps, and validation metrics."""
    figure, left, right = _two_panels_by_epoch(3.4, "Loss", "Validation")
    epochs = history["epoch"]
    steps = np.arange(1, len(step_losses) + 1) * epochs.max() / len(step_losses)
    left.plot(steps, step_losses, color=SKY, linewidth=0.8, alpha=0.8, label="training, each step")
    left.plot(epochs, history["train_loss"], "o-", color=BLUE, label="training, epoch mean")
    left.plot(epochs, history["loss"], "s--", color=RED, label="validation")
    left.set_ylim(0, None)
    wide = {"linewidth": 5, "alpha": 0.4}  # it often lies below the other line, and is to be seen there
    right.plot(epochs, history["accuracy"], "o-", color=GREEN, label="accuracy", **wide)
    right.plot(epochs, history[metric], "s--", color=PURPLE, label=metric.replace("_", " "))
    for ax in (left, right):
        ax.legend()
    return figure


@styled
def plot_runs(histories: dict[str, pd.DataFrame], *, metric: str = "f1_macro") -> Figure:
    """Return two panels, a line per run's `TrainingResult.history`: validation loss and `metric` by epoch."""
    figure, left, right = _two_panels_by_epoch(3.6, "Validation loss", f"Validation {metric} at 0.5", grid="y")
    for i, history in enumerate(histories.values()):
        style = {"color": COLOURS[i % 8], "marker": MARKERS[i % 8], "alpha": 0.9}
        left.plot(history["epoch"], history["loss"], "--", **style)
        right.plot(history["epoch"], history[metric], "-", **style)
    figure.legend(right.lines, shorten(histories), loc="outside right upper")
    return figure


@styled
def plot_checkpoint_choice(history: pd.DataFrame, choices: dict[str, int]) -> Figure:
    """Return a `TrainingResult.history` as a path through loss and macro F1, and the epoch each rule would keep."""
    labels = {"xlabel": "validation loss (lower is better)", "ylabel": "validation macro F1"}
    figure, (ax,) = new_figure(7.5, 4, title="Which epoch to keep?", xmargin=0.12, ymargin=0.12, **labels)
    points = history.set_index("epoch")[["loss", "f1_macro"]]
    ax.plot(points["loss"], points["f1_macro"], "-", color=GREY, linewidth=1, zorder=1)
    ax.scatter(points["loss"], points["f1_macro"], color=GREY, s=22, zorder=2)
    for epoch, point in points.iterrows():
        ax.annotate(str(epoch), point, xytext=(11, -18), textcoords="offset points", color="#555555")
    rings = {}
    for i, (rule, epoch) in enumerate(zip(shorten(choices), choices.values(), strict=True)):
        ring = {"facecolors": "none", "edgecolors": (BLUE, RED, GREEN)[i], "linewidths": 2.2, "zorder": 3}
        rings[f"{rule}: epoch {epoch}"] = ax.scatter(*points.loc[epoch], s=130 + 130 * i, **ring)
    ax.legend(rings.values(), rings, loc="best", labelspacing=1.0)
    return figure


@styled
def plot_memory(table: pd.DataFrame) -> Figure:
    """Return stacked bars, a row of `table` each, of the bytes in its columns, from `training.count_memory`."""
    names, parts, title = shorten(table.index), shorten(table.columns)[:4], "What a training step keeps in memory"
    figure, (ax,) = new_figure(8.5 + extra_inches(names, 28), 0.5 * len(table) + 1.7, title=title, xlabel="MB")
    left, places = np.zeros(len(table)), np.arange(len(table))
    for column, colour in zip(table.columns, (BLUE, ORANGE, SKY, GREY), strict=False):
        megabytes = table[column].to_numpy() / 1e6
        ax.barh(places, megabytes, left=left, color=colour)
        left += megabytes
    ax.bar_label(ax.containers[-1], labels=[f"{total:,.0f} MB" for total in left], padding=4)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xlim(0, left.max() * 1.15)  # room for the totals
    figure.legend(ax.containers, parts, loc="outside lower center", ncols=count_columns(figure, parts))
    return figure


@styled
def plot_rates(runs: dict[str, pd.DataFrame], *, score: str) -> Figure:
    """Return lines, one per way of training, of the mean `score` over the column `learning_rate` (logarithmic); a small mark
    for every run, a row of its table each."""
    title, labels = "Every way has its own rate", {"xlabel": "learning rate", "ylabel": score.replace("_", " ")}
    figure, (ax,) = new_figure(7, 3.6, title=title, xscale="log", grid="both", **labels)
    for i, (table, colour, marker) in enumerate(zip(runs.values(), COLOURS, MARKERS, strict=False)):
        beside = table["learning_rate"] * 1.06**i  # so that equal scores do not hide each other
        ax.plot(table.groupby(beside)[score].mean(), color=colour, marker=marker)
        ax.scatter(beside, table[score], color=colour, marker=marker, s=14, alpha=0.5, zorder=3)
    ax.set_ylim(bottom=0)
    names = shorten(runs)
    figure.legend(ax.lines, names, loc="outside lower center", ncols=count_columns(figure, names))
    return figure


@styled
def plot_levels(weights: np.ndarray, levels: np.ndarray) -> Figure:
    """Return a histogram of `weights`, scaled to -1 to 1, and a line at each of the `levels` that they are rounded to."""
    title = f"{len(levels)} levels, placed where the weights are"
    figure, (ax,) = new_figure(7, 3.2, title=title, xlabel="weight / largest of its block", ylabel="weights")
    ax.hist(weights, bins=101, color=GREY, alpha=0.5, label="weights")
    ax.vlines(levels, 0, 0.4 * ax.get_ylim()[1], color=RED, label="levels")
    ax.legend()
    return figure
