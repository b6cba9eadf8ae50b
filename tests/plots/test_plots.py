"""Every plot drawn to a PNG, with titles and labels, and closed in pyplot."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers import plots
from helpers.plots.style import BLUE, ORANGE

LABELS = ["sadness", "joy", "love"]
BALANCE = pd.DataFrame({"train": [5, 3, 2], "validation": [1, 1, 0], "test": [1, 0, 1]}, index=LABELS)
HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "train_loss": [1.5, 0.5], "loss": [1.2, 0.8], "accuracy": [0.5, 0.7], "f1_macro": [0.4, 0.6]}
)
CONFUSION = pd.DataFrame([[5, 1, 0], [2, 3, 0], [0, 0, 0]], index=LABELS, columns=LABELS)  # love never occurs
SCORES = pd.DataFrame({"value": [0.9, 0.8], "low": [0.88, 0.7], "high": [0.92, 0.9]}, index=["tiny", "large"])
PLOTS = {
    "balance": lambda: plots.plot_balance(BALANCE),
    "lengths": lambda: plots.plot_lengths([3, 9, 20, 60], limit=64),
    "padding": lambda: plots.plot_padding([5, 9, 2, 3], {"Padding": ([[0, 1], [2, 3]], None), "to 12": ([[0, 1]], 12)}),
    "learning rate": lambda: plots.plot_learning_rate([0.1, 0.2, 0.1]),
    "history": lambda: plots.plot_history(HISTORY, [2.0, 1.0, 0.7, 0.4]),
    "confusion": lambda: plots.plot_confusion(CONFUSION),
    "probabilities": lambda: plots.plot_probabilities(np.array([0.2, 0.7, 0.1]), LABELS, "What a day!"),
    "influence": lambda: plots.plot_influence({"a reader": (["I", "was", "fine"], np.tril(np.ones((3, 3)) / 3))}),
    "stacks": lambda: plots.plot_stacks(
        {"tiny": {"token table": "9 × 4", "attention": "2 heads", "feed-forward": "4 → 8 → 4", "layers": "2"}}
    ),
    "cost": lambda: plots.plot_cost(
        SCORES.assign(seconds=[1, 50]), cost="seconds", quality="value", title="Quality and cost"
    ),
    "forest": lambda: plots.plot_forest(
        {"here": SCORES, "reported elsewhere": SCORES.assign(low=np.nan, high=np.nan)}, xlabel="macro F1"
    ),
    "pareto": lambda: plots.plot_pareto(
        SCORES.assign(s=[1, 9]), costs={"s": "seconds"}, score="value", ylabel="macro F1"
    ),
    "heat map": lambda: plots.plot_heat_map(BALANCE / 5, title="F1 by label", label="F1"),
    "learning curves": lambda: plots.plot_learning_curves(
        pd.concat({"tiny": SCORES.set_axis([100, 300])}, names=["system", "texts"]), ylabel="macro F1"
    ),
    "ranks": lambda: plots.plot_ranks(SCORES["value"], [["tiny", "large"]], xlabel="macro F1"),
    "false positives": lambda: plots.plot_false_positives(
        pd.DataFrame({"plain": [0.1, 0.4], "corrected": [0.03, 0.04]}, index=[5, 50])
    ),
    "worlds": lambda: plots.plot_worlds(SCORES, title="Luck", xlabel="accuracy"),
    "scores": lambda: plots.plot_scores(SCORES, title="Two models", xlabel="accuracy"),
}
each_plot = pytest.mark.parametrize("draw", PLOTS.values(), ids=PLOTS)


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream)
    return stream.getvalue()


def titles(figure: Figure) -> list[str]:
    """The title of each panel, wherever it stands; a colour bar has none."""
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    return [ax.get_title("left") or ax.get_title("center") for ax in panels]


def test_influence_shows_zeros_apart_from_small_values():
    (image,) = PLOTS["influence"]().axes[0].images
    assert image.get_array().mask.tolist() == [[False, True, True], [False, False, True], [False, False, False]]


@each_plot
def test_plot_returns_a_figure_that_pyplot_has_closed(draw):
    before = plt.get_fignums()
    figure = draw()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == before
    assert png(figure).startswith(b"\x89PNG")


@each_plot
def test_every_panel_has_a_title_and_its_numbers_have_a_label(draw):
    figure = draw()
    assert all(titles(figure))
    for ax in figure.axes:
        if ax.get_label() != "<colorbar>":
            assert ax.get_xlabel() or len(ax.get_xticks()) == 0  # bars that carry their numbers need no axis


@pytest.mark.parametrize("name", ["lengths", "padding", "learning rate", "confusion", "influence", "cost"])
def test_vertical_axis_is_labelled_where_it_is_not_names(name):
    assert PLOTS[name]().axes[0].get_ylabel()


@each_plot
def test_plot_leaves_the_reader_s_own_style_alone(draw):
    before = dict(plt.rcParams)
    draw()
    assert dict(plt.rcParams) == before


@each_plot
def test_titles_stand_on_the_left_as_the_style_says(draw):
    assert all(ax.get_title("left") for ax in draw().axes if ax.get_label() != "<colorbar>")


def test_the_front_holds_what_nobody_beats():
    from helpers.plots.leaderboard import is_on_front

    assert is_on_front([1, 2, 3, 3, 9], [0.5, 0.4, 0.7, 0.6, 0.9]).tolist() == [True, False, True, False, True]
    assert is_on_front([1, 1], [0.5, 0.5]).tolist() == [True, True]


def test_what_others_report_stands_in_a_panel_of_its_own_on_the_same_scale():
    ours, theirs = PLOTS["forest"]().axes
    assert ours.get_xlim() == theirs.get_xlim() and titles(ours.figure) == ["here", "reported elsewhere"]
    assert len(ours.containers) == 1 and theirs.lines[-1].get_markerfacecolor() == "none"


def test_a_bar_joins_the_systems_of_one_group():
    one = plots.plot_ranks(SCORES["value"], [["tiny", "large"]], xlabel="x").axes[0]
    none = plots.plot_ranks(SCORES["value"], [["tiny"], ["large"]], xlabel="x").axes[0]
    assert (len(one.lines), len(none.lines)) == (2, 1)


def test_legend_has_no_frame_as_the_style_says():
    assert not PLOTS["balance"]().axes[0].get_legend().get_frame_on()


def test_confusion_survives_a_label_that_never_occurs():
    shown = [text.get_text() for text in PLOTS["confusion"]().axes[0].texts]
    assert shown[:3] == ["83%\n5", "17%\n1", "0%\n0"]
    assert shown[6:] == ["0%\n0"] * 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [1, 11, 28])
def test_confusion_survives_long_names_and_few_or_many_labels(rows):
    names = [f"{i} a label with a name that does not want to end, in spite of everything" for i in range(rows)]
    counts = pd.DataFrame(np.eye(rows, dtype=int), index=names, columns=names)
    figure = plots.plot_confusion(counts, title="Many")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [f"{i} a label with a"[:16] + "…e of everything" for i in range(rows)]
    assert png(figure)


@pytest.mark.parametrize("lengths", [[1], [7, 7, 7], list(range(1, 90)), pytest.param(list(range(1, 3000)))], ids=len)
def test_histogram_counts_every_text(lengths):
    figure = plots.plot_lengths(lengths, unit="words")
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == len(lengths)
    assert figure.axes[0].get_xlabel() == "words"


@pytest.mark.parametrize("pad_to, widths", [(None, [9, 9, 3, 3]), (12, [12] * 4)])
def test_padding_reaches_to_the_longest_text_or_the_limit(pad_to, widths):
    ways = {"as asked": ([[0, 1], [2, 3], [0]], pad_to), "wider": ([[0, 1]], 20)}
    asked, wider = plots.plot_padding([5, 9, 2, 3], ways, batches=2).axes
    bars = asked.patches
    orange = [bar.get_width() for bar in bars if bar.get_facecolor() == plt.matplotlib.colors.to_rgba(ORANGE)]
    blue = [bar.get_width() for bar in bars if bar.get_facecolor() == plt.matplotlib.colors.to_rgba(BLUE)]
    assert (orange, blue) == (widths, [5, 9, 2, 3])
    assert asked.get_xlim() == wider.get_xlim() == (0, 1.02 * 20)  # one scale, or the panels could not be compared


def test_probabilities_are_shown_with_the_likeliest_on_top():
    ax = PLOTS["probabilities"]().axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["love", "sadness", "joy"]  # upwards
    assert [text.get_text() for text in ax.texts] == ["10%", "20%", "70%"]


def test_long_text_is_shortened_in_the_title():
    figure = plots.plot_probabilities(np.array([0.9, 0.1]), ["a", "b"], "word " * 40)
    assert len(titles(figure)[0]) == 68 and titles(figure)[0].endswith("…")


@pytest.mark.parametrize("text", ["50 % off_now & <b>", "only $5", pytest.param("won $5 ^_^ now $50"), "schön 😀", ""])
def test_any_text_can_be_a_title(text):
    assert png(plots.plot_probabilities(np.array([0.9, 0.1]), ["a", "b"], text))


def test_one_epoch_and_one_step_are_enough_for_a_history():
    assert png(plots.plot_history(HISTORY[:1], [1.0]))


def test_balance_without_some_splits():
    figure = plots.plot_balance(BALANCE[["train", "test"]])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["train", "test"]


def test_drift_is_drawn_as_shares_at_or_below_a_value():
    batches = {"last week": [3, 1, 2], "this week": [2, 2, 9, 9]}
    figure = plots.plot_drift({"words": batches, "confidence": {name: [0.5] for name in batches}})
    figure.canvas.draw()
    first, second = figure.axes[0].lines
    np.testing.assert_allclose(first.get_xydata(), [[1, 1 / 3], [2, 2 / 3], [3, 1]])
    np.testing.assert_allclose(second.get_ydata(), [0.25, 0.5, 0.75, 1])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["last week", "this week"]
