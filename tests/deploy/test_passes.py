"""How texts of many lengths are dealt to passes: the cheapest cut, and none left out."""

from itertools import combinations

import numpy as np
import pytest

from helpers.deploy.onnx_predictor import plan_passes


def price(passes, lengths, pass_tokens: int) -> int:
    return sum(len(rows) * lengths[rows].max() + pass_tokens for rows in passes)


@pytest.mark.parametrize("rows, most", [(1, 64), (2, 1), (64, 64), (65, 64), (1000, 64), (7, 3)])
def test_every_text_is_in_one_pass(rows, most):
    lengths = np.random.default_rng(rows).integers(3, 97, rows)
    passes = plan_passes(lengths, most)
    assert sorted(np.concatenate(passes)) == list(range(rows)) and max(map(len, passes)) <= most


def test_no_cut_is_cheaper():
    for seed in range(20):
        lengths = np.sort(np.random.default_rng(seed).integers(3, 60, 8))[::-1]
        cuts = [places for count in range(8) for places in combinations(range(1, 8), count)]
        prices = [price([rows for rows in np.split(np.arange(8), places)], lengths, 32) for places in cuts]
        assert price(plan_passes(lengths, 64), lengths, 32) == min(prices)


def test_texts_of_one_length_share_a_pass_and_a_long_one_has_its_own():
    assert [len(rows) for rows in plan_passes(np.full(64, 20), 64)] == [64]
    lengths = np.array([10] * 20 + [96] + [10] * 20)
    assert plan_passes(lengths, 64).pop(0).tolist() == [20]


def test_without_texts_no_passes():
    assert plan_passes(np.array([], dtype=int), 64) == []
