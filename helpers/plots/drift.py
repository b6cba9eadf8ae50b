"""Batches of texts beside each other, without labels. Notebook 08, section 8."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from helpers.plots.names import shorten
from helpers.plots.style import COLOURS, new_figure, styled


@styled
def plot_drift(panels: dict[str, dict[str, Sequence[float]]]) -> Figure:
    """Return a panel for each measure: for each batch by name, which share of its texts lies at or below a value.
    The largest gap between two lines is what the Kolmogorov-Smirnov test looks at."""
    figure, axes = new_figure(3.75 * len(panels), 3.2, titles=shorten(panels), grid="y", percent="y", ylim=(0, 1.02))
    for ax, batches in zip(axes, panels.values(), strict=True):
        for values, colour, line in zip(batches.values(), COLOURS, ("-", "--", "-.", ":"), strict=False):
            values = np.sort(np.asarray(values, dtype=float))
            ax.step(values, np.arange(1, len(values) + 1) / len(values), line, where="post", color=colour)
    axes[0].set_ylabel("texts at or below")
    axes[0].legend(axes[0].lines, shorten(next(iter(panels.values()))), loc="lower right")
    return figure
