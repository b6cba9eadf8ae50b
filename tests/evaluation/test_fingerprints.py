"""Fingerprints of rows, answers and records: equal for equal content, and for nothing else."""

import pytest

from helpers.evaluation.fingerprints import (
    fingerprint_answers,
    fingerprint_rows,
    is_sealed,
    make_keys,
    seal_record,
)

KEYS = make_keys(["I am glad.", "I am sad.", "Hm"])
TRUE, CALLED = ["joy", "sadness", ""], ["joy", "joy,love", ""]


def test_a_key_overlooks_blanks_and_line_ends_alone():
    assert make_keys([" I am\r\nglad. "])[0] == KEYS[0] != make_keys(["I am glad"])[0]
    assert len(set(KEYS)) == 3 and {len(key) for key in KEYS} == {12}


def test_the_rows_are_the_same_in_any_order_and_with_no_other_label():
    found = fingerprint_rows(KEYS, TRUE)
    assert found == fingerprint_rows(KEYS[::-1], TRUE[::-1])
    assert len({found, fingerprint_rows(KEYS, TRUE[::-1]), fingerprint_rows(KEYS[:2], TRUE[:2])}) == 3


def test_one_other_answer_changes_the_fingerprint():
    changed = [[*CALLED[:2], "joy"], [CALLED[1], CALLED[0], ""], ["joy", "joy", "love"]]
    assert len({fingerprint_answers(KEYS, TRUE, called) for called in [CALLED, *changed]}) == 4


@pytest.mark.parametrize(
    "change", [{"accuracy": 0.91}, {"seed": 1}, {"note": None}, {"intervals": {"accuracy": [0.8, 0.96]}}]
)
def test_a_number_changed_by_hand_breaks_the_seal(change):
    record = seal_record({"accuracy": 0.9, "seed": 0, "intervals": {"accuracy": [0.8, 0.95]}})
    assert is_sealed(record) is True
    assert is_sealed(record | change) is False
    assert is_sealed({"accuracy": 0.9}) is None
    assert seal_record(record | change)["seal"] != record["seal"]
