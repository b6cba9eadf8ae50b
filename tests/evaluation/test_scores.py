import subprocess
import sys

import numpy as np
import pytest

from helpers.evaluation import bootstrap_intervals, compute_metrics, compute_multilabel_metrics, score, score_table
from helpers.evaluation.scores import Scores, incorrect_table, predictions_table
from helpers.files import ROOT

NAMES = ["a", "b", "c"]
PROBABILITY = np.random.default_rng(0).dirichlet([1, 1, 1], size=40)


def test_one_label_per_text_is_scored_by_the_likeliest():
    labels = [0, 1, 2, 0] * 10  # a list, as datasets give it
    found = score(labels, PROBABILITY, NAMES, names=("accuracy", "f1_macro"), seed=4)
    predicted = PROBABILITY.argmax(axis=1)
    np.testing.assert_array_equal(found.predictions, predicted)
    assert found.metrics == compute_metrics(np.array(labels), predicted, NAMES)
    assert found.intervals == bootstrap_intervals(np.array(labels), predicted, seed=4)


@pytest.mark.parametrize("thresholds", [0.5, np.array([0.2, 0.3, 0.4])], ids=["half", "per label"])
def test_several_labels_per_text_are_scored_by_thresholds(thresholds):
    labels = (np.random.default_rng(1).random((40, 3)) < 0.3).astype(np.float32)
    found = score(labels, PROBABILITY, NAMES, thresholds=thresholds)
    predicted = (thresholds <= PROBABILITY).astype(int)
    np.testing.assert_array_equal(found.predictions, predicted)
    assert found.metrics == compute_multilabel_metrics(labels, predicted, PROBABILITY, NAMES)
    assert list(found.intervals) == ["accuracy", "f1_macro", "f1_micro", "f1_weighted"]


def test_a_table_of_scores_goes_metric_by_metric():
    labels = np.arange(40) % 3
    systems = {
        "counting words": score(labels, PROBABILITY, NAMES),
        "transformer": score(labels, np.eye(3)[labels], NAMES),
    }
    table = score_table(systems)
    assert list(table.columns) == ["value", "low", "high"]
    assert table.index.tolist() == [
        "accuracy · counting words", "accuracy · transformer", "macro F1 · counting words", "macro F1 · transformer",
    ]  # fmt: skip
    assert table.loc["macro F1 · transformer"].tolist() == [1, 1, 1]
    words = systems["counting words"]
    assert table.iloc[0].tolist() == [words.metrics["accuracy"], *words.intervals["accuracy"]]
    assert score_table(systems, ("f1_weighted",)).index[0] == "weighted F1 · counting words"


def test_the_room_knows_no_model():
    code = "import sys, helpers.evaluation; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def scores_of(labels, probability, predictions, names=("sad", "glad")) -> Scores:
    return Scores(np.array(labels), np.array(probability), np.array(predictions), list(names), {}, {})


def test_predictions_of_one_label_per_text():
    table = predictions_table(["a", "b"], scores_of([0, 0], [[0.9, 0.1], [0.4, 0.6]], [0, 1]))
    assert list(table) == ["text", "true", "predicted", "confidence", "sad", "glad"]
    assert table.values.tolist() == [["a", "sad", "sad", 0.9, 0.9, 0.1], ["b", "sad", "glad", 0.6, 0.4, 0.6]]


def test_predictions_of_several_labels_per_text():
    table = predictions_table(
        ["a", "b"], scores_of([[1.0, 0.0], [0.0, 0.0]], [[0.9, 0.7], [0.2, 0.4]], [[1, 1], [0, 0]])
    )
    assert table["true"].tolist() == ["sad", ""]
    assert table["predicted"].tolist() == ["sad,glad", ""]
    assert table["confidence"].tolist() == pytest.approx([0.7, 0.6])
    assert table["glad"].tolist() == [0.7, 0.4]


def test_a_label_called_true_does_not_overwrite_the_truth():
    scores = scores_of([0, 1], [[0.9, 0.1], [0.4, 0.6]], [0, 1], names=("false", "true"))
    assert predictions_table(["a", "b"], scores).iloc[:, 1].tolist() == ["false", "true"]
    assert "p(true)" in incorrect_table(["a", "b"], scores)


def test_incorrect_predictions_stand_in_the_order_of_their_loss():
    probability = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]]
    table = incorrect_table(list("abcd"), scores_of([0, 0, 0, 1], probability, [0, 1, 1, 1]))
    assert list(table) == ["text", "actual", "predicted", "confidence", "p(sad)", "p(glad)", "loss"]
    assert table["text"].tolist() == ["c", "b"] and table.index.tolist() == [2, 1]
    assert table.loc[2].tolist() == ["c", "sad", "glad", 0.8, 0.2, 0.8, pytest.approx(-np.log(0.2))]


def test_of_several_labels_one_wrong_one_makes_a_text_wrong():
    labels, predictions = [[1, 0], [0, 0], [1, 1]], [[1, 1], [0, 0], [0, 0]]
    table = incorrect_table(list("abc"), scores_of(labels, [[0.9, 0.7], [0.2, 0.4], [0.1, 0.2]], predictions))
    assert table["text"].tolist() == ["c", "a"]
    assert table["actual"].tolist() == ["sad,glad", "sad"] and table["predicted"].tolist() == ["", "sad,glad"]
    assert table.loc[0, "loss"] == pytest.approx(-(np.log(0.9) + np.log(0.3)) / 2)


def test_without_an_error_the_table_of_incorrect_predictions_has_columns_and_no_row():
    table = incorrect_table(["a"], scores_of([0], [[0.9, 0.1]], [0]))
    assert len(table) == 0 and "loss" in table
