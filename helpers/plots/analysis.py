"""A look inside: what tokens read in notebook 02; in 03, where errors lie on a map and which tokens caused them."""

import html
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from helpers.plots.evaluation import plot_scores
from helpers.plots.names import count_cells, measure_widest, shorten, spell_out
from helpers.plots.style import BLUE, ORANGE, SKY, new_figure, styled

# What happened to a row: its colour, and its marker as a letter and as an SVG path. Shape tells what colour may not.
OUTCOMES = {
    "correct, negative": (ORANGE, "v", "M{x},{y}m-4,-3h8l-4,7z"),
    "correct, positive": (SKY, "^", "M{x},{y}m-4,3h8l-4,-7z"),
    "wrong": ("black", "x", "M{x},{y}m-5,-5l10,10m0,-10l-10,10"),
}
AGAINST_FOR = LinearSegmentedColormap.from_list("against and for", [ORANGE, "white", BLUE])


@styled
def plot_influence(panels: dict[str, tuple[Sequence[str], np.ndarray]]) -> Figure:
    """Return one square per model, side by side: row i shows which tokens (columns) the state of token i depends on.
    `panels` maps a title to tokens and to their `analysis.measure_influence` `(length, length)`; exact zeros are grey."""
    labels = {"xlabel": "… depends on this token", "ylabel": "the state of this token …"}
    names = [shorten(tokens, 16) for tokens, _ in panels.values()]
    panel = 4.2 - max(map(measure_widest, names))
    figure, axes = new_figure(5.3 * len(panels), 5.2, titles=panels, panel=panel, **labels)
    for ax, tokens, (_, influence) in zip(axes, names, panels.values(), strict=True):
        shown = np.ma.masked_equal(influence, 0)
        ax.imshow(shown, cmap=plt.get_cmap("Blues").with_extremes(bad="#D9D9D9"), vmin=0, vmax=0.5)
        ax.set_xticks(range(len(tokens)), tokens, rotation=90)
        ax.set_yticks(range(len(tokens)), tokens)
        ax.spines[:].set_visible(False)
    return figure


@styled
def plot_stacks(stacks: dict[str, dict[str, str]], repeated: Sequence[str] = ("attention", "feed-forward")) -> Figure:
    """Return a diagram per model, side by side, to be read upwards as a text goes through it: boxes by name, each with
    what it holds. The boxes named in `repeated` are one layer; "layers" says how many of them follow each other."""
    figure, axes = new_figure(1.9 * len(stacks), 4.6, titles=stacks, panel=1.8, xticks=[], yticks=[])
    for ax, parts in zip(axes, stacks.values(), strict=True):
        boxes = {name: text for name, text in parts.items() if name != "layers"}
        for place, (name, text) in enumerate(boxes.items()):
            colour = SKY if name in repeated else "#E8E8E8"
            ax.barh(place, 1, 0.8, color=colour, alpha=0.5)
            ax.text(0.5, place, f"{name}\n{text}", ha="center", va="center", fontsize=9, linespacing=1.3)
        inside = [place for place, name in enumerate(boxes) if name in repeated]
        low, high = min(inside) - 0.47, max(inside) + 0.47
        ax.plot([1.02, 1.06, 1.06, 1.02], [low, low, high, high], color="#333333")
        ax.text(1.08, (low + high) / 2, f"× {parts['layers']}", va="center", fontsize=10)
        ax.set(xlim=(0, 1.32), ylim=(-0.6, len(boxes) - 0.4))
        ax.spines[:].set_visible(False)
    return figure


def plot_slices(table: pd.DataFrame) -> Figure:
    """Return the differences of `analysis.compare_slices` with their intervals, and a line where there is none."""
    title, xlabel = (
        "Error rate of a kind, minus that of all other texts",
        "difference, with intervals that hold together",
    )
    figure = plot_scores(table.dropna().rename(columns={"difference": "value"}), title=title, xlabel=xlabel)
    figure.axes[0].axvline(0, color="black", linestyle="--", linewidth=1)
    return figure


@styled
def plot_projections(projections: dict[str, np.ndarray], outcomes: Sequence[str], axes_names=()) -> Figure:
    """Return one scatter of points `(rows, 2)` per projection, with one scale for both of its axes; `outcomes` are keys of
    `OUTCOMES`, wrong ones on top. `axes_names` are a pair of names for each projection whose axes mean something."""
    outcomes, count = np.asarray(outcomes), len(projections)
    size = 4.5 + 3 * count, 1.4 + 1.6 * count
    figure, axes = new_figure(*size, titles=projections, xticks=[], yticks=[], aspect="equal")
    for ax, points in zip(axes, projections.values(), strict=True):
        for name, (colour, marker, _) in OUTCOMES.items():
            rows = outcomes == name
            size = 22 if name == "wrong" else 12
            ax.scatter(*points[rows].T, s=size, c=colour, marker=marker, linewidths=0.9, alpha=0.6, label=name)
    for ax, (along, across) in zip(axes, axes_names, strict=False):
        ax.set(xlabel=along, ylabel=across)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def plot_attributions(attributions: Sequence, titles: Sequence[str], *, width: int = 88) -> Figure:
    """Return each text's tokens on blue (speaks for the answer) or orange in a frame (against), `width` letters a line.
    The colours of a text are scaled by its own strongest token. Each of `attributions`, from
    `analysis.attribute_tokens`, has `tokens`, a sequence of strings, and `values`, an array with a number for each."""
    font = FontProperties(family="monospace", size=9.5)
    longest = 2 * width // 3
    tokens = [shorten((spell_out(token, font) for token in item.tokens), longest) for item in attributions]
    lines = [_lay_out(shown, width) for shown in tokens]
    height = sum(rows + 1.6 for _, rows in lines)
    letter = 0.6 * 9.5 / 72  # inches that a letter of the fixed-width font takes at 9.5 points
    limits = {"xlim": (0, width + 2), "ylim": (height + 0.1, 0)}
    figure, (ax,) = new_figure(letter * (width + 4), 0.25 * height + 0.2, **limits)
    ax.axis("off")
    top = 0.6
    for (places, rows), item, title in zip(lines, attributions, shorten(titles, longest), strict=True):
        ax.text(0, top, title, fontsize=10, fontweight="bold", va="center")
        largest = max(1e-9, float(np.abs(item.values).max()))
        for (token, column, row), value in zip(places, item.values, strict=True):
            edge = {"edgecolor": "#666666" if value < 0 else "none", "linewidth": 0.6}  # not by colour alone
            box = {"facecolor": AGAINST_FOR(0.5 + 0.35 * value / largest), "pad": 1, **edge}
            place = {"x": column, "y": top + 1.1 + row, "va": "center"}
            ax.text(s=token, **place, font=font, bbox=box)
        top += rows + 1.6
    return figure


def _lay_out(tokens: Sequence[str], width: int) -> tuple[list[tuple[str, int, int]], int]:
    """Return (token, column, line) for every token, broken into lines of `width` letters, and the number of lines."""
    places, column, row = [], 0, 0
    for token in tokens:
        if column and column + count_cells(token) > width:
            column, row = 0, row + 1
        places.append((token, column, row))
        column += count_cells(token) + 1
    return places, row + 1


def draw_explorer(points: np.ndarray, outcomes: Sequence[str], notes: Sequence[str], *, caption: str) -> str:
    """Return a map as HTML: an SVG without scripts, one scale for both axes, in which hovering over a point shows its note.
    Where HTML is taken out (GitHub), the caption is what remains."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    scale = min(780 / span[0], 420 / span[1])
    places, tall = np.round((points - low) * scale + 10, 1), round(span[1] * scale) + 20
    marks = []
    for (x, y), outcome, note in zip(places, outcomes, notes, strict=True):
        colour, _, shape = OUTCOMES[outcome]
        style = f'stroke="{colour}" stroke-width="2.2"' if outcome == "wrong" else f'fill="{colour}" fill-opacity="0.6"'
        path, title = shape.format(x=x, y=round(tall - y, 1)), f"<title>{html.escape(note)}</title>"
        marks.append(f'<path d="{path}" {style} pointer-events="bounding-box">{title}</path>')
    box = f'<rect width="800" height="{tall}" fill="white" stroke="#ccc"/>'
    size = f'viewBox="0 0 800 {tall}" width="100%" style="max-width:900px"'
    svg = f'<svg {size} role="img" aria-label="{html.escape(caption)}">{box}{"".join(marks)}</svg>'
    plain = 'class="tex2jax_ignore mathjax_ignore"'  # in a note, "$" is money
    return f"<figure {plain}>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
