import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar

from helpers.evaluation.comparison import (
    Comparison,
    PairedTest,
    combine_p_values,
    compare_models,
    mcnemar_test,
    verdict,
)
from helpers.evaluation.intervals import bootstrap_difference, per_label_f1

NAMES = ("Ada", "Bob")


def paired(both, only_first, only_second, neither):
    """Labels and two predictions with these counts in McNemar's table."""
    counts = (both, only_first, only_second, neither)
    labels = np.zeros(sum(counts), dtype=int)
    first = np.repeat([0, 0, 1, 1], counts)
    second = np.repeat([0, 1, 0, 2], counts)
    return labels, first, second


@pytest.mark.parametrize("counts", [(50, 10, 2, 5), (10, 3, 3, 0), (0, 1, 0, 0), (200, 40, 61, 9), (5, 0, 0, 5)])
def test_mcnemar_agrees_with_statsmodels(counts):
    both, only_first, only_second, neither = counts
    found = mcnemar_test(*paired(*counts))
    assert (found.only_first, found.only_second) == (only_first, only_second)
    reference = mcnemar([[both, only_first], [only_second, neither]], exact=True).pvalue
    assert found.p_value == pytest.approx(min(1.0, reference))


def test_mcnemar_by_hand():
    # Six fair coins on one side: 2 * (1/2)^6. This is the least that can fall below 0.05.
    assert mcnemar_test(*paired(9, 6, 0, 0)).p_value == pytest.approx(2 / 64)
    assert mcnemar_test(*paired(9, 5, 0, 0)).p_value == pytest.approx(2 / 32)


def test_mcnemar_wants_every_label_of_a_row_right():
    labels = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    first, second = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[1, 1], [0, 1], [0, 1]])
    assert mcnemar_test(labels, first, second) == PairedTest(2, 0, 0.5)


def test_predictions_of_other_rows_are_refused():
    with pytest.raises(ValueError, match=r"Predictions of shape \(2,\) do not fit labels of shape \(3,\)"):
        mcnemar_test(np.zeros(3), np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="do not fit"):
        bootstrap_difference(np.zeros(3), [np.zeros(2)], np.zeros(3))


def test_the_interval_of_a_difference_agrees_with_scipy():
    labels, first, second = paired(150, 20, 45, 85)
    ours = bootstrap_difference(labels, first, second, samples=4000)
    paired_difference = (second == labels).astype(float) - (first == labels)
    reference = bootstrap((paired_difference,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert ours == pytest.approx(tuple(reference.confidence_interval), abs=0.008)


def test_a_paired_interval_is_narrower_than_an_unpaired_one():
    labels, first, second = paired(250, 5, 15, 30)  # the two agree nearly everywhere
    low, high = bootstrap_difference(labels, first, second)
    alone = bootstrap((labels == first,), np.mean, method="percentile", rng=0).confidence_interval
    assert high - low < alone.high - alone.low


def test_the_interval_of_a_model_with_itself_is_zero_whatever_the_metric():
    labels, first, _ = paired(30, 5, 5, 9)
    for metric in ("accuracy", "f1_macro", "f1_weighted"):
        assert bootstrap_difference(labels, first, first, metric) == (0, 0)


def test_seeds_that_differ_widen_the_interval():
    labels, first, second = paired(150, 20, 45, 85)
    worse = np.where(np.arange(300) % 3 == 0, 1, second)
    steady = bootstrap_difference(labels, [first] * 3, [second] * 3)
    shaky = bootstrap_difference(labels, [first] * 3, [second, second, worse])
    assert shaky[1] - shaky[0] > 1.3 * (steady[1] - steady[0])


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        right = generator.random((2, 200)) < [[0.7], [0.8]]
        low, high = bootstrap_difference(np.ones(200), *right.astype(int), samples=200, seed=trial)
        covered += low <= 0.1 <= high
    assert 180 <= covered <= 199


@pytest.mark.parametrize(
    ("p_values", "combined"), [([0.03], 0.03), ([0.01, 0.02, 0.9], 0.03), ([0.01, 0.4], 0.4), ([0.9, 0.9, 0.9], 1.0)]
)
def test_combined_p_values(p_values, combined):
    assert combine_p_values(p_values) == pytest.approx(combined)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_a_combined_p_value_is_never_below_the_median(p_values):
    assert np.median(p_values) * (1 - 1e-12) <= combine_p_values(p_values) <= 1


def test_combined_p_values_of_equal_models_are_rarely_small_even_if_the_tests_are_one_and_the_same():
    draws = np.random.default_rng(0).random(2000)
    assert np.mean([combine_p_values([p, p, p]) < 0.05 for p in draws]) <= 0.05


def seeds(labels, accuracy, count, generator):
    """Predictions of `count` runs, right independently with this probability."""
    return [np.where(generator.random(len(labels)) < accuracy, labels, 1 - labels) for _ in range(count)]


def sentence(first, second, rows=300, count=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, rows)
    return verdict(
        compare_models(labels, seeds(labels, first, count, generator), seeds(labels, second, count, generator), NAMES)
    )


def test_verdict_equal():
    labels, first, second = paired(220, 20, 20, 46)
    assert verdict(compare_models(labels, [first] * 3, [second] * 3, NAMES)).startswith(
        "No difference between Ada and Bob that 306 test texts and 3 seeds could show"
    )


def test_verdict_better_and_worse_name_the_right_winner():
    assert sentence(0.6, 0.9).startswith("Bob is better than Ada on these 300 test texts, with 3 seeds")
    assert sentence(0.9, 0.6).startswith("Ada is better than Bob on these 300 test texts, with 3 seeds")


def test_verdict_of_a_tiny_sample():
    assert sentence(0.2, 0.95, rows=5).startswith(
        "5 test texts cannot tell Ada and Bob apart: they differ on fewer than 6"
    )


@pytest.mark.parametrize(("level", "number"), [(0.1, 5), (0.05, 6), (0.01, 8), (0.001, 11)])
def test_verdict_knows_how_many_differing_rows_a_test_needs(level, number):
    assert mcnemar_test(*paired(0, number - 1, 0, 0)).p_value >= level > mcnemar_test(*paired(0, number, 0, 0)).p_value
    enough, too_few = (compare_models(*paired(9, n, 0, 0), NAMES) for n in (number, number - 1))
    assert f"fewer than {number} of them" in verdict(too_few, level=level)
    assert verdict(enough, level=level).startswith("Ada is better than Bob")


def test_verdict_of_a_small_sample_names_no_winner_for_two_points():
    assert sentence(0.75, 0.77, rows=60).startswith("No difference")


def test_verdict_names_no_winner_when_the_seeds_overlap():
    labels, first, second = paired(200, 10, 60, 30)  # far apart, but one of Bob's seeds is Ada's equal
    found = verdict(compare_models(labels, [first] * 3, [second, second, first], NAMES))
    assert "is better" not in found
    c = Comparison(
        NAMES, 300, ([0.7, 0.71, 0.76], [0.75, 0.79, 0.8]), (0.01, 0.1), [PairedTest(10, 40, 1e-4)] * 3, 2e-4
    )
    assert verdict(c).startswith("Bob is ahead of Ada on average, but not with every seed")


@pytest.mark.parametrize("interval, p_value", [((-0.01, 0.1), 0.01), ((0.01, 0.1), 0.06)])
def test_verdict_needs_both_the_interval_and_the_test(interval, p_value):
    c = Comparison(NAMES, 300, ([0.7], [0.75]), interval, [PairedTest(10, 25, p_value)], p_value)
    assert verdict(c).startswith("No difference between Ada and Bob that 300 test texts and 1 seed could show")


def test_equal_models_are_rarely_told_apart():
    found = [sentence(0.7, 0.7, rows=100, seed=seed) for seed in range(20)]
    assert sum("is better" in text for text in found) <= 2


def test_swapping_the_models_swaps_everything():
    labels, first, second = paired(150, 20, 45, 85)
    there = compare_models(labels, [first] * 3, [second] * 3, NAMES)
    back = compare_models(labels, [second] * 3, [first] * 3, NAMES[::-1])
    assert back.difference == pytest.approx(-there.difference)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))
    assert back.p_value == there.p_value


def test_a_comparison_needs_as_many_seeds_of_each():
    labels, first, second = paired(5, 5, 5, 5)
    with pytest.raises(ValueError, match="Ada has 2 runs and Bob 1: train both with the same seeds"):
        compare_models(labels, [first, first], [second], NAMES)


def test_per_label_f1_agrees_with_scikit_learn_and_averages_the_seeds():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 200)
    runs = [np.where(generator.random(200) < 0.7, labels, generator.integers(0, 3, 200)) for _ in range(2)]
    table = per_label_f1(labels, runs, ["a", "b", "c"])
    expected = np.mean([f1_score(labels, run, average=None) for run in runs], axis=0)
    np.testing.assert_allclose(table["value"], expected)
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()


def test_per_label_intervals_agree_with_scipy():
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, 150)
    run = np.where(generator.random(150) < 0.8, labels, 1 - labels)
    reference = bootstrap(
        (labels, run),
        lambda a, b: f1_score(a, b),
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=0,
    ).confidence_interval
    found = per_label_f1(labels, run, ["no", "yes"]).loc["yes"]
    assert (found["low"], found["high"]) == pytest.approx(tuple(reference), abs=0.015)


def test_a_label_that_nobody_predicts_has_f1_zero():
    table = per_label_f1(np.array([0, 0, 1]), np.array([0, 0, 0]), ["a", "b", "never"])
    assert table.loc[["b", "never"]].to_numpy().sum() == 0
