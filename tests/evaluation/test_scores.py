import subprocess
import sys

import numpy as np
import pytest

from helpers.evaluation import bootstrap_intervals, compute_metrics, compute_multilabel_metrics, score, score_table
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
