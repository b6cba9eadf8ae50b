"""The corrected t-test, by hand, against scipy, and in worlds without any difference."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from helpers.evaluation.resampling import (
    average_folds,
    divide_rows,
    resampled_t_test,
    score_twins,
    simulate_false_positives,
)

VALUES = [0.02, 0.01, 0.03, -0.01, 0.02]


def test_without_correction_it_is_the_plain_t_test_of_scipy():
    found, reference = resampled_t_test(VALUES, 0), ttest_1samp(VALUES, 0)
    assert (found.t, found.p_value, found.degrees) == pytest.approx((reference.statistic, reference.pvalue, 4))
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval()))


def test_the_correction_by_hand():
    # Five folds: (1/5 + 1/4) instead of 1/5 makes t smaller by the root of 2.25, which is 1.5.
    plain, corrected = resampled_t_test(VALUES, 0), resampled_t_test(VALUES, 1 / 4)
    assert corrected.t == pytest.approx(plain.t / 1.5) and corrected.mean == plain.mean
    assert corrected.high - corrected.mean == pytest.approx(1.5 * (plain.high - plain.mean))
    assert corrected.p_value > plain.p_value


def test_the_other_sign_gives_the_other_sign():
    there, back = resampled_t_test(VALUES, 0.25), resampled_t_test(np.negative(VALUES), 0.25)
    assert (back.mean, back.low, back.high, back.t) == pytest.approx((-there.mean, -there.high, -there.low, -there.t))
    assert back.p_value == pytest.approx(there.p_value)


@pytest.mark.parametrize("value, p_value", [(0.0, 1), (0.3, 0), (-0.3, 0)])
def test_values_that_are_all_the_same(value, p_value):
    found = resampled_t_test([value] * 4, 0.25)
    assert (found.low, found.mean, found.high, found.p_value) == (value, value, value, p_value)


@pytest.mark.parametrize("values, ratio", [([0.1], 0.25), ([], 0.25), ([0.1, np.nan], 0.25), (VALUES, -0.1)])
def test_what_no_t_test_can_take_is_refused(values, ratio):
    with pytest.raises(ValueError, match="at least two finite values"):
        resampled_t_test(values, ratio)


def test_seeds_are_averaged_within_their_fold():
    assert average_folds([0.1, 0.3, 0.5, 0.7], [2, 2, 1, 1]) == pytest.approx([0.6, 0.2])


def test_each_division_tests_every_row_once():
    tested = divide_rows(23, 5, 3, np.random.default_rng(0))
    assert tested.shape == (15, 23)
    assert (tested.reshape(3, 5, 23).sum(axis=1) == 1).all()
    assert set(tested.sum(axis=1)) == {4, 5}


def test_twins_are_scored_on_tested_rows_as_scikit_learn_would():
    from sklearn.neighbors import NearestCentroid

    tested = divide_rows(60, 5, 1, np.random.default_rng(1))
    found = score_twins(tested, np.random.default_rng(2), traits=4)
    generator = np.random.default_rng(2)
    labels = generator.permutation(np.arange(60) % 2 * 2 - 1)
    seen = generator.normal(size=(2, 60, 4)) + 0.25 * labels[:, None]
    scores = [
        [NearestCentroid().fit(part[~own], labels[~own]).score(part[own], labels[own]) for own in tested]
        for part in seen
    ]
    assert found == pytest.approx(np.subtract(scores[1], scores[0]))


def test_twins_are_equally_good_and_learn_something():
    generator = np.random.default_rng(3)
    means = [score_twins(divide_rows(100, 5, 1, generator), generator).mean() for _ in range(200)]
    assert abs(np.mean(means)) < 3 * np.std(means) / 200**0.5
    assert np.std(means) > 0.01, "but not in every world"


def test_plain_finds_what_is_not_there_ever_more_often_and_corrected_does_not():
    """400 worlds: a share of 0.05 has a standard error of 0.011."""
    found = simulate_false_positives((1, 4, 10), worlds=400, rows=100)
    assert list(found.index) == [5, 20, 50]
    assert found["plain"].is_monotonic_increasing
    assert found.loc[20, "plain"] > 0.2 and found.loc[50, "plain"] > 0.4
    assert found["corrected"].max() <= 0.05 + 2 * 0.011
