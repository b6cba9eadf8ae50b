import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.analysis.attributions import Attribution
from helpers.analysis.slices import compare_slices
from helpers.evaluation.calibration import reliability_table, risk_coverage
from helpers.plots import (
    draw_explorer,
    plot_attributions,
    plot_projections,
    plot_ratings,
    plot_reliability,
    plot_risk_coverage,
    plot_slices,
)

LABELS = np.array([0, 1, 1, 0, 1, 0])
MODELS = {
    "mixed": np.array([0.2, 0.9, 0.4, 0.3, 0.8, 0.7]),
    "all correct": np.where(LABELS == 1, 0.9, 0.1),
    "all wrong": np.where(LABELS == 1, 0.0, 1.0),
    "one class": np.full(6, 0.8),
    "even": np.full(6, 0.5),
}


def drawn(figure):
    """Draw for true: layout and missing letters only show then."""
    assert isinstance(figure, Figure)
    assert not plt.get_fignums()  # the caller shows it, nobody else
    figure.canvas.draw()
    return figure


def outcomes_of(positive):
    predicted = (positive > 0.5).astype(int)
    names = np.array(["correct, negative", "correct, positive"])[predicted]
    return np.where(predicted == LABELS, names, "wrong")


@pytest.mark.parametrize("positive", MODELS.values(), ids=MODELS)
def test_no_model_crashes_a_figure(positive):
    probability = np.column_stack([1 - positive, positive])
    points = np.random.default_rng(0).normal(size=(6, 2))
    drawn(plot_reliability({"before": reliability_table(LABELS, probability)}))
    drawn(plot_risk_coverage(risk_coverage(LABELS, probability)))
    drawn(plot_projections({"one": points, "two": points}, outcomes_of(positive)))
    wrong = probability.argmax(axis=1) != LABELS
    table = compare_slices(wrong, pd.DataFrame({"half": np.arange(6) < 3, "none": np.zeros(6, bool)}))
    drawn(plot_slices(table))
    assert draw_explorer(points, outcomes_of(positive), ["note"] * 6, caption="c").count("<path") == 6


def test_a_map_has_one_scale_for_both_axes_and_every_point():
    """Else a direction that holds a hundredth of the variance looks as large as the first."""
    positive, points = MODELS["mixed"], np.random.default_rng(0).normal(size=(6, 2)) * [9, 1]
    figure = drawn(plot_projections({"one": points, "two": points}, outcomes_of(positive), [("along", "across")]))
    assert [ax.get_aspect() for ax in figure.axes] == [1, 1]
    assert [sum(len(c.get_offsets()) for c in ax.collections) for ax in figure.axes] == [6, 6]
    assert [ax.get_xlabel() for ax in figure.axes] == ["along", ""]


def test_the_ratings_are_counted_by_what_follows_from_them():
    figure = drawn(plot_ratings([-3, -0.6, -0.5, 0, 0.5, 0.51], clear=0.5))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "negative: 2",
        "ambiguous: 3",
        "positive: 1",
    ]


def test_long_texts_break_into_lines_and_dollars_are_money():
    tokens = ["[CLS]", *(f"${i}word" for i in range(60)), "[SEP]"]
    item = Attribution(tokens, np.linspace(-1, 1, 62), 1.0, 0.0)
    figure = drawn(plot_attributions([item, item], ["costs $5 or $6", "second"], width=40))
    texts = figure.axes[0].texts
    assert len(texts) == 2 * 63
    assert max(text.get_position()[0] + len(text.get_text()) for text in texts[1:]) <= 40
    bottom = max(text.get_position()[1] for text in texts)
    assert bottom < figure.axes[0].get_ylim()[0]


def test_no_errors_to_explain_is_no_error():
    drawn(plot_attributions([], []))


def test_the_explorer_is_well_formed_harmless_and_readable():
    notes = ["<script>alert(1)</script>", 'says "ha" & more', "plain"]
    names = ["wrong", "correct, negative", "correct, positive"]
    content = draw_explorer(np.array([[0, 0], [1, 2], [3, 1.0]]), names, notes, caption="A <map>")
    assert 'aria-label="A &lt;map&gt;"' in content  # who hears the page hears what the picture is
    assert "<script" not in content
    figure = ET.fromstring(content)
    assert [title.text for title in figure.iter("title")] == notes
    assert figure.find("figcaption").text == "A <map>"
    places = np.array([re.findall(r"M([\d.]+),([\d.]+)", p.get("d"))[0] for p in figure.iter("path")], dtype=float)
    assert (places >= 0).all()
    assert (places <= [800, 440]).all()
    assert np.diff(places, axis=0) == pytest.approx(np.array([[1, -2], [2, 1]]) * 210, abs=1)  # one scale for both axes


def test_the_explorer_draws_points_that_all_lie_in_one_place():
    assert "nan" not in draw_explorer(np.ones((2, 2)), ["wrong"] * 2, ["a", "b"], caption="c")
