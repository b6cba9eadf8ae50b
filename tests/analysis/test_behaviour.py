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
    return failure_table(judge_cases(cases, classify(cases["before"]), classify(cases["after"])))


def test_a_classifier_that_understands_passes_every_test():
    table = failures(positive_words)
    assert table["failures"].sum() == 0
    assert (table["testable"] == table["cases"]).all()
    assert (table["high"] > 0).all()  # even then the true rate may be above 0


def test_a_classifier_that_ignores_negation_fails_both_tests_of_negation_and_nothing_else():
    table = failures(lambda texts: positive_words([re.sub("not|Nobody", "", text) for text in texts]))
    negation = ["negated praise is negative", "negated blame sounds better than blame"]
    assert table["failures"][table["failures"] > 0].to_dict() == table.loc[negation, "cases"].to_dict()
    assert (table.loc[negation, "low"] < 1).all()


@pytest.mark.parametrize("always", [0.0, 0.5, 1.0])
def test_a_one_class_model_fails_half_of_the_plain_sentences(always):
    table = failures(lambda texts: np.full(len(texts), always), ["A film of rare charm."])
    assert table.loc["plain praise and blame", "failure_rate"] == 0.5
    assert table.loc["one typo, same answer", "cases"] == 1


def test_a_small_move_is_tolerated_and_a_large_one_is_not():
    cases = make_cases().query("expected == 'not higher'").head(2)
    assert judge_cases(cases, [0.2, 0.2], [0.24, 0.26])["fails"].tolist() == [False, True]
    cases = make_cases().query("expected == 'higher'").head(2)
    assert judge_cases(cases, [0.2, 0.2], [0.24, 0.26])["fails"].tolist() == [True, False]


@pytest.mark.parametrize("expected, start", [("not lower", 0.05), ("not higher", 0.95), ("higher", 0.95)])
def test_where_no_answer_could_decide_a_case_it_is_not_counted(expected, start):
    cases = make_cases().query("expected == @expected").head(2)
    judged = judge_cases(cases, [start, 0.5], [0.0, 0.0])
    assert judged["testable"].tolist() == [False, True]
    assert not judged["fails"].iloc[0]
    extremes = [judge_cases(cases, [0.5, 0.5], [end, end])["fails"].iloc[1] for end in (0.0, 1.0)]
    assert sorted(extremes) == [False, True], "the testable one can pass and can fail"


def test_a_test_without_a_testable_case_has_no_rate():
    cases = make_cases().query("expected == 'not lower'")
    table = failure_table(judge_cases(cases, np.zeros(len(cases)), np.zeros(len(cases))))
    assert table["testable"].tolist() == [0] and table["failure_rate"].isna().all()


def test_intervals_are_of_clusters_not_of_cases():
    """Failing one adjective in ten with all its twelve cases is one failure of ten draws, not twelve of 120."""
    cases = make_cases().query("test == 'negated praise is negative'")
    after = np.where(cases["cluster"] == PRAISE[0], 0.9, 0.1)
    (row,) = failure_table(judge_cases(cases, np.full(len(cases), 0.9), after)).to_dict("records")
    assert (row["failures"], row["failure_rate"], row["low"]) == (12, pytest.approx(0.1), 0)
    assert row["high"] >= 0.3


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
