"""The look of every figure, in all notebooks: one palette, one style, and the function that opens a figure."""

from collections.abc import Callable, Sequence
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.plots.names import draw_as_written, measure_widest, wrap

# Okabe & Ito's palette: distinguishable with every common form of colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, GREY, YELLOW)
MARKERS = "osD^vPX*"  # one for each colour: shape tells what colour may not
PERCENT = "{x:.0%}"
STYLE = {
    "figure.dpi": 90,
    "figure.constrained_layout.use": True,
    "font.size": 10.5,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def styled(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return `plot` with the style, which titles and legends read only when they are made, and with every text that it
    is given drawn as it is written."""

    @wraps(plot)
    def plot_in_style(*args, **kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = plot(*args, **kwargs)
            draw_as_written(figure)
        return figure

    return plot_in_style


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    titles=(),
    grid="",
    percent="",
    panel=None,
    **settings,
) -> tuple[Figure, np.ndarray]:
    """Return a figure of `width` x `height` inches and its axes `(rows * columns,)`, row by row; `titles` make one row.
    Every panel has the `settings`, as in `Axes.set`, and thin lines across the axis named by `grid`: x, y or both. Along
    the axes named by `percent`, "x" or "xy", shares are shown as percents. Long titles and axis labels break
    into lines of `panel` inches, for a figure whose panels leave much to names or a legend."""
    columns, layout = len(titles) or columns, {"figsize": (width, height), "squeeze": False}
    panel = panel or (width - 0.9) / columns
    for name, inches, size in (("title", panel, 12), ("xlabel", panel, 10.5), ("ylabel", min(2.4, height - 0.9), 10.5)):
        if name in settings:
            settings[name] = wrap(settings[name], inches, size)
    figure, axes = plt.subplots(rows, columns, **layout, subplot_kw=settings)
    plt.close(figure)  # the caller shows it: a notebook would otherwise draw it twice
    for ax in axes.flat if grid else ():
        ax.grid(axis=grid, alpha=0.3)
    for axis in percent:
        plt.setp([getattr(ax, f"{axis}axis") for ax in axes.flat], major_formatter=PERCENT)
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(wrap(title, panel, 12))
    return figure, axes.ravel()


def square(height: float, names: Sequence[str]) -> float:
    """Return about how many inches wide a matrix is in a figure of `height` inches, with slanted `names` below it."""
    return max(1.8, height - 0.8 * measure_widest(names) - 1.2)
