import numpy as np
import pytest
import torch
from tiny import FP32, LABELS, build_model, toy_data

from helpers.data import load_data
from helpers.exceptions import DataError, SettingError
from helpers.models.batches import EncodedTexts
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.training.config import TrainingConfig
from helpers.training.folds import cross_validate, fold_table, make_folds, take_fold
from helpers.training.loop import fit

NAMES = ["often", "sometimes", "rarely"]


def corpus(rows=400, seed=0):
    labels = (np.random.default_rng(seed).random((rows, 3)) < [0.5, 0.2, 0.05]).astype(int)
    return [f"text {i}" for i in range(rows)], labels


@pytest.fixture(scope="module")
def folds():
    return make_folds(*corpus(), NAMES, folds=5)


def test_every_row_is_scored_once(folds):
    assert sorted(np.concatenate([fold.scored for fold in folds])) == list(range(400))


def test_the_parts_of_a_fold_share_no_row_and_hold_them_all(folds):
    for fold in folds:
        together = np.concatenate([fold.train, fold.tuning, fold.scored])
        assert sorted(together) == list(range(400))
        assert len(fold.tuning) == pytest.approx(0.15 * 320, abs=4)


def test_label_ratios_are_kept(folds):
    _, labels = corpus()
    table = fold_table(labels, folds, NAMES)
    assert (table - 100 * labels.mean(axis=0)).abs().max().max() < 2.5
    assert all(labels[part].any(axis=0).all() for fold in folds for part in (fold.train, fold.tuning, fold.scored))


def test_equal_texts_stay_together():
    texts, labels = corpus()
    texts, labels = texts + [text.upper() + "!" for text in texts[:150]], np.vstack([labels, labels[:150]])
    for fold in make_folds(texts, labels, NAMES, folds=3):
        for part in (fold.train, fold.tuning, fold.scored):
            assert {row + 400 for row in part if row < 150} == {row for row in part if row >= 400}


def test_the_seed_decides():
    rows = [make_folds(*corpus(), NAMES, seed=seed)[0].scored.tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_a_label_that_cannot_be_in_every_fold_is_named():
    texts, labels = corpus()
    labels[:, 2] = 0
    labels[:4, 2] = 1
    with pytest.raises(DataError, match="'rarely' occurs in 4 rows, too few for 5 folds"):
        make_folds(texts, labels, NAMES)
    assert len(make_folds(texts, labels, NAMES, folds=3)) == 3


@pytest.mark.parametrize("folds", [1, 0, 401])
def test_a_number_of_folds_that_makes_no_sense_is_refused(folds):
    with pytest.raises(ValueError, match=f"folds={folds}"):
        make_folds(*corpus(), NAMES, folds=folds)


def test_thresholds_come_from_the_tuning_rows_alone(folds):
    """The tuning rows say 0.2 is yes; on the scored rows this is always wrong. Looking at them would score 1."""
    _, labels = corpus()
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731

    def predict(fold):
        honest = np.where(labels[fold.tuning], logit(0.3), logit(0.1))
        reverse = np.where(labels[fold.scored], logit(0.1), logit(0.3))
        return honest, reverse

    scores, logits = cross_validate(predict, labels, folds)
    assert (scores["per_label"] == 0).all()
    assert (scores["half"] == 0).all() and list(scores.index) == [1, 2, 3, 4, 5]
    assert not np.isnan(logits).any()


def test_a_label_missing_from_a_scored_fold_counts_as_zero():
    labels = np.array([[1, 1], [1, 1], [0, 1], [1, 0], [0, 0], [1, 0]])
    from helpers.training.folds import Fold

    parts = [Fold(0, np.arange(2), np.arange(2), np.arange(3, 6)), Fold(1, np.arange(2), np.arange(2), np.arange(3))]
    perfect = lambda fold: (labels[fold.tuning] * 10.0 - 5, labels[fold.scored] * 10.0 - 5)  # noqa: E731
    scores, _ = cross_validate(perfect, labels, parts)
    assert scores["half"].tolist() == [0.5, 1.0]


def test_every_fold_is_trained_from_the_same_start(tmp_path):
    folder = build_model("bert", tmp_path / "bert")
    train, _ = toy_data(multilabel=True)
    labels, starts, ends = train.labels, [], []
    take = lambda rows: EncodedTexts([train.input_ids[i] for i in rows], train.pad_id, labels[rows])  # noqa: E731

    def train_and_predict(fold):
        classifier = load_classifier(str(folder), LABELS, multilabel=True, device=FP32)
        starts.append(torch.cat([p.detach().flatten() for p in classifier.parameters()]))
        config = TrainingConfig(epochs=1, learning_rate=1e-3, batch_size=9)
        fit(classifier, take(fold.train), take(fold.tuning), config, device=FP32)
        ends.append(torch.cat([p.detach().flatten() for p in classifier.parameters()]))
        return tuple(predict_logits(classifier, take(rows)) for rows in (fold.tuning, fold.scored))

    texts = [str(ids) for ids in train.input_ids]
    scores, logits = cross_validate(train_and_predict, labels, make_folds(texts, labels, LABELS, folds=3))
    assert torch.equal(starts[0], starts[1]) and torch.equal(starts[0], starts[2])
    assert not torch.equal(ends[0], ends[1]), "each fold trains on other rows"
    assert len(scores) == 3 and not np.isnan(logits).any()


def test_the_folds_of_a_corpus_leave_its_test_split_alone():
    whole = load_data("moments", label_column=["anger", "joy", "sadness"])
    folds = [take_fold(whole, number, 4) for number in (1, 2, 3, 4)]
    pooled = [*whole.splits["train"]["text"], *whole.splits["validation"]["text"]]
    assert sorted(text for fold in folds for text in fold.splits["test"]["text"]) == sorted(pooled)
    for number, fold in enumerate(folds, start=1):
        held = [text for part in fold.splits.values() for text in part["text"]]
        assert sorted(held) == sorted(pooled)
        assert f"Fold {number} of 4" in fold.notes[-1] and fold.label_names == whole.label_names
    assert take_fold(whole, None) is whole


def test_the_folds_of_one_label_per_text_keep_the_labels_ratios():
    whole = load_data("moments", label_column="emotion")
    fold = take_fold(whole, 1, 5)
    shares = [np.bincount(corpus.splits[part]["label"]) / len(corpus.splits[part]["label"])
              for corpus, part in ((whole, "train"), (fold, "test"))]  # fmt: skip
    assert np.abs(shares[0] - shares[1]).max() < 0.02


@pytest.mark.parametrize("number", [0, 6])
def test_a_fold_that_does_not_exist_is_refused(number):
    whole = load_data("moments", label_column="emotion")
    with pytest.raises(SettingError, match=f"fold={number}: with folds=5 it must be a whole number from 1 to 5"):
        take_fold(whole, number, 5)
