import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from helpers.analysis.slices import compare_slices, rate_table


@pytest.mark.parametrize("counts", [(9, 40, 60, 500), (0, 5, 3, 90), (5, 5, 10, 20), (0, 7, 0, 9), (1, 1, 0, 1)])
def test_the_interval_of_a_difference_is_made_of_two_wilson_intervals(counts):
    errors, rows, other_errors, other_rows = counts
    first, second = errors / rows, other_errors / other_rows
    a = binomtest(errors, rows).proportion_ci(0.9, method="wilson")
    b = binomtest(other_errors, other_rows).proportion_ci(0.9, method="wilson")
    below, above = np.hypot(first - a.low, b.high - second), np.hypot(a.high - first, second - b.low)
    by_hand = first - second - below, first - second + above
    wrong = np.r_[np.arange(rows) < errors, np.arange(other_rows) < other_errors]
    table = compare_slices(wrong, pd.DataFrame({"slice": np.arange(rows + other_rows) < rows}), level=0.9)
    assert table.loc["slice", ["low", "high"]].tolist() == pytest.approx(by_hand, abs=1e-12)


def test_holm_by_hand():
    rows = np.arange(400)
    wrong = rows % 5 == 0
    slices = pd.DataFrame({"a": wrong & (rows < 200), "b": rows % 25 == 0, "c": rows % 3 == 0})
    alone = {name: compare_slices(wrong, slices[[name]]).loc[name, "p_adjusted"] for name in slices}
    together = compare_slices(wrong, slices)["p_adjusted"]
    assert alone["a"] < alone["b"] < alone["c"]
    by_hand = {"a": 3 * alone["a"], "b": 2 * alone["b"], "c": alone["c"]}
    assert together.to_dict() == pytest.approx(by_hand, rel=1e-9)


def test_a_slice_that_hurts_stands_out_and_an_innocent_one_does_not():
    rows = 400
    bad, innocent = np.arange(rows) < 100, np.arange(rows) % 2 == 0
    wrong = np.where(bad, np.arange(rows) % 3 == 0, np.arange(rows) % 21 == 0)
    table = compare_slices(wrong, pd.DataFrame({"innocent": innocent, "bad": bad}))
    assert table.index[0] == "bad"
    assert table.loc["bad", ["rows", "errors"]].tolist() == [100, 34]
    assert table.loc["bad", "low"] > 0
    assert table.loc["bad", "p_adjusted"] < 1e-6
    assert table.loc["innocent", "low"] < 0 < table.loc["innocent", "high"]


def test_more_questions_need_wider_intervals():
    wrong = np.arange(100) % 7 == 0
    one = pd.DataFrame({"first half": np.arange(100) < 50})
    many = one.assign(**{f"other {i}": np.arange(100) % (i + 2) == 0 for i in range(9)})
    widths = [compare_slices(wrong, t).loc["first half", ["low", "high"]].diff().iloc[1] for t in (one, many)]
    assert widths[1] > widths[0] * 1.2


def test_slices_without_rows_or_without_a_rest_are_shown_but_not_compared():
    slices = pd.DataFrame({"none": [False] * 4, "all": [True] * 4, "half": [True, True, False, False]})
    table = compare_slices(np.array([True, False, False, False]), slices)
    assert table["p_adjusted"].notna().tolist() == [True, False, False]
    assert compare_slices(np.array([True]), slices.head(1))["p_adjusted"].isna().all()
    assert table.loc["none", "rows"] == 0
    assert table.loc["half", "p_adjusted"] == 1  # one question only: no correction, and nothing found


@pytest.mark.parametrize("wrong", [np.zeros(6, bool), np.ones(6, bool)], ids=["all right", "all wrong"])
def test_no_errors_and_nothing_but_errors_can_be_compared(wrong):
    table = compare_slices(wrong, pd.DataFrame({"half": [True] * 3 + [False] * 3}))
    assert table.loc["half", "difference"] == 0
    assert table.loc["half", "p_adjusted"] == 1


def test_rates_come_with_wilson_intervals_and_empty_groups_are_left_out():
    wrong = np.arange(1200) % 10 == 0
    groups = {"all": np.ones(1200, bool), "none": np.zeros(1200, bool), "first": np.arange(1200) < 1}
    table = rate_table(wrong, groups)
    assert table.index.tolist() == ["all (1,200)", "first (1)"]
    assert table.loc["all (1,200)"].tolist() == pytest.approx([0.1, *proportion_confint(120, 1200, method="wilson")])
    assert table.loc["first (1)", "value"] == 1
