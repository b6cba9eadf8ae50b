"""Squares of numbers, blue by share: confusion matrices in notebooks 00, 01, 02 and 04, labels together in 04."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from helpers.plots.style import PERCENT, new_figure, styled


def _draw_matrix(ax: Axes, shares: np.ndarray, names, texts=None, *, row_names=True, rotation=35, **font) -> AxesImage:
    """Return the image of `shares` from 0 to 1 `(names, names)`, with `texts` or else percents; nan is left blank."""
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
    size = 0.85 * len(counts) + 1.6
    figure, (ax,) = new_figure(size + 0.8, size, title=title, xlabel="predicted", ylabel="true")
    cells = counts.to_numpy()
    shares = _share_of_row(cells)
    texts = np.vectorize("{:.0%}\n{}".format, otypes=[object])(shares, cells)
    image = _draw_matrix(ax, shares, counts.columns, texts, fontsize=9)
    figure.colorbar(image, ax=ax, shrink=0.7, format=PERCENT, label="share of the true label")
    return figure


@styled
def plot_confusions(panels: dict[str, pd.DataFrame]) -> Figure:
    """Return confusion matrices side by side, each from `evaluation.confusion_counts`: colour and percent by row."""
    size = 0.62 * len(next(iter(panels.values()))) + 1.4
    figure, axes = new_figure(size * len(panels) + 0.6, size, columns=len(panels), xlabel="predicted")
    for ax, (title, counts) in zip(axes, panels.items(), strict=True):
        _draw_matrix(ax, _share_of_row(counts.to_numpy()), counts.columns, row_names=ax is axes[0])
        ax.set_title(title)
    axes[0].set_ylabel("true")
    return figure


@styled
def plot_label_confusions(counts: pd.DataFrame, *, columns: int = 6) -> Figure:
    """Return a small matrix per label from `evaluation.count_label_confusions`; colour is the share of the row."""
    rows = -(-len(counts) // columns)
    figure, axes = new_figure(1.75 * columns, 2.25 * rows + 0.3, rows, columns)
    for ax in axes[len(counts) :]:
        ax.set_visible(False)
    for i, (ax, (name, row)) in enumerate(zip(axes, counts.iterrows(), strict=False)):
        cells = row.to_numpy().reshape(2, 2)
        _draw_matrix(ax, _share_of_row(cells), ["no", "yes"], cells, row_names=i % columns == 0, rotation=0)
        ax.set_title(name, fontsize=10.5, loc="center")
    figure.supxlabel("predicted", fontsize=10.5)
    figure.supylabel("true", fontsize=10.5)
    return figure


@styled
def plot_co_occurrence(panels: dict[str, pd.DataFrame]) -> Figure:
    """Return squares from `evaluation.co_occurrence`: of the texts with the row's label, how many have the column's?"""
    size = (0.4 if len(panels) == 1 else 0.34) * len(next(iter(panels.values()))) + 1.5
    figure, axes = new_figure(size * len(panels) + 0.6, size, columns=len(panels), xlabel="… also have this label")
    for ax, (title, table) in zip(axes, panels.items(), strict=True):
        shares = table.to_numpy().copy()
        np.fill_diagonal(shares, np.nan)  # every label goes with itself
        image = _draw_matrix(ax, shares, table.columns, row_names=ax is axes[0], rotation=60, fontsize=7.5)
        ax.set_title(title)
    axes[0].set_ylabel("of the texts with this label …")
    figure.colorbar(image, ax=axes, shrink=0.6, format=PERCENT)
    return figure
