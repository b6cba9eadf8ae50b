"""Every figure of the course. A plot function draws, returns the Figure, and leaves showing and saving to the caller."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

# Okabe & Ito's palette: distinguishable with every common form of colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F",
)  # fmt: skip
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


def _figure(width: float, height: float, columns: int = 1):
    figure, axes = plt.subplots(1, columns, figsize=(width, height))
    plt.close(figure)  # the caller shows it: a notebook would otherwise draw it twice
    return figure, axes


@plt.rc_context(STYLE)
def plot_balance(table: pd.DataFrame) -> Figure:
    """Return bars of each label's share in each split, from `data.balance_table`."""
    splits = [name for name in ("train", "validation", "test") if name in table]
    figure, ax = _figure(7.5, 0.45 * len(table) + 1.4)
    height, places = 0.8 / len(splits), np.arange(len(table))
    for i, (name, colour) in enumerate(zip(splits, (BLUE, SKY, ORANGE), strict=False)):
        ax.barh(places + i * height, table[name] / table[name].sum(), height, label=name, color=colour)
    ax.set_yticks(places + 0.4 - height / 2, table.index)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(title="How often each label occurs", xlabel="share of the split's labels")
    ax.legend(loc="lower right")
    return figure


@plt.rc_context(STYLE)
def plot_lengths(lengths: Sequence[int], *, unit: str = "tokens", limit: int | None = None) -> Figure:
    """Return a histogram of text lengths, with the median, the 95th percentile and, if given, a `limit` marked."""
    lengths = np.asarray(lengths)
    figure, ax = _figure(7.5, 3.2)
    width = max(1, int(lengths.max()) // 45)
    ax.hist(lengths, bins=np.arange(0, lengths.max() + width + 1, width), color=SKY)
    marks = [("median", np.median(lengths), BLUE, "-"), ("95 %", np.quantile(lengths, 0.95), RED, "--")]
    if limit is not None:
        marks.append(("padded to", limit, GREY, ":"))
    for name, place, colour, line in marks:
        ax.axvline(place, color=colour, linestyle=line, label=f"{name} {place:.0f}")
    ax.set(title=f"Length of the texts in {unit}", xlabel=unit, ylabel="texts")
    ax.legend()
    return figure


@plt.rc_context(STYLE)
def plot_padding(lengths_by_batch: Sequence[Sequence[int]], pad_to: int | None, title: str) -> Figure:
    """Return a picture of batches: a line per text, blue where there are tokens, orange where there is padding.

    `lengths_by_batch` holds the token counts of each batch; every batch is padded to its longest text or to `pad_to`.
    """
    figure, ax = _figure(7.5, 2.8)
    row = 0
    for lengths in lengths_by_batch:
        width = pad_to or max(lengths)
        places = np.arange(row, row + len(lengths))
        ax.barh(places, np.full(len(lengths), width), height=1.0, color=ORANGE, label="padding" if row == 0 else None)
        ax.barh(places, lengths, height=1.0, color=BLUE, label="tokens" if row == 0 else None)
        row += len(lengths)
        ax.axhline(row - 0.5, color="white", linewidth=1.5)
    ax.invert_yaxis()
    ax.set(title=title, xlabel="token places", ylabel="texts, batch by batch", yticks=[])
    figure.legend(loc="outside lower right", ncols=2)
    return figure


@plt.rc_context(STYLE)
def plot_learning_rate(rates: Sequence[float]) -> Figure:
    """Return the learning rate at each step."""
    figure, ax = _figure(7.5, 2.4)
    ax.plot(np.arange(1, len(rates) + 1), rates, color=BLUE)
    ax.set(
        title="Learning rate: warm up, then cool down", xlabel="optimiser step", ylabel="learning rate", ylim=(0, None)
    )
    return figure


@plt.rc_context(STYLE)
def plot_history(history: pd.DataFrame, step_losses: Sequence[float], *, metric: str = "f1_macro") -> Figure:
    """Return two panels from a `TrainingResult`: losses by epoch over the single steps, and validation metrics."""
    figure, (left, right) = _figure(9.5, 3.4, columns=2)
    epochs = history["epoch"]
    steps = np.arange(1, len(step_losses) + 1) * epochs.max() / len(step_losses)
    left.plot(steps, step_losses, color=SKY, linewidth=0.8, alpha=0.8, label="training, each step")
    left.plot(epochs, history["train_loss"], "o-", color=BLUE, label="training, epoch mean")
    left.plot(epochs, history["loss"], "s--", color=RED, label="validation")
    left.set(title="Loss", xlabel="epoch", ylim=(0, None))
    right.plot(epochs, history["accuracy"], "o-", color=GREEN, label="accuracy")
    right.plot(epochs, history[metric], "s--", color=PURPLE, label=metric.replace("_", " "))
    right.set(title="Validation", xlabel="epoch")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
    return figure


@plt.rc_context(STYLE)
def plot_confusion(counts: pd.DataFrame, *, title: str = "Confusion matrix") -> Figure:
    """Return a confusion matrix from `evaluation.confusion_counts`: colour and percent by row, counts beneath."""
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    size = 0.85 * len(counts) + 1.6
    figure, ax = _figure(size + 0.8, size)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else "black"
        ax.text(j, i, f"{share:.0%}\n{counts.iloc[i, j]}", ha="center", va="center", color=colour, fontsize=9)
    ax.set_xticks(range(len(counts)), counts.columns, rotation=35, ha="right")
    ax.set_yticks(range(len(counts)), counts.index)
    ax.spines[:].set_visible(False)
    ax.set(title=title, xlabel="predicted", ylabel="true")
    figure.colorbar(image, ax=ax, shrink=0.7, format=PercentFormatter(1, decimals=0), label="share of the true label")
    return figure


@plt.rc_context(STYLE)
def plot_probabilities(
    probability: np.ndarray, label_names: Sequence[str], text: str, thresholds: Sequence[float] | None = None
) -> Figure:
    """Return bars of one text's probabilities, the likeliest first; dark are the likeliest, or all that reach `thresholds`."""
    order = np.argsort(probability)
    figure, ax = _figure(7, 0.32 * len(order) + 1.2)
    called = probability == probability.max() if thresholds is None else probability >= np.asarray(thresholds)
    colours = [BLUE if called[i] else SKY for i in order]
    bars = ax.barh([label_names[i] for i in order], probability[order], color=colours)
    ax.bar_label(bars, fmt="{:.0%}", padding=3)
    ax.set_title(text if len(text) <= 70 else text[:67] + "…", parse_math=False)  # "$" is money here
    ax.set(xlim=(0, 1.1), xticks=[])
    ax.spines["bottom"].set_visible(False)
    return figure


@plt.rc_context(STYLE)
def plot_scores(table: pd.DataFrame, *, title: str, xlabel: str) -> Figure:
    """Return points with intervals, one row each, from a table with the columns value, low and high."""
    figure, ax = _figure(7.5, 0.42 * len(table) + 1.3)
    places = np.arange(len(table))
    errors = np.abs(np.vstack([table["value"] - table["low"], table["high"] - table["value"]]))
    ax.errorbar(table["value"], places, xerr=errors, fmt="o", color=BLUE, ecolor=SKY, elinewidth=3)
    ax.set_yticks(places, table.index)
    ax.invert_yaxis()
    ax.set(title=title, xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    ax.grid(axis="x", alpha=0.3)
    return figure


@plt.rc_context(STYLE)
def plot_influence(panels: dict[str, tuple[Sequence[str], np.ndarray]]) -> Figure:
    """Return one square per model, side by side: row i shows which tokens (columns) the state of token i depends on.

    `panels` maps a title to tokens and `(length, length)` shares; what is exactly zero is drawn grey.
    """
    figure, axes = _figure(5.3 * len(panels), 5.2, columns=len(panels))
    for ax, (title, (tokens, influence)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        shown = np.ma.masked_equal(influence, 0)
        ax.imshow(shown, cmap=plt.get_cmap("Blues").with_extremes(bad="#D9D9D9"), vmin=0, vmax=0.5)
        ax.set_xticks(range(len(tokens)), tokens, rotation=90)
        ax.set_yticks(range(len(tokens)), tokens)
        ax.spines[:].set_visible(False)
        ax.set(title=title, xlabel="… depends on this token", ylabel="the state of this token …")
    return figure


@plt.rc_context(STYLE)
def plot_curves(histories: dict[str, Sequence[pd.DataFrame]], *, metric: str = "f1_macro") -> Figure:
    """Return the losses (training solid, validation dashed) and a validation metric by epoch: a line per model and seed."""
    figure, (left, right) = _figure(9.5, 3.6, columns=2)
    for (name, runs), colour, marker in zip(histories.items(), (BLUE, ORANGE), "os", strict=False):
        for i, history in enumerate(runs):
            label = name if i == 0 else None
            left.plot(history["epoch"], history["train_loss"], marker + "-", color=colour, alpha=0.8, label=label)
            left.plot(history["epoch"], history["loss"], marker + "--", color=colour, alpha=0.5)
            right.plot(history["epoch"], history[metric], marker + "-", color=colour, alpha=0.8, label=label)
    left.set(title="Loss: training solid, validation dashed", xlabel="epoch", ylim=(0, None))
    right.set(title=f"Validation {metric.replace('_', ' ')}", xlabel="epoch")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(loc="lower right")
    return figure


@plt.rc_context(STYLE)
def plot_confusions(panels: dict[str, pd.DataFrame]) -> Figure:
    """Return confusion matrices side by side, each from `evaluation.confusion_counts`: colour and percent by row."""
    size = 0.62 * len(next(iter(panels.values()))) + 1.4
    figure, axes = _figure(size * len(panels) + 0.6, size, columns=len(panels))
    for i, (ax, (title, counts)) in enumerate(zip(np.atleast_1d(axes), panels.items(), strict=True)):
        shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            ax.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.55 else "black"
            )
        ax.set_xticks(range(len(counts)), counts.columns, rotation=35, ha="right")
        ax.set_yticks(range(len(counts)), counts.index if i == 0 else [""] * len(counts))
        ax.spines[:].set_visible(False)
        ax.set(title=title, xlabel="predicted", ylabel="true" if i == 0 else None)
    return figure


@plt.rc_context(STYLE)
def plot_label_scores(tables: dict[str, pd.DataFrame], *, title: str) -> Figure:
    """Return bars by label with intervals, a colour per model, from tables with the columns value, low and high."""
    first = next(iter(tables.values()))
    figure, ax = _figure(1.25 * len(first) + 1, 3.6)
    width, places = 0.8 / len(tables), np.arange(len(first))
    for i, ((name, table), colour) in enumerate(zip(tables.items(), (BLUE, ORANGE, GREY), strict=False)):
        errors = np.abs(np.vstack([table["value"] - table["low"], table["high"] - table["value"]]))
        ax.bar(places + (i - (len(tables) - 1) / 2) * width, table["value"], width * 0.95, yerr=errors, color=colour,
               error_kw={"elinewidth": 1.2, "ecolor": "#333333"}, capsize=2, label=name)  # fmt: skip
    ax.set_xticks(places, first.index)
    ax.set(title=title, xlabel="label", ylabel="F1", ylim=(0, 1))
    ax.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=len(tables))
    return figure


@plt.rc_context(STYLE)
def plot_cost(table: pd.DataFrame, *, cost: str, quality: str, title: str) -> Figure:
    """Return points of quality (higher is better) over cost (logarithmic, further left is cheaper), a row of `table` each.

    `table` has the columns `cost` and `quality`, and low and high for the quality's interval.
    """
    figure, ax = _figure(7.5, 3.6)
    for (name, row), colour, marker in zip(table.iterrows(), (GREY, BLUE, ORANGE, GREEN), "D^os", strict=False):
        errors = [[max(0, row[quality] - row["low"])], [max(0, row["high"] - row[quality])]]
        ax.errorbar(row[cost], row[quality], yerr=errors, fmt=marker, color=colour, markersize=9, capsize=3)
        crowded = ((table[cost] > row[cost]) & (table[cost] < 30 * row[cost])).any()  # then its name goes to the left
        place = {"xytext": (-10, 5), "ha": "right"} if crowded else {"xytext": (10, 5)}
        ax.annotate(name, (row[cost], row[quality]), textcoords="offset points", color="#333333", **place)
    ax.set_xscale("log")
    ax.margins(x=0.25, y=0.15)
    ax.set(title=title, xlabel=cost, ylabel=quality)
    ax.grid(alpha=0.3)
    return figure
