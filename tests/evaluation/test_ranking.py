"""Many pairs, groups that no test tells apart, seeds needed, and the best of many seeds."""

import gc
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.evaluation.ranking import compare_pairs, count_seeds_needed, group_systems, pick_best_seeds
from helpers.evaluation.resampling import resampled_t_test

SCORES = pd.DataFrame(
    {
        "words": [0.50, 0.52, 0.49, 0.51, 0.50],
        "small": [0.70, 0.71, 0.69, 0.72, 0.70],
        "large": [0.71, 0.70, 0.71, 0.71, 0.71],
    }
)


def differing(*pairs):
    return pd.DataFrame([(*pair, True) for pair in pairs], columns=["first", "second", "differ"])


def test_every_pair_has_its_test_and_holm_by_hand():
    table = compare_pairs(SCORES, 0.25).set_index(["first", "second"])
    assert len(table) == 3
    one = resampled_t_test(SCORES["large"] - SCORES["words"], 0.25)
    row = table.loc[("words", "large")]
    assert (row["difference"], row["low"], row["high"], row["p"]) == pytest.approx(
        (one.mean, one.low, one.high, one.p_value)
    )
    p = np.sort(table["p"].to_numpy())
    expected = np.maximum.accumulate(np.minimum(1, p * [3, 2, 1]))
    assert np.sort(table["p_holm"].to_numpy()) == pytest.approx(expected)
    assert table["differ"].to_dict() == {
        ("words", "small"): True,
        ("words", "large"): True,
        ("small", "large"): False,
    }


def test_one_system_has_no_pairs():
    table = compare_pairs(SCORES[["words"]], 0.25)
    assert table.empty and "p_holm" in table
    assert group_systems(SCORES[["words"]].mean(), table) == [["words"]]


def test_holm_finds_nothing_in_noise_nineteen_times_of_twenty():
    generator, wrong = np.random.default_rng(0), 0
    gc.freeze()  # statsmodels collects garbage at every call: a second each, beside all that other tests have left
    for _ in range(150):
        noise = pd.DataFrame(generator.normal(size=(8, 4)))
        wrong += compare_pairs(noise, 0)["differ"].any()
    gc.unfreeze()
    assert wrong <= 150 * (0.05 + 2 * 0.018)


def test_groups_hold_what_no_test_tells_apart():
    means = pd.Series({"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1})
    assert group_systems(means, differing()) == [["a", "b", "c", "d"]]
    every = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    assert group_systems(means, differing(*every)) == [["a"], ["b"], ["c"], ["d"]]
    assert group_systems(means, differing(("a", "c"), ("a", "d"), ("d", "b"))) == [["a", "b"], ["b", "c"], ["c", "d"]]
    assert group_systems(means, differing(("d", "a"))) == [["a", "b", "c"], ["b", "c", "d"]]
    assert group_systems(means, differing(("a", "b"), ("b", "d"))) == [["a", "c", "d"], ["b", "c"]]  # no neighbours
    assert group_systems(SCORES.mean(), compare_pairs(SCORES, 0.25)) == [["large", "small"], ["words"]]


@given(st.sets(st.sampled_from(list(combinations("abcdef", 2)))))
def test_two_systems_share_a_group_exactly_if_they_do_not_differ(apart):
    groups = group_systems(pd.Series(dict(zip("abcdef", range(6), strict=True))), differing(*apart))
    together = {pair for pair in combinations("abcdef", 2) if any(group >= set(pair) for group in map(set, groups))}
    assert together == set(combinations("abcdef", 2)) - apart
    assert not any(set(one) < set(other) for one in groups for other in groups)


def test_seeds_needed_find_the_difference_as_often_as_they_say():
    seeds = count_seeds_needed(0.01, 0.012)
    generator = np.random.default_rng(1)
    found = [resampled_t_test(generator.normal(0.01, 0.012, seeds), 0).p_value < 0.05 for _ in range(2000)]
    assert 0.78 <= np.mean(found) <= 0.87
    fewer = [resampled_t_test(generator.normal(0.01, 0.012, seeds - 3), 0).p_value < 0.05 for _ in range(2000)]
    assert np.mean(fewer) < 0.8


def test_seeds_needed_at_the_ends():
    assert count_seeds_needed(-0.02, 0.01) == count_seeds_needed(0.02, 0.01) < count_seeds_needed(0.01, 0.01)
    assert count_seeds_needed(0, 0.01) is None and count_seeds_needed(0.01, 0) == 2
    assert count_seeds_needed(1e-6, 0.01) is None


def test_the_best_of_many_is_reported_too_high_and_falls_back():
    found = pick_best_seeds(20, accuracy=0.75, seed_spread=0.01, rows=300).mean()
    assert found["mean"] == pytest.approx(0.75, abs=0.002)
    assert found["reported"] > found["true"] + 0.02 and found["fresh"] == pytest.approx(found["true"], abs=0.002)
    alone = pick_best_seeds(1, accuracy=0.75, seed_spread=0.01, rows=300)
    assert (alone["mean"] == alone["reported"]).all()


def test_of_equal_seeds_the_best_is_luck_alone():
    found = pick_best_seeds(20, accuracy=0.75, seed_spread=0, rows=300)
    assert (found["true"] == 0.75).all()
    # the expected largest of twenty normal numbers is 1.87 standard deviations above their mean
    assert found["reported"].mean() == pytest.approx(0.75 + 1.87 * (0.75 * 0.25 / 300) ** 0.5, abs=0.003)
