"""Texts and labels before training: balance and lengths in notebook 00, padding in 01, people's ratings in 03."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plots.names import extra_inches, shorten
from helpers.plots.style import BLUE, GREY, ORANGE, RED, SKY, new_figure, styled


@styled
def plot_balance(table: pd.DataFrame) -> Figure:
    """Return bars of each label's share in each split, from `data.balance_table`."""
    splits = [name for name in ("train", "validation", "test") if name in table]
    labels = {"title": "How often each label occurs", "xlabel": "share of the split's labels"}
    names = shorten(table.index)
    figure, (ax,) = new_figure(7.5 + extra_inches(names), 0.45 * len(table) + 1.4, percent="x", **labels)
    height, places = 0.8 / len(splits), np.arange(len(table))
    for i, (name, colour) in enumerate(zip(splits, (BLUE, SKY, ORANGE), strict=False)):
        ax.barh(places + i * height, table[name] / table[name].sum(), height, label=name, color=colour)
    ax.set_yticks(places + 0.4 - height / 2, names)
    ax.invert_yaxis()
    ax.legend(loc="lower right")
    return figure


@styled
def plot_lengths(lengths: Sequence[int], *, unit: str = "tokens", limit: int | None = None) -> Figure:
    """Return a histogram of text lengths, with the median, the 95th percentile and, if given, a `limit` marked."""
    lengths = np.asarray(lengths)
    figure, (ax,) = new_figure(7.5, 3.2, title=f"Length of the texts in {unit}", xlabel=unit, ylabel="texts")
    width = max(1, int(lengths.max()) // 45)
    ax.hist(lengths, bins=np.arange(0, lengths.max() + width + 1, width), color=SKY)
    marks = [("median", np.median(lengths), BLUE, "-"), ("95 %", np.quantile(lengths, 0.95), RED, "--")]
    if limit is not None:
        marks.append(("padded to", limit, GREY, ":"))
    for name, place, colour, line in marks:
        ax.axvline(place, color=colour, linestyle=line, label=f"{name} {place:.0f}")
    ax.legend()
    return figure


@styled
def plot_padding(lengths: Sequence[int], ways: dict[str, tuple], *, batches: int = 3) -> Figure:
    """Return a panel per way to form batches, all on one scale, from the token counts of all texts: a line per text of
    the first `batches`, blue where there are tokens, orange where there is padding. A way is the row numbers of each
    batch, and the places that every text is filled up to, or None for the longest text of its batch."""
    lengths = np.asarray(lengths)
    figure, axes = new_figure(9.5, 2.9, titles=ways, yticks=[], xlabel="token places")
    for ax, (rows_by_batch, pad_to) in zip(axes, ways.values(), strict=True):
        tokens = [lengths[rows] for rows in rows_by_batch[:batches]]
        widths = np.concatenate([np.full(len(own), pad_to or own.max()) for own in tokens])
        places = np.arange(len(widths))
        ax.barh(places, widths, height=1.0, color=ORANGE, label="padding")
        ax.barh(places, np.concatenate(tokens), height=1.0, color=BLUE, label="tokens")
        for end in np.cumsum([len(own) for own in tokens]):
            ax.axhline(end - 0.5, color="white", linewidth=1.5)
        ax.invert_yaxis()
    widest = max(bar.get_width() for ax in axes for bar in ax.patches)
    for ax in axes:
        ax.set_xlim(0, 1.02 * widest)
    axes[0].set_ylabel("texts, batch by batch")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def plot_ratings(mean_ratings: Sequence[float], clear: float) -> Figure:
    """Return a histogram of mean ratings, coloured by the label that follows: ambiguous from -`clear` to `clear`."""
    values = np.asarray(mean_ratings, dtype=float)
    labels = {"xlabel": "mean rating of a snippet, from -4 to 4", "ylabel": "snippets"}
    figure, (ax,) = new_figure(7.5, 3, title="What the raters said on average", **labels)
    signs = np.sign(values) * (abs(values) > clear)
    for name, sign, colour in (("negative", -1, ORANGE), ("ambiguous", 0, GREY), ("positive", 1, BLUE)):
        part = values[signs == sign]
        ax.hist(part, bins=np.arange(-4, 4.01, 0.25), color=colour, label=f"{name}: {len(part):,}")
    ax.legend(loc="upper center", fontsize=9)
    return figure
