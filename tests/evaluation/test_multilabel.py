import numpy as np
import pytest

from helpers.evaluation.multilabel import (
    co_occurrence,
    compare_with_chance,
    compute_multilabel_metrics,
    count_label_confusions,
    label_table,
    trivial_predictions,
)
from helpers.evaluation.scores import score

NAMES = ["a", "b"]
LABELS = np.array([[1, 1], [1, 0], [0, 0], [0, 1]])
CALLED = np.array([[1, 0], [1, 0], [0, 0], [1, 0]])
SCORES = np.array([[0.9, 0.4], [0.8, 0.1], [0.2, 0.3], [0.6, 0.2]])


def test_metrics_by_hand():
    metrics = compute_multilabel_metrics(LABELS, CALLED, SCORES, NAMES)
    assert metrics["exact_match"] == metrics["accuracy"] == 0.5
    assert metrics["hamming_loss"] == pytest.approx(3 / 8) and metrics["label_accuracy"] == pytest.approx(5 / 8)
    assert metrics["jaccard"] == pytest.approx((1 / 2 + 1 + 1 + 0) / 4)  # nothing true, nothing called: 1
    assert metrics["f1_samples"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    assert metrics["f1_macro"] == pytest.approx((4 / 5 + 0) / 2)
    assert metrics["average_precision"] == pytest.approx((1.0 + (1 / 1 + 2 / 3) / 2) / 2)


def test_one_label_alone_is_scored_as_that_label():
    labels, called, scores = LABELS[:, :1], np.array([[1], [0], [1], [0]]), SCORES[:, :1]
    metrics = compute_multilabel_metrics(labels, called, scores, ["a"])
    assert metrics["per_class"]["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert [metrics[f"f1_{kind}"] for kind in ("macro", "micro", "weighted")] == [0.5] * 3
    assert (metrics["accuracy"], metrics["jaccard"]) == (0.5, 0.5)
    assert label_table(labels, called, scores, ["a"], samples=50).loc["a", "f1"] == 0.5
    assert count_label_confusions(labels, called, ["a"]).loc["a"].tolist() == [1, 1, 1, 1]
    assert score(labels, scores, ["a"]).metrics["per_class"]["a"]["support"] == 2


def test_a_label_that_never_occurs_counts_zero_in_f1_and_not_in_average_precision():
    labels = np.array([[1, 0], [0, 0]])
    metrics = compute_multilabel_metrics(labels, labels, labels * 0.9, NAMES)
    assert (metrics["f1_macro"], metrics["average_precision"]) == (0.5, 1.0)
    assert compute_multilabel_metrics(labels * 0, labels * 0, labels * 0.9, NAMES)["average_precision"] == 0.0


def test_trivial_systems_score_what_they_must():
    found = {
        name: compute_multilabel_metrics(LABELS, calls, SCORES, NAMES)
        for name, calls in trivial_predictions(LABELS).items()
    }
    assert found["never any label"]["f1_macro"] == 0.0
    assert found["never any label"]["label_accuracy"] == 0.5
    assert found["always every label"]["f1_macro"] == pytest.approx(2 / 3)


def test_label_table_holds_each_f1_between_its_bounds():
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 2)) < [0.5, 0.1]).astype(int)
    scores = np.clip(labels * 0.3 + generator.random((300, 2)) * 0.7, 0, 1)
    table = label_table(labels, scores > 0.5, scores, NAMES, samples=200)
    assert ((table["low"] <= table["f1"]) & (table["f1"] <= table["high"])).all()
    assert (table["high"] - table["low"])["b"] > (table["high"] - table["low"])["a"], "rare labels are less certain"
    assert table["rows"].tolist() == labels.sum(axis=0).tolist()


def test_confusions_keep_misses_and_false_alarms_apart():
    table = count_label_confusions(LABELS, CALLED, NAMES)
    assert table.loc["a"].tolist() == [1, 1, 0, 2]  # rightly absent, false alarm, missed, found
    assert table.loc["b"].tolist() == [2, 0, 2, 0]
    assert (table.sum(axis=1) == 4).all()


def test_co_occurrence_is_a_share_of_the_rows_label():
    table = co_occurrence(np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]]), ["x", "y", "z"])
    assert table.loc["x", "y"] == pytest.approx(2 / 3) and table.loc["y", "x"] == 1.0
    assert table.loc["z"].isna().all() and table.loc["x", "z"] == 0.0


def test_pairs_that_are_bound_lie_outside_what_chance_makes():
    generator = np.random.default_rng(0)
    first, free = (generator.random((2, 400)) < 0.3).astype(int)
    labels = np.stack([first, first, 1 - first, free], axis=1)  # twice the same, its opposite, and one of its own
    table = compare_with_chance(labels, ["a", "b", "c", "d"])
    assert table.index[0] == "a + b" and set(table.index[-2:]) == {"a + c", "b + c"}
    assert table.loc["a + b", "seen"] == first.sum() > table.loc["a + b", "high"]
    assert table.loc["a + c", "seen"] == 0 < table.loc["a + c", "low"]
    assert table["outside"].to_dict() | {"a + d": "no", "b + d": "no", "c + d": "no"} == table["outside"].to_dict()
    assert (table.loc["a + b", "outside"], table.loc["a + c", "outside"]) == ("more often", "more seldom")
    free = table.loc["a + d"]
    assert free["low"] <= free["seen"] <= free["high"] and free["ratio"] == pytest.approx(1, abs=0.25)
    assert table.loc["a + b", "shuffled"] == pytest.approx(first.sum() ** 2 / 400, rel=0.05)


def test_a_label_that_never_occurs_has_no_ratio():
    table = compare_with_chance(np.array([[1, 0], [1, 0]]), ["a", "b"], shuffles=3)
    assert table.loc["a + b", "seen"] == 0 and np.isnan(table.loc["a + b", "ratio"])
