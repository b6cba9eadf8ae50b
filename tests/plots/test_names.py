"""Names as people write them, in every figure: drawn as text, legible, told apart, and without a warning."""

import io
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from helpers import plots
from helpers.analysis.attributions import Attribution
from helpers.plots import names
from helpers.plots.names import KEY_TITLE, count_cells, cut_end, shorten, wrap

PLAIN = ["sadness", "joy", "love", "anger"]
KINDS = {
    "plain": PLAIN,
    "money": ["price_$5", "earn_$20_", "a^b", "$0-$10"],
    "formulas": ["$_$", "_hidden", r"$\bad$", r"\frac{1}{2}"],
    "chinese": ["喜悦", "悲伤", "爱", "愤怒"],
    "right to left": ["فرح", "حزن", "אהבה", "joy and שמחה"],
    "emoji": ["😀", "🥰", "love 🤬", "👨‍👩‍👧 family"],
    "long": [a * 40 + " and then " + b * 31 for a, b in ("ab", "ac", "bb", "cd")],
    "long sentences": [f"a label with a name that does not want to end, in spite of everything, {i}" for i in range(4)],
    "long and chinese": ["喜" * 40 + "悦" * 39 + last for last in "甲乙丙丁"],
    "invisible": ["joy\u200b", "joy", "joy ", "a\nb\t\x07"],
}
SHARES = np.array([0.1, 0.6, 0.2, 0.1])


def scores(index, column="value"):
    return pd.DataFrame({column: SHARES, "low": SHARES - 0.05, "high": SHARES + 0.05}, index=index)


def history(epochs, shift=0.0):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {"epoch": epoch, "train_loss": 2 / epoch, "loss": 1.5 / epoch + shift, "f1_macro": 1 - 1 / epoch}
    )


def reliability(shift):
    confidence = np.linspace(0.55, 0.95, 5)
    return pd.DataFrame({"confidence": confidence, "accuracy": confidence - shift, "rows": [9, 5, 3, 2, 1]})


def matrix(index):
    return pd.DataFrame(np.arange(16).reshape(4, 4) / 16, index=index, columns=index)


def attributions(tokens):
    tokens = [*tokens, "plain"]
    return [Attribution(tokens, np.linspace(-1, 1, len(tokens)), 1.0, 0.0)] * 2


# What a plot draws of four names; those it is given as a title or as the name of an axis may break into lines.
PLOTS = {
    "balance": lambda n: plots.plot_balance(pd.DataFrame({"train": [5, 3, 2, 1], "test": [1, 1, 2, 3]}, index=n)),
    "padding": lambda n: plots.plot_padding([5, 9, 30, 2, 3], {name: ([[0, 1, 2], [3, 4]], None) for name in n[:3]}),
    "co-occurrence of one": lambda n: plots.plot_co_occurrence({n[0]: matrix(n)}),
    "co-occurrence": lambda n: plots.plot_co_occurrence({n[0]: matrix(n), n[1]: matrix(n)}),
    "confusion": lambda n: plots.plot_confusion((100 * matrix(n)).astype(int), title=n[0]),
    "probabilities": lambda n: plots.plot_probabilities(SHARES, n, n[0]),
    "scores": lambda n: plots.plot_scores(scores(n), title=n[0], xlabel=n[1]),
    "label lines": lambda n: plots.plot_label_lines(matrix(n), title=n[0], ylabel=n[1]),
    "cost": lambda n: plots.plot_cost(scores(n, "f1").assign(s=[1, 40, 900, 2000]), cost="s", quality="f1", title=n[0]),
    "methods": lambda n: plots.plot_methods(
        pd.DataFrame({"m": n, "MB": [1, 3, 30, 500], "f1": [0.3, 0.6, 0.5, 0.4]}),
        **{"label_column": "m", "x": "MB", "y": "f1", "title": n[0], "xlabel": n[1], "ylabel": n[2]},
    ),
    "optimism": lambda n: plots.plot_optimism(
        {name: pd.DataFrame({"tuned on": [0.5, 0.6], "fresh": [0.4, 0.5]}, index=["half", "global"]) for name in n[:2]}
    ),
    "thresholds": lambda n: plots.plot_thresholds(np.eye(4, 3), np.eye(4, 3) / 2, n[:3]),
    "calibration": lambda n: plots.plot_calibration({n[0]: reliability(0.1), n[1]: reliability(0.2)}),
    "reliability": lambda n: plots.plot_reliability({n[0]: reliability(0.1), n[1]: reliability(0.2)}),
    "label confusions": lambda n: plots.plot_label_confusions(matrix(n)),
    "runs": lambda n: plots.plot_runs({name: history(3, i / 9) for i, name in enumerate(n)}),
    "checkpoint choice": lambda n: plots.plot_checkpoint_choice(history(6), {n[0]: 1, n[1]: 3, n[2]: 6}),
    "memory": lambda n: plots.plot_memory(
        pd.DataFrame(1e9, index=n, columns=["weights", "gradients", "optimizer", "activations"])
    ),
    "rates": lambda n: plots.plot_rates(
        {name: pd.DataFrame({"learning_rate": [1e-4, 1e-3], "f1": [0.2, 0.4]}) for name in n[:2]}, score="f1"
    ),
    "forest": lambda n: plots.plot_forest({n[0]: scores(n), n[1]: scores(n)[:1].assign(low=np.nan)}, xlabel=n[2]),
    "pareto": lambda n: plots.plot_pareto(
        scores(n).assign(s=[1, 9, 70, 600], m=[5, 6, 7, 8]), costs={"s": n[0], "m": n[1]}, score="value", ylabel=n[2]
    ),
    "heat map": lambda n: plots.plot_heat_map(matrix(n), title=n[0], label=n[1]),
    "learning curves": lambda n: plots.plot_learning_curves(
        pd.concat({name: scores([100, 300, 900, 1444]) for name in n}, names=["system", "texts"]), ylabel=n[0]
    ),
    "ranks": lambda n: plots.plot_ranks(pd.Series(SHARES, n), [n[:2], n[1:3]], xlabel=n[0]),
    "worlds": lambda n: plots.plot_worlds(matrix(n), title=n[0], xlabel=n[1]),
    "influence": lambda n: plots.plot_influence({n[0]: (n, np.tril(matrix(n))), n[1]: (n, np.tril(matrix(n)))}),
    "stacks": lambda n: plots.plot_stacks(
        {name: {"table": "9 × 4", "attention": "2", "feed-forward": "8", "layers": "2"} for name in n[:2]}
    ),
    "projections": lambda n: plots.plot_projections({n[0]: np.eye(2), n[1]: np.eye(2)}, ["wrong", "correct, positive"]),
    "attributions": lambda n: plots.plot_attributions(attributions(n), n[:2]),
}
# How many of the names a plot is given as names; four if not said.
GIVEN = {"padding": 1, "optimism": 2, "thresholds": 3, "calibration": 2, "reliability": 2, "rates": 2, "checkpoint choice": 3, "projections": 2, "stacks": 2}  # fmt: skip


def draw(figure):
    """Return the texts that are drawn, with their boxes, and the figure's box; a warning of matplotlib's is an error."""
    drawn = {}
    canvas, write = FigureCanvasAgg(figure), Text.draw
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".*deprecated")  # an older matplotlib with a newer pyparsing
        patch.setattr(Text, "draw", lambda text, *args: (drawn.setdefault(text), write(text, *args))[1])
        figure.savefig(io.BytesIO())
    shown = [text for text in drawn if text.get_text().strip()]
    return [(text, text.get_window_extent(canvas.get_renderer())) for text in shown], figure.bbox


def read_key(figure):
    """Return what the key beside the figure says of each number."""
    keys = [legend for legend in figure.legends if legend.get_title().get_text() == KEY_TITLE]
    return dict(text.get_text().replace("\n", " ").split(" ", 1) for key in keys for text in key.get_texts())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plot", PLOTS)
def test_names_are_drawn_as_they_are_written(plot, kind, capsys, caplog):
    figure = PLOTS[plot](KINDS[kind])
    drawn, page = draw(figure)
    assert not caplog.records  # nor does it log what it did not find
    texts = [text.get_text() for text, _ in drawn]
    assert not any(text.get_parse_math() for text, _ in drawn if "$" in text.get_text().split("$\\mathdefault")[0])
    flat = " ".join(texts).replace("\n", " ")
    if plot != "attributions" and kind in ("plain", "money", "formulas"):  # … as they are
        assert all(name in flat for name in KINDS[kind][: GIVEN.get(plot, 4)])
    printed, key = capsys.readouterr().out, read_key(figure)
    assert bool(key) == printed.startswith("In the figure: [1] ")
    assert all(number in printed for number in key)

    for text, box in drawn:
        inside = box.x0 > -2 and box.y0 > -2 and box.x1 < page.x1 + 2 and box.y1 < page.y1 + 2
        assert inside, f"{text.get_text()} is cut off"
    straight = [(text.get_text(), box) for text, box in drawn if text.get_rotation() % 90 == 0]
    for (text, box), (other, beside) in itertools.combinations(straight, 2):
        width = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        height = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        assert min(width, height) < 2.5, f"{text} lies on {other}"


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_told_apart_on_both_axes(kind):
    ax = plots.plot_confusion(matrix(KINDS[kind])).axes[0]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert len(set(rows)) == 4
    assert rows == [label.get_text() for label in ax.get_xticklabels()]
    assert max(map(count_cells, rows)) <= 32


def test_what_no_font_has_is_numbered_and_the_key_says_what_it_is(capsys):
    figure = plots.plot_confusion(matrix(KINDS["emoji"]))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["😀", "[1]", "love [2]", "[3] family"]
    assert read_key(figure) == {
        "[1]": "<smiling face with smiling eyes and three hearts>",
        "[2]": "<serious face with symbols covering mouth>",
        "[3]": r"<man>\u200d<woman>\u200d<girl>",
    }
    assert capsys.readouterr().out == "In the figure: [1] 🥰; [2] 🤬; [3] 👨‍👩‍👧\n"


def test_one_name_has_one_number_wherever_it_stands():
    figure = plots.plot_runs({"模型 a": history(3), "模型 b": history(4)})
    texts = [text.get_text() for text, _ in draw(figure)[0]]
    assert {"[1] a", "[1] b"} <= set(texts)
    assert read_key(figure) == {"[1]": r"\u6a21\u578b"}


def test_a_key_that_the_stream_cannot_say_is_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", stream)
    plots.plot_scores(scores(KINDS["chinese"]), title="t", xlabel="x")
    stream.flush()
    assert stream.buffer.getvalue().decode("cp1252").startswith(r"In the figure: [1] \u559c\u60a6; [2] \u60b2\u4f24;")


@pytest.mark.skipif(
    not names.SHAPES_LETTERS, reason="needs matplotlib 3.11: earlier ones write from left to right only"
)
def test_arabic_is_written_from_right_to_left():
    labels = plots.plot_scores(scores(KINDS["right to left"]), title="t", xlabel="x").axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == KINDS["right to left"]


def test_arabic_is_numbered_where_it_would_be_written_backwards(monkeypatch):
    monkeypatch.setattr(names, "SHAPES_LETTERS", False)
    labels = plots.plot_scores(scores(KINDS["right to left"]), title="t", xlabel="x").axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["[1]", "[2]", "[3]", "joy and [4]"]


def test_another_font_is_taken_for_the_letters_that_one_lacks():
    texts = plots.plot_attributions(attributions(["😀"]), ["a", "b"]).axes[0].texts
    assert (texts[1].get_text(), texts[1].get_fontfamily()) == ("😀", ["monospace", "DejaVu Sans"])


def test_tokens_that_no_font_has_are_escaped_in_their_place():
    texts = [
        text.get_text() for text in plots.plot_attributions(attributions(["很好", "$5"]), ["a", "b"]).axes[0].texts
    ]
    assert texts[1:4] == [r"\u5f88\u597d", "$5", "plain"]


def test_a_name_that_begins_with_an_underscore_is_in_the_legend():
    figure = plots.plot_runs({"_a": history(3), "b": history(3)})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_a", "b"]


def test_axes_of_numbers_keep_their_powers():
    figure = plots.plot_cost(scores(PLAIN).assign(s=[1, 40, 900, 2000]), cost="s", quality="value", title="$5 to $50")
    powers = [text for text, _ in draw(figure)[0] if "mathdefault" in text.get_text()]
    assert powers and all(text.get_parse_math() for text in powers)


@pytest.mark.parametrize(
    "given, shown",
    [
        (["joy", 3, "joy"], ["joy", "3", "joy"]),
        (["a" * 10 + "x" + "b" * 10, "a" * 10 + "y" + "b" * 10], ["aaaaa…bbbb", "aaa…bb (2)"]),
        (["喜" * 9], ["喜喜…喜喜"]),
        (["joy", "joy ", " joy", "joy\n"], ["joy", "joy␣", "␣joy", r"joy\n"]),
        (["é", "e\u0301"], ["é", "e\u0301 (2)"]),
    ],
)
def test_long_names_lose_their_middle_and_stay_different(given, shown):
    assert shorten(given, 10) == shown


@pytest.mark.parametrize("text, shown", [("a  b", "a b"), ("x" * 80, 40), ("喜" * 80, 40), ("a b " * 99, 40)])
def test_a_wrapped_title_has_at_most_three_lines(text, shown):
    lines = wrap(text, 3.0, 12).split("\n")
    assert lines == [shown] if isinstance(shown, str) else len(lines) <= 3 and max(map(count_cells, lines)) <= shown


def test_a_sentence_loses_its_end():
    assert cut_end("one\ntwo three", 8) == "one two…"


def test_the_explorer_s_notes_are_no_formulas():
    html = plots.draw_explorer(np.eye(2), ["wrong"] * 2, ["$5", "$6"], caption="$7 and $8")
    assert html.startswith('<figure class="tex2jax_ignore mathjax_ignore">')
