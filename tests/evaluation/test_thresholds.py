import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from helpers.evaluation.metrics import decide
from helpers.evaluation.thresholds import best_global_threshold, best_label_threshold, measure_optimism, tune_thresholds


def column(*pairs):
    return np.array([y for y, _ in pairs]), np.array([p for _, p in pairs])


def test_the_threshold_lies_halfway_between_the_scores_that_it_parts():
    assert best_label_threshold(*column((1, 0.3), (1, 0.2), (0, 0.1), (0, 0.05))) == pytest.approx(0.15)
    assert best_label_threshold(*column((1, 0.95), (0, 0.85), (0, 0.8))) == pytest.approx(0.9)


def test_half_is_kept_where_it_is_as_good():
    assert best_label_threshold(*column((1, 0.9), (0, 0.1))) == 0.5
    assert best_label_threshold(*column((1, 0.5), (0, 0.4))) == 0.5  # a score of 0.5 counts as yes


def test_a_label_that_never_occurs_keeps_half():
    assert best_label_threshold(*column((0, 0.9), (0, 0.1))) == 0.5


def test_a_label_that_always_occurs_is_always_called():
    labels, scores = column((1, 0.2), (1, 0.1))
    assert (scores >= best_label_threshold(labels, scores)).all()


def test_equal_scores_are_not_parted():
    labels, scores = column((1, 0.4), (0, 0.4), (1, 0.4), (0, 0.1))
    assert best_label_threshold(labels, scores) == pytest.approx(0.25)  # all three or none
    labels, scores = column((1, 0.4), (0, 0.4))
    assert (scores >= best_label_threshold(labels, scores)).all()


def test_of_equally_good_thresholds_the_one_nearest_to_half_wins():
    labels, scores = column((1, 0.9), (0, 0.8), (0, 0.7), (1, 0.6), (0, 0.2))  # F1 2/3 with one row and with four
    assert best_label_threshold(labels, scores) == 0.5
    labels, scores = column((1, 0.4), (0, 0.3), (0, 0.2), (1, 0.1))
    assert best_label_threshold(labels, scores) == pytest.approx(0.35)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=30))
def test_no_other_threshold_is_better(rows):
    labels, scores = np.array([y for y, _ in rows]).astype(int), np.array([p for _, p in rows]) / 20
    f1 = lambda cut: f1_score(labels, scores >= cut, zero_division=0.0)  # noqa: E731
    best = f1(best_label_threshold(labels, scores))
    assert all(best >= f1(cut) - 1e-9 for cut in [*np.unique(scores), 0.5])


def test_per_label_beats_global_beats_half_on_the_rows_they_were_tuned_on():
    generator = np.random.default_rng(0)
    labels = (generator.random((200, 4)) < [0.5, 0.2, 0.1, 0.3]).astype(int)
    probability = np.clip(labels * 0.2 + generator.random((200, 4)) * [0.9, 0.6, 0.3, 0.5], 0, 1)
    scores = [
        f1_score(
            labels,
            decide(probability, multilabel=True, thresholds=tune_thresholds(k, labels, probability)),
            average="macro",
        )
        for k in ("half", "global", "per_label")
    ]
    assert scores[0] < scores[1] < scores[2]


def test_one_global_threshold_is_given_to_every_label():
    labels, probability = np.array([[1, 0], [0, 1], [0, 0]]), np.array([[0.3, 0.1], [0.1, 0.3], [0.1, 0.1]])
    cuts = tune_thresholds("global", labels, probability)
    assert cuts.shape == (2,) and cuts[0] == cuts[1] == best_global_threshold(labels, probability) == 0.3
    assert tune_thresholds("half", labels, probability).tolist() == [0.5, 0.5]


def test_no_label_at_all_keeps_half():
    nothing = np.zeros((3, 2), dtype=int)
    for kind in ("half", "global", "per_label"):
        assert tune_thresholds(kind, nothing, np.full((3, 2), 0.7)).tolist() == [0.5, 0.5]


def test_float_labels_are_labels():
    cuts = tune_thresholds("per_label", np.array([[1.0], [0.0]], dtype=np.float32), np.array([[0.3], [0.1]]))
    assert cuts == pytest.approx([0.2])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="'best' is unknown: use one of half, global, per_label"):
        tune_thresholds("best", np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="do not belong together"):
        tune_thresholds("half", np.zeros((2, 2)), np.zeros((3, 2)))


def test_optimism_is_measured_on_halves_and_grows_with_what_is_tuned():
    generator = np.random.default_rng(0)
    labels = (generator.random((120, 6)) < 0.15).astype(int)
    table = measure_optimism(labels, generator.random((120, 6)), repeats=20)  # nothing to learn: all gain is luck
    gap = table["tuned on"] - table["fresh"]
    assert list(table.index) == ["half", "global", "per_label"]
    assert abs(gap["half"]) < 0.03 < gap["per_label"]
    assert gap["per_label"] > gap["global"]
