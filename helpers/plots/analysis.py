"""The figures of notebook 03: what people said, what the model believes, and where it errs.

As in `plots`, a function draws, returns the Figure, and leaves showing and saving to the caller.
"""

import html
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from helpers.analysis.attributions import Attribution
from helpers.plots.evaluation import BLUE, GREY, ORANGE, RED, SKY, STYLE, _figure

# What happened to a row, with a colour and a marker each: shape tells what colour may not.
OUTCOMES = {"correct, negative": (ORANGE, "v"), "correct, positive": (SKY, "^"), "wrong": ("black", "x")}
AGAINST_FOR = LinearSegmentedColormap.from_list("against and for", [ORANGE, "white", BLUE])


@plt.rc_context(STYLE)
def plot_ratings(mean_ratings: Sequence[float], clear: float) -> Figure:
    """Return a histogram of mean ratings, coloured by the label that follows from them."""
    values = np.asarray(mean_ratings, dtype=float)
    figure, ax = _figure(7.5, 3)
    bins = np.arange(-4, 4.01, 0.25)
    parts = {
        "negative": (values < -clear, ORANGE),
        "ambiguous": (abs(values) <= clear, GREY),
        "positive": (values > clear, BLUE),
    }
    for name, (rows, colour) in parts.items():
        ax.hist(values[rows], bins=bins, color=colour, label=f"{name}: {rows.sum():,}")
    ax.set(title="What the raters said on average", xlabel="mean rating of a snippet, from -4 to 4", ylabel="snippets")
    ax.legend(loc="upper center", fontsize=9)
    return figure


@plt.rc_context(STYLE)
def plot_resumed(uninterrupted: Sequence[float], resumed: Sequence[float], stopped_at: int) -> Figure:
    """Return two curves of step losses that should be one, with the step after which the second run was cut off."""
    figure, ax = _figure(7.5, 2.8)
    ax.plot(np.arange(1, len(uninterrupted) + 1), uninterrupted, color=SKY, linewidth=6, label="never interrupted")
    ax.plot(np.arange(1, len(resumed) + 1), resumed, color="black", linewidth=1.2, label="interrupted and resumed")
    ax.axvline(stopped_at + 0.5, color=RED, linestyle="--", label="here it was cut off")
    ax.set(title="Resuming is exact", xlabel="optimiser step", ylabel="loss", ylim=(0, None))
    ax.legend(ncols=3, fontsize=9)
    return figure


@plt.rc_context(STYLE)
def plot_reliability(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return accuracy against confidence, one line per table of `calibration.reliability_table`; size shows rows."""
    figure, ax = _figure(5.6, 4.4)
    ax.plot([0.45, 1], [0.45, 1], color=GREY, linestyle=":", label="confidence = accuracy")
    styles = [(RED, "s--"), (BLUE, "o-")]
    for (name, table), (colour, line) in zip(tables.items(), styles, strict=False):
        ax.plot(table["confidence"], table["accuracy"], line, color=colour, label=name, markersize=4)
        ax.scatter(
            table["confidence"], table["accuracy"], s=table["rows"] / table["rows"].sum() * 700, color=colour, alpha=0.3
        )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(title="Do 90 % mean 90 %?", xlabel="confidence", ylabel="accuracy", xlim=(0.45, 1.03), ylim=(0.25, 1.06))
    ax.legend(loc="lower right", fontsize=9)
    return figure


@plt.rc_context(STYLE)
def plot_risk_coverage(curve: pd.DataFrame) -> Figure:
    """Return the error rate among the most confident share of texts, for every share."""
    figure, ax = _figure(7.5, 3)
    ax.plot(curve["coverage"], curve["risk"], color=BLUE)
    ax.axhline(curve["risk"].iloc[-1], color=GREY, linestyle=":", label="answering everything")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(title="Answer only when sure", xlabel="share of texts answered, the most confident first")
    ax.set(ylabel="wrong among them", xlim=(0, 1.02), ylim=(0, None))
    ax.legend()
    return figure


@plt.rc_context(STYLE)
def plot_projections(projections: dict[str, np.ndarray], outcomes: Sequence[str]) -> Figure:
    """Return one scatter of points `(rows, 2)` per projection; `outcomes` are keys of `OUTCOMES`, wrong ones on top."""
    outcomes = np.asarray(outcomes)
    figure, axes = _figure(10.5, 4.4, columns=len(projections))
    for ax, (title, points) in zip(np.atleast_1d(axes), projections.items(), strict=True):
        for name, (colour, marker) in OUTCOMES.items():
            rows = outcomes == name
            size = 22 if name == "wrong" else 12
            ax.scatter(*points[rows].T, s=size, c=colour, marker=marker, linewidths=0.9, alpha=0.75, label=name)
        ax.set(title=title, xticks=[], yticks=[])
    figure.legend(*np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@plt.rc_context(STYLE)
def plot_attributions(attributions: Sequence[Attribution], titles: Sequence[str], *, width: int = 88) -> Figure:
    """Return each text's tokens on a ground of blue (speaks for the answer) or orange (against), `width` letters a line.

    The colours of each text are scaled by its own strongest token.
    """
    lines = [_lay_out(item, width) for item in attributions]
    height = sum(rows + 1.6 for _, rows in lines)
    letter = 0.6 * 9.5 / 72  # inches that a letter of the fixed-width font takes at 9.5 points
    figure, ax = _figure(letter * (width + 4), 0.25 * height + 0.2)
    ax.set(xlim=(0, width + 2), ylim=(height + 0.1, 0))
    ax.axis("off")
    top = 0.6
    for (places, rows), item, title in zip(lines, attributions, titles, strict=True):
        ax.text(0, top, title, fontsize=10, fontweight="bold", va="center", parse_math=False)
        largest = max(1e-9, float(np.abs(item.values).max()))
        for (token, column, row), value in zip(places, item.values, strict=True):
            box = {"facecolor": AGAINST_FOR(0.5 + 0.35 * value / largest), "edgecolor": "none", "pad": 1}
            place = {"x": column, "y": top + 1.1 + row, "va": "center"}
            ax.text(s=token, **place, family="monospace", fontsize=9.5, bbox=box, parse_math=False)
        top += rows + 1.6
    return figure


def _lay_out(item: Attribution, width: int) -> tuple[list[tuple[str, int, int]], int]:
    """Return (token, column, line) for every token, broken into lines of `width` letters, and the number of lines."""
    places, column, row = [], 0, 0
    for token in item.tokens:
        if column and column + len(token) > width:
            column, row = 0, row + 1
        places.append((token, column, row))
        column += len(token) + 1
    return places, row + 1


def draw_explorer(points: np.ndarray, outcomes: Sequence[str], notes: Sequence[str], *, caption: str) -> str:
    """Return a map as HTML: an SVG without scripts, in which hovering over a point shows its note.

    Where HTML is taken out (GitHub), the caption is what remains.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    places = np.round((points - low) / np.maximum(high - low, 1e-9) * [780, 420] + 10, 1)
    shapes = {
        "correct, negative": "M{x},{y}m-4,-3h8l-4,7z",
        "correct, positive": "M{x},{y}m-4,3h8l-4,-7z",
        "wrong": "M{x},{y}m-5,-5l10,10m0,-10l-10,10",
    }
    marks = []
    for (x, y), outcome, note in zip(places, outcomes, notes, strict=True):
        colour = OUTCOMES[outcome][0]
        style = f'stroke="{colour}" stroke-width="2.2"' if outcome == "wrong" else f'fill="{colour}" fill-opacity="0.6"'
        path = shapes[outcome].format(x=x, y=round(440 - y, 1))
        marks.append(
            f'<path d="{path}" {style} pointer-events="bounding-box"><title>{html.escape(note)}</title></path>'
        )
    box = '<rect width="800" height="440" fill="white" stroke="#ccc"/>'
    svg = f'<svg viewBox="0 0 800 440" width="100%" style="max-width:900px" role="img">{box}{"".join(marks)}</svg>'
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
