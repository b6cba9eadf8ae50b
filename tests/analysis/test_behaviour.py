import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.analysis.behaviour import PRAISE, failure_table, judge_cases, make_cases, make_typo


def positive_words(texts):
    """A classifier that knows the words and turns them round for "not" and its like: it should pass every test."""
    scores = []
    for text in texts:
        words = set(re.findall(r"\w+", text))
        good = bool(words & set(PRAISE))
        turned = bool(words & {"not", "Nobody"})
        scores.append(0.9 if good != turned else 0.1)
    return np.array(scores)


def failures(classify, texts=()):
    cases = make_cases(texts)
    return failure_table(cases, judge_cases(cases, classify(cases["before"]), classify(cases["after"])))


def test_a_classifier_that_understands_passes_every_test():
    table = failures(positive_words)
    assert table["failures"].sum() == 0
    assert (table["high"] > 0).all()  # even then the true rate may be above 0


def test_a_classifier_that_ignores_negation_fails_the_negated_praise_and_nothing_else():
    table = failures(lambda texts: positive_words([re.sub("not|Nobody", "", text) for text in texts]))
    assert table["failures"][table["failures"] > 0].to_dict() == {
        "negated praise is negative": table.loc["negated praise is negative", "cases"]
    }


@pytest.mark.parametrize("always", [0.0, 0.5, 1.0])
def test_a_one_class_model_fails_half_of_the_plain_sentences(always):
    table = failures(lambda texts: np.full(len(texts), always), ["A film of rare charm."])
    assert table.loc["plain praise and blame", "failure_rate"] == 0.5
    assert table.loc["one typo, same answer", "cases"] == 1


def test_a_small_move_is_tolerated_and_a_large_one_is_not():
    cases = make_cases().query("expected == 'not higher'").head(2)
    assert judge_cases(cases, np.array([0.2, 0.2]), np.array([0.24, 0.26])).tolist() == [False, True]


@given(st.text(alphabet="abcdefgh !'", max_size=40), st.integers(0, 99))
def test_a_typo_swaps_two_inner_letters_of_one_word(text, seed):
    typo = make_typo(text, random.Random(seed))
    assert sorted(typo) == sorted(text)
    changed = [i for i, (a, b) in enumerate(zip(text, typo, strict=True)) if a != b]
    assert changed == [] or (len(changed) == 2 and changed[1] == changed[0] + 1)
    for old, new in zip(text.split(" "), typo.split(" "), strict=True):
        assert (old[:1], old[-1:]) == (new[:1], new[-1:])


def test_typos_are_the_same_for_the_same_seed():
    text = ["a perfectly ordinary sentence"]
    assert make_cases(text, seed=1).equals(make_cases(text, seed=1))
    assert make_typo("a bb ccc", random.Random(0)) == "a bb ccc"
