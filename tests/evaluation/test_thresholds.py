import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from helpers.evaluation.metrics import decide
from helpers.evaluation.thresholds import (
    KINDS,
    WIDTH,
    best_global_threshold,
    best_label_threshold,
    compare_kinds,
    cross_fit,
    judge_probabilities,
    measure_optimism,
    smooth_label_threshold,
    tune_thresholds,
)


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
    for kind in KINDS:
        assert tune_thresholds(kind, nothing, np.full((3, 2), 0.7)).tolist() == [0.5, 0.5]


def test_a_smoothed_curve_prefers_good_neighbours_to_one_lucky_text():
    scores = np.array([0.92, 0.5, 0.48, *np.linspace(0.6, 0.91, 8), 0.01])
    labels = np.array([1, 1, 1, *[0] * 9])  # F1: 2/4 for the first text alone, but 6/14 for all cuts from 0.02 to 0.48
    assert best_label_threshold(labels, scores) > 0.9
    assert smooth_label_threshold(labels, scores) < 0.48


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_a_smoothed_threshold_is_the_best_of_a_smoothed_curve(rows):
    labels, scores = column(*rows)
    grid = np.arange(2, 99) / 100
    f1 = [2 * labels[scores >= cut].sum() / max(1, (scores >= cut).sum() + labels.sum()) for cut in grid]
    place = np.log(grid / (1 - grid))
    curve = [np.average(f1, weights=np.exp(-0.5 * ((place - at) / WIDTH) ** 2)) for at in place]
    cut = smooth_label_threshold(labels, scores)
    assert cut == 0.5 if not labels.any() else curve[np.flatnonzero(grid == cut)[0]] == pytest.approx(max(curve))


def test_float_labels_are_labels():
    cuts = tune_thresholds("per_label", np.array([[1.0], [0.0]], dtype=np.float32), np.array([[0.3], [0.1]]))
    assert cuts == pytest.approx([0.2])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="'best' is unknown: use one of half, global, per_label, smooth"):
        tune_thresholds("best", np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="do not belong together"):
        tune_thresholds("half", np.zeros((2, 2)), np.zeros((3, 2)))


def test_optimism_is_measured_on_halves_and_grows_with_what_is_tuned():
    generator = np.random.default_rng(0)
    labels = (generator.random((120, 6)) < 0.15).astype(int)
    table = measure_optimism(labels, generator.random((120, 6)), repeats=20)  # nothing to learn: all gain is luck
    gap = table["tuned on"] - table["fresh"]
    assert list(table.index) == list(KINDS)
    assert abs(gap["half"]) < 0.03 < gap["per_label"]
    assert gap["per_label"] > gap["global"] and gap["per_label"] > gap["smooth"]


def draw_noise(rows=120, labels=6):
    """Return labels and probabilities that have nothing to do with each other: whatever tuning gains on them is luck."""
    generator = np.random.default_rng(0)
    return (generator.random((rows, labels)) < 0.15).astype(int), generator.random((rows, labels))


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_has_a_say_in_what_calls_it(kind):
    labels, probability = draw_noise(40, 3)
    before = cross_fit(kind, labels, probability, parts=5)
    for row in range(len(labels)):
        other = labels.copy()
        other[row] = 1 - other[row]
        assert (cross_fit(kind, other, probability, parts=5)[row] == before[row]).all()


def test_each_part_is_called_by_the_thresholds_of_the_others():
    labels, probability = draw_noise(40, 3)
    part = np.random.default_rng(7).permutation(40) % 4
    called = cross_fit("per_label", labels, probability, parts=4, seed=7)
    for k in range(4):
        cuts = tune_thresholds("per_label", labels[part != k], probability[part != k])
        assert (called[part == k] == (probability[part == k] >= cuts)).all()


def test_what_is_chosen_in_sample_promises_more_than_cross_fitting_the_more_freely_the_more():
    labels, probability = draw_noise()
    table = compare_kinds(labels, probability)
    gap = table["in-sample"] - table["cross-fitted"]
    assert list(table.index) == list(KINDS) and list(table) == ["in-sample", "cross-fitted", "sd"]
    assert gap["half"] == pytest.approx(0) and table.loc["half", "sd"] == pytest.approx(0)
    assert gap["per_label"] > gap["global"] > -0.02 and gap["per_label"] > 0.03


def test_fresh_rows_are_scored_by_the_thresholds_of_all_the_others():
    labels, probability = draw_noise()
    fresh = draw_noise(50)
    table = compare_kinds(labels, probability, fresh=fresh)
    for kind in KINDS:
        calls = fresh[1] >= tune_thresholds(kind, labels, probability)
        assert table.loc[kind, "test"] == pytest.approx(f1_score(fresh[0], calls, average="macro", zero_division=0))


def test_probabilities_are_judged_with_and_without_a_threshold():
    labels, probability = draw_noise()
    table = judge_probabilities(
        labels, {"noise": probability, "truth": 0.2 + 0.6 * labels, "timid": 0.1 + 0.3 * labels}
    )
    assert table.loc["truth", "F1 at 0.5"] == table.loc["truth", "F1, one cut"] == 1
    assert table.loc["timid", "F1 at 0.5"] == 0 and table.loc["timid", "F1, one cut"] == 1
    assert table.loc["timid", "average precision"] == pytest.approx(1) and table.loc["timid", "yes per text"] == 0
    assert table.loc["truth", "yes per text"] == pytest.approx(labels.sum(axis=1).mean())
    assert table.loc["noise", "average precision"] < 0.4
