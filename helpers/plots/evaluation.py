"""How good a model is, and how sure: scores and confusions in notebooks 00 to 04, costs in 02, 05, calibration in 03, 04."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plots.names import cut_end, extra_inches, measure_widest, shorten
from helpers.plots.style import BLUE, COLOURS, GREY, MARKERS, PERCENT, RED, SKY, new_figure, square, styled

SLANTED = {"rotation": 30, "ha": "right"}
OVER_COST = {"xscale": "log", "xmargin": 0.25, "grid": "both"}  # a cost grows by factors; names need room on both sides


@styled
def plot_probabilities(
    probability: np.ndarray, label_names: Sequence[str], text: str, thresholds: Sequence[float] | None = None
) -> Figure:
    """Return bars of one text's probabilities `(labels,)`, the likeliest first. Dark is the likeliest label or, with
    `thresholds` `(labels,)`, every label that reaches its own."""
    order, names = np.argsort(probability), shorten(label_names)
    width = 7 + extra_inches(names)
    labels = {"title": cut_end(text, 68), "panel": width - 0.3 - measure_widest(names)}
    figure, (ax,) = new_figure(width, 0.32 * len(order) + 1.2, xlim=(0, 1.1), xticks=[], **labels)
    called = probability == probability.max() if thresholds is None else probability >= np.asarray(thresholds)
    colours = [BLUE if called[i] else SKY for i in order]
    bars = ax.barh(range(len(order)), probability[order], color=colours)
    ax.bar_label(bars, fmt="{:.0%}", padding=3)
    ax.set_yticks(range(len(order)), [names[i] for i in order])
    ax.spines["bottom"].set_visible(False)
    return figure


def _interval_errors(table: pd.DataFrame, column: str = "value") -> np.ndarray:
    """Return `(2, rows)`: how far the interval, low to high, reaches below and above the value; never negative."""
    return np.maximum(0, [table[column] - table["low"], table["high"] - table[column]])


@styled
def plot_scores(table: pd.DataFrame, *, title: str, xlabel: str) -> Figure:
    """Return points with intervals, one row each, from a table with the columns value, low and high."""
    names, labels = shorten(table.index), {"title": title, "xlabel": xlabel}
    width = 7.5 + extra_inches(names, 24)
    labels["panel"] = width - 0.3 - measure_widest(names)
    figure, (ax,) = new_figure(width, 0.42 * len(table) + 1.3, grid="x", **labels)
    places, errors = np.arange(len(table)), _interval_errors(table)
    ax.errorbar(table["value"], places, xerr=errors, fmt="o", color=BLUE, ecolor=SKY, elinewidth=3)
    ax.set_yticks(places, names)
    ax.set_ylim(len(table) - 0.5, -0.5)  # the first row on top
    return figure


@styled
def plot_label_lines(table: pd.DataFrame, *, title: str, ylabel: str = "F1") -> Figure:
    """Return a line per column of `table` over its rows, the labels, in their order: from frequent to rare, say."""
    names, lines, labels = shorten(table.index), shorten(table.columns), {"title": title, "ylabel": ylabel}
    labels |= {"panel": 8.7 - 0.9 * measure_widest(names) - measure_widest(lines), "ylim": (-0.03, 1)}
    figure, (ax,) = new_figure(9.5, 3.8 + extra_inches(names) / 2, grid="y", **labels)  # half: they are slanted
    for i, name in enumerate(table.columns):
        ax.plot(range(len(table)), table[name], marker=MARKERS[i % 8], color=COLOURS[i % 8], alpha=0.85)
    ax.set_xticks(range(len(table)), names, **SLANTED)
    figure.legend(ax.lines, lines, loc="outside right upper")
    return figure


@styled
def plot_cost(table: pd.DataFrame, *, cost: str, quality: str, title: str) -> Figure:
    """Return points of quality (higher is better) over cost (logarithmic, left is cheaper), a row of `table` each, with
    the interval that its columns low and high give the quality."""
    figure, (ax,) = new_figure(7.5, 3.6, title=title, xlabel=cost, ylabel=quality, ymargin=0.15, **OVER_COST)
    rows = zip(table.iterrows(), _interval_errors(table, quality).T, (GREY, *COLOURS[:3]), "D^os", strict=False)
    for name, ((_, row), errors, colour, marker) in zip(shorten(table.index, 24), rows, strict=False):
        x, y = row[cost], row[quality]
        ax.errorbar(x, y, yerr=errors[:, None], fmt=marker, color=colour, markersize=9, capsize=3)
        crowded = ((table[cost] > x) & (table[cost] < 30 * x)).any()  # then its name goes to the left
        place = {"xytext": (-10, 5), "ha": "right"} if crowded else {"xytext": (10, 5)}
        ax.annotate(name, (x, y), textcoords="offset points", color="#333333", **place)
    return figure


@styled
def plot_methods(
    table: pd.DataFrame, *, label_column: str, x: str, y: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """Return points with names, a row of `table` each: `y` (higher is better) over a cost `x` (logarithmic)."""
    limits = 0, 1.25 * table[y].max()
    figure, (ax,) = new_figure(7, 3.8, title=title, xlabel=xlabel, ylabel=ylabel, ylim=limits, **OVER_COST)
    rows = table.sort_values(y, ascending=False).to_dict("records")
    names = shorten((row[label_column] for row in rows), 24)
    for i, row in enumerate(rows):  # from the top: of two neighbours the higher one gets the higher name
        close = any(abs(np.log(row[x] / other[x])) < 0.2 for other in rows[:i])
        ax.scatter(row[x], row[y], color=COLOURS[i % 8], marker=MARKERS[i % 8], s=80)
        ax.annotate(names[i], (row[x], row[y]), xytext=(9, -14 if close else 5), textcoords="offset points")
    return figure


@styled
def plot_calibration(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return truth over probability, a line per `evaluation.reliability_table` of labels `(rows, labels)`."""
    labels = {"xlabel": "probability given", "ylabel": "share that was true", "xlim": (0, 1), "ylim": (0, 1)}
    figure, (ax,) = new_figure(5.6, 4.2, title="May the probability be believed?", **labels)
    ax.plot([0, 1], [0, 1], ":", color=GREY)
    for table, colour, marker in zip(tables.values(), COLOURS, MARKERS, strict=False):
        ax.plot(table["confidence"], table["accuracy"], marker=marker, color=colour)
    ax.legend(ax.lines, ["as promised", *shorten(tables)], loc="upper left")
    return figure


@styled
def plot_reliability(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return accuracy over confidence, a line per `evaluation.reliability_table`, at most two; size shows rows."""
    labels = {"title": "Do 90 % mean 90 %?", "xlabel": "confidence", "ylabel": "accuracy"}
    figure, (ax,) = new_figure(5.6, 4.4, xlim=(0.45, 1.03), ylim=(0.25, 1.06), percent="xy", **labels)
    ax.plot([0.45, 1], [0.45, 1], ":", color=GREY)
    for table, colour, line in zip(tables.values(), (RED, BLUE), ("s--", "o-"), strict=False):
        confidence, accuracy, shares = table["confidence"], table["accuracy"], table["rows"] / table["rows"].sum()
        ax.plot(confidence, accuracy, line, color=colour, markersize=4)
        ax.scatter(confidence, accuracy, s=700 * shares, color=colour, alpha=0.3)
    ax.legend(ax.lines, ["confidence = accuracy", *shorten(tables)[:2]], loc="lower right", fontsize=9)
    return figure


@styled
def plot_risk_coverage(curve: pd.DataFrame) -> Figure:
    """Return the error rate among the most confident texts, for every share, from `evaluation.risk_coverage`."""
    labels = {"xlabel": "share of texts answered, the most confident first", "ylabel": "wrong among them"}
    figure, (ax,) = new_figure(7.5, 3, title="Answer only when sure", xlim=(0, 1.02), percent="xy", **labels)
    ax.plot(curve["coverage"], curve["risk"], color=BLUE)
    ax.axhline(curve["risk"].iloc[-1], color=GREY, linestyle=":", label="answering everything")
    ax.set_ylim(0, None)
    ax.legend()
    return figure


def _draw_matrix(ax: plt.Axes, shares: np.ndarray, names, texts=None, *, row_names=True, rotation=35, **font):
    """Return the `AxesImage` of `shares` from 0 to 1 `(names, names)`, with `texts` or else percents; nan is left blank."""
    image = ax.imshow(shares, cmap=plt.get_cmap("Blues").with_extremes(bad="#EEEEEE"), vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            text = f"{100 * share:.0f}" if texts is None else texts[row, column]
            colour = "white" if share > 0.55 else "black"
            ax.text(column, row, text, ha="center", va="center", color=colour, **font)
    ax.set_xticks(range(len(names)), names, rotation=rotation, ha="right" if rotation else "center")
    ax.set_yticks(range(len(names)), names if row_names else [""] * len(names))
    ax.spines[:].set_visible(False)
    return image


def _share_of_row(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


@styled
def plot_confusion(counts: pd.DataFrame, *, title: str = "Confusion matrix") -> Figure:
    """Return a confusion matrix from `evaluation.confusion_counts`: colour and percent by row, counts beneath."""
    names = shorten(counts.columns)
    size = 0.85 * len(counts) + 1.6 + extra_inches(names)
    labels = {"title": title, "xlabel": "predicted", "ylabel": "true"}
    figure, (ax,) = new_figure(size + 0.8, size, panel=square(size, names), **labels)
    shares, cells = _share_of_row(counts.to_numpy()), counts.to_numpy()
    texts = np.vectorize("{:.0%}\n{}".format, otypes=[object])(shares, cells)
    image = _draw_matrix(ax, shares, names, texts, fontsize=9)
    figure.colorbar(image, ax=ax, shrink=0.7, format=PERCENT, label="share of the true label")
    return figure


@styled
def plot_label_confusions(counts: pd.DataFrame, *, columns: int = 6) -> Figure:
    """Return a small matrix per label from `evaluation.count_label_confusions`; colour is the share of the row."""
    rows = -(-len(counts) // columns)
    figure, axes = new_figure(1.75 * columns, 2.25 * rows + 0.3, rows, columns)
    for ax in axes[len(counts) :]:
        ax.set_visible(False)
    for i, (ax, name) in enumerate(zip(axes, shorten(counts.index, 18), strict=False)):
        cells = counts.iloc[i].to_numpy().reshape(2, 2)
        _draw_matrix(ax, _share_of_row(cells), ["no", "yes"], cells, row_names=i % columns == 0, rotation=0)
        ax.set_title(name, fontsize=10.5, loc="center")
    figure.supxlabel("predicted", fontsize=10.5)
    figure.supylabel("true", fontsize=10.5)
    return figure


@styled
def plot_co_occurrence(panels: dict[str, pd.DataFrame]) -> Figure:
    """Return squares from `evaluation.co_occurrence`: of the texts with the row's label, how many have the column's?"""
    names = shorten(next(iter(panels.values())).columns)
    size = max(3.4, (0.4 if len(panels) == 1 else 0.34) * len(names) + 1.5)
    size += min(2, len(panels)) * extra_inches(names)
    labels = {"titles": panels, "panel": square(size, names), "xlabel": "… also have this label"}
    figure, axes = new_figure(size * len(panels) + 0.6, size, **labels)
    for ax, table in zip(axes, panels.values(), strict=True):
        shares = table.to_numpy().copy()
        np.fill_diagonal(shares, np.nan)  # every label goes with itself
        image = _draw_matrix(ax, shares, names, row_names=ax is axes[0], rotation=60, fontsize=7.5)
    axes[0].set_ylabel("of the texts with this label …")
    figure.colorbar(image, ax=axes, shrink=0.6, format=PERCENT)
    return figure
