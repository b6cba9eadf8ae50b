import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from helpers.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    reliability_table,
    risk_at,
    risk_coverage,
)


def error(labels, probability, **options):
    return calibration_error(reliability_table(labels, probability, **options))


def two_columns(positive):
    return np.column_stack([1 - np.asarray(positive), positive])


def test_ece_against_a_case_done_by_hand():
    # Two answers at 0.9, one right: gap 0.4. Two at 0.6, both right: gap 0.4. One at 0.7, wrong: gap 0.7.
    probability = two_columns([0.9, 0.1, 0.6, 0.4, 0.7])
    labels = np.array([1, 1, 1, 0, 0])
    assert error(labels, probability) == pytest.approx((2 * 0.4 + 2 * 0.4 + 0.7) / 5)
    table = reliability_table(labels, probability)
    assert table["rows"].tolist() == [2, 1, 2]
    assert table.index.tolist() == ["0.50 to 0.60", "0.60 to 0.70", "0.80 to 0.90"]


def test_several_labels_by_hand():
    table = reliability_table([[0, 1], [0, 1]], np.array([[0.05, 0.65], [0.05, 1.0]]))
    assert table["rows"].tolist() == [2, 1, 1] and table.index[-1] == "0.90 to 1.00"
    assert table["accuracy"].tolist() == [0, 1, 1]
    assert calibration_error(table) == pytest.approx((2 * 0.05 + 0.35 + 0.0) / 4)
    assert isinstance(table, pd.DataFrame)


@pytest.mark.parametrize("p", np.arange(11) / 10)
def test_a_bin_holds_its_upper_end_for_one_label_and_for_several(p):
    expected = f"{max(p - 0.1, 0):.2f} to {max(p, 0.1):.2f}"
    assert reliability_table([[0]], np.array([[p]])).index.tolist() == [expected]
    if p >= 0.5:
        assert reliability_table([0], two_columns([p])).index.tolist() == [expected]


def test_a_perfectly_calibrated_model_has_no_error():
    labels = np.array([1] * 8 + [0] * 2)
    assert error(labels, two_columns([0.8] * 10)) == pytest.approx(0)


def test_the_true_temperature_is_found():
    generator = np.random.default_rng(0)
    true_logits = generator.normal(size=(20_000, 3))
    labels = (softmax(true_logits, axis=1).cumsum(axis=1) > generator.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature(true_logits * 3, labels) == pytest.approx(3, rel=0.05)
    before = error(labels, softmax(true_logits * 3, axis=1))
    assert error(labels, softmax(true_logits, axis=1)) < before / 10


def test_the_temperature_of_two_confidences_is_known_in_closed_form():
    # Right in 3 of 4 rows: the best probability is 3/4, so that the logit of 4 must shrink to ln 3.
    logits = np.tile([0.0, 4.0], (4, 1))
    assert fit_temperature(logits, np.array([1, 1, 1, 0])) == pytest.approx(4 / np.log(3), rel=1e-3)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0]], ids=["all right", "all wrong"])
def test_all_right_or_all_wrong_gives_numbers(labels):
    labels, logits = np.array(labels), np.tile([0.0, 2.0], (3, 1))
    probability = softmax(logits, axis=1)
    assert 0.04 < fit_temperature(logits, labels) < 21
    assert np.isfinite(error(labels, probability))
    assert risk_coverage(labels, probability)["risk"].tolist() == [1.0 - labels[0]] * 3


def test_risk_falls_when_the_doubtful_are_left_out():
    probability = two_columns([0.99, 0.95, 0.9, 0.55])
    curve = risk_coverage(np.array([1, 1, 1, 0]), probability)
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert curve["risk"].tolist() == [0, 0, 0, 0.25]
    assert (risk_at(curve, 0.75), risk_at(curve, 0.8), risk_at(curve, 1.0), risk_at(curve, 0.0)) == (0, 0.25, 0.25, 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=40), st.integers(1, 20))
def test_ece_lies_between_0_and_1_and_every_row_is_in_a_bin(rows, bins):
    probability, labels = two_columns([p for p, _ in rows]), np.array([label for _, label in rows])
    assert 0 <= error(labels, probability, bins=bins) <= 1
    assert reliability_table(labels, probability, bins=bins)["rows"].sum() == len(rows)
    curve = risk_coverage(labels, probability)
    assert curve["risk"].iloc[-1] == pytest.approx((probability.argmax(axis=1) != labels).mean())
