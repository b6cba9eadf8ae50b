"""Many systems side by side: scores, costs, labels, ranks, and what luck does to them. Notebook 07."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from helpers.plots.names import count_columns, extra_inches, measure_widest, shorten, wrap
from helpers.plots.style import BLUE, COLOURS, GREY, MARKERS, ORANGE, SKY, new_figure, styled


@styled
def plot_forest(tables: dict[str, pd.DataFrame], *, xlabel: str) -> Figure:
    """Return a panel per table of `tables`, by its title, with a point per row at `value` and its interval, low to high.
    A row without an interval is a hollow diamond: somebody's figure, of which nobody knows how far it can be trusted. All
    panels have one axis, but each stands apart: what was measured on other rows has no rank among the others."""
    every = pd.concat(tables.values())
    names = shorten(every.index)
    sizes, width = [len(table) + 0.8 for table in tables.values()], 7.5 + extra_inches(names, 24)
    height, panel = 0.42 * sum(sizes) + 0.9 * len(tables) + 0.4, width - 0.4 - measure_widest(names)
    figure, axes = new_figure(width, height, len(tables), 1, grid="x", xlabel=xlabel, panel=panel)
    axes[0].get_gridspec().set_height_ratios(sizes)
    spread = every[["value", "low", "high"]].to_numpy(dtype=float)
    limits = np.nanmin(spread), np.nanmax(spread)
    room, start = 0.06 * (limits[1] - limits[0]) or 0.05, 0
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        _draw_forest(ax, table, names[start : start + len(table)])
        ax.set_title(wrap(title, panel, 12))
        ax.set_xlim(limits[0] - room, limits[1] + room)
        start += len(table)
    return figure


def _draw_forest(ax: Axes, table: pd.DataFrame, names: Sequence[str]) -> None:
    places, value = np.arange(len(table)), table["value"].to_numpy(dtype=float)
    low, high = (table[side].to_numpy(dtype=float) for side in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    errors = np.maximum(0, [(value - low)[known], (high - value)[known]])
    ax.errorbar(value[known], places[known], xerr=errors, fmt="o", color=BLUE, ecolor=SKY, elinewidth=3)
    ax.plot(value[~known], places[~known], "D", markerfacecolor="none", markeredgecolor=GREY)
    ax.set_yticks(places, names)
    ax.set_ylim(len(table) - 0.4, -0.6)


def is_on_front(costs: Sequence[float], scores: Sequence[float]) -> np.ndarray:
    """Return which points no other beats: one that costs no more, scores no less, and is better in one of the two."""
    costs, scores = np.asarray(costs, dtype=float), np.asarray(scores, dtype=float)
    no_worse = (costs[:, None] <= costs) & (scores[:, None] >= scores)
    better = (costs[:, None] < costs) | (scores[:, None] > scores)
    return ~(no_worse & better).any(axis=0)


@styled
def plot_pareto(table: pd.DataFrame, *, costs: dict[str, str], score: str, ylabel: str) -> Figure:
    """Return a panel per column of `costs`, titled by it: `score` over that cost (logarithmic, left is cheaper), a mark per
    row of `table`. The line is the front: those that nobody beats in both. The others are hollow."""
    names = shorten(table.index)
    labels = {"xscale": "log", "xmargin": 0.15, "ymargin": 0.15, "grid": "both", "ylabel": ylabel}
    figure, axes = new_figure(9.5, 3.8, titles=[f"Score and {name}" for name in costs.values()], **labels)
    for ax, (column, name) in zip(axes, costs.items(), strict=True):
        front = is_on_front(table[column], table[score])
        order = table[front].sort_values(column)
        ax.plot(order[column], order[score], "-", color=GREY, linewidth=1, zorder=1, drawstyle="steps-post")
        for i, (x, y) in enumerate(zip(table[column], table[score], strict=True)):
            fill = COLOURS[i % 8] if front[i] else "none"
            mark = {"color": COLOURS[i % 8], "markerfacecolor": fill, "markersize": 9, "linestyle": "none"}
            ax.plot(x, y, marker=MARKERS[i % 8], label=names[i], **mark)
        ax.set_xlabel(wrap(name, 8.4 / len(costs)))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=count_columns(figure, names))
    return figure


@styled
def plot_heat_map(table: pd.DataFrame, *, title: str, label: str) -> Figure:
    """Return a cell per row (a label) and column (a system) of `table`, coloured and written from 0 to 1; nan stays blank."""
    rows, columns = shorten(table.index), shorten(table.columns)
    width, height = (
        2.6 + 0.95 * len(columns) + extra_inches(rows, 12),
        1.4 + 0.36 * len(rows) + 0.8 * measure_widest(columns),
    )
    panel = max(1.8, width - 1.8 - measure_widest(rows))
    figure, (ax,) = new_figure(width, height, title=title, panel=panel)
    values = table.to_numpy(dtype=float)
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value > 0.55 else "black"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlabel("system")
    ax.spines[:].set_visible(False)
    figure.colorbar(image, ax=ax, shrink=0.7, label=wrap(label, 0.6 * height - 0.8 * measure_widest(columns)))
    return figure


@styled
def plot_learning_curves(curves: pd.DataFrame, *, ylabel: str) -> Figure:
    """Return value over the number of training texts (logarithmic), a line per system with its intervals, from a table with
    the index system and texts, and the columns value, low and high."""
    labels = {"title": "What more texts would bring", "xlabel": "training texts", "ylabel": ylabel, "xscale": "log"}
    figure, (ax,) = new_figure(7.5, 3.8, grid="both", **labels)
    systems = list(curves.index.get_level_values(0).unique())
    for i, system in enumerate(systems):
        own = curves.loc[system]
        errors = np.maximum(0, [own["value"] - own["low"], own["high"] - own["value"]])
        style = {"color": COLOURS[i % 8], "marker": MARKERS[i % 8], "capsize": 3}
        ax.errorbar(own.index * 1.02**i, own["value"], yerr=errors, **style)  # beside, not on each other
    ticks = sorted(set(curves.index.get_level_values(1)))
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    names = shorten(systems)
    figure.legend(ax.containers, names, loc="outside lower center", ncols=count_columns(figure, names))
    return figure


@styled
def plot_ranks(means: pd.Series, groups: Sequence[Sequence[str]], *, xlabel: str) -> Figure:
    """Return the systems of `means`, the best on top, at their scores; a line joins those of one group, each with a dot on it,
    which no test tells apart (`evaluation.group_systems`)."""
    means = means.sort_values(ascending=False, kind="stable")
    names, place = shorten(means.index), {name: i for i, name in enumerate(means.index)}
    width = 7.5 + extra_inches(names, 24)
    labels = {"title": "Who differs from whom", "xlabel": xlabel, "panel": width - 0.4 - measure_widest(names)}
    figure, (ax,) = new_figure(width, 0.45 * len(means) + 1.4, grid="x", **labels)
    ax.plot(means.to_numpy(), range(len(means)), "o", color=BLUE)
    for i, group in enumerate(group for group in groups if len(group) > 1):
        rows = [place[name] for name in group]
        beside = {"transform": ax.get_yaxis_transform(), "clip_on": False}  # right of the scale: a bar is no score
        ax.plot([1.04 + 0.05 * i] * len(rows), rows, "o-", color=ORANGE, markersize=9, **beside)
    ax.set_yticks(range(len(means)), names)
    ax.set_ylim(len(means) - 0.5, -0.5)
    return figure


@styled
def plot_false_positives(table: pd.DataFrame, *, level: float = 0.05) -> Figure:
    """Return how often each test (column) finds what is not there, over the number of values (row), from
    `evaluation.simulate_false_positives`; the dotted line is what was promised."""
    labels = {"title": "Differences found where there are none", "xlabel": "values in the t-test"}
    labels |= {"ylabel": "share of worlds", "xscale": "log", "percent": "y"}
    figure, (ax,) = new_figure(7, 3.4, grid="y", **labels)
    for name, colour, marker in zip(table.columns, COLOURS[1::-1], MARKERS, strict=False):
        ax.plot(table.index, table[name], marker=marker, color=colour, label=name)
    ax.axhline(level, color=GREY, linestyle=":", label=f"promised: {level:.0%}")
    ax.set_xticks(list(table.index), [str(number) for number in table.index])
    ax.minorticks_off()
    ax.set_ylim(0, None)
    ax.legend()
    return figure


@styled
def plot_worlds(table: pd.DataFrame, *, title: str, xlabel: str) -> Figure:
    """Return a histogram per column of `table`, a row of which is a simulated world, with a line at each mean."""
    names = shorten(table.columns)
    figure, (ax,) = new_figure(7.5, 3.2, title=title, xlabel=xlabel, ylabel="worlds")
    low, high = table.to_numpy().min(), table.to_numpy().max()
    for name, column, colour, dashes in zip(names, table, COLOURS, ("-", "--", ":", "-.") * 2, strict=False):
        edge = {"facecolor": (colour, 0.25), "edgecolor": colour, "linestyle": dashes, "linewidth": 1.5}
        ax.hist(table[column], bins=20, range=(low, high), histtype="stepfilled", label=name, **edge)
        ax.axvline(table[column].mean(), color=colour, linestyle=dashes)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=count_columns(figure, names))
    return figure
