import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from tiny import ARCHITECTURES, BF16, FP32, LABELS, build_models, toy_data
from torch import nn

from helpers.evaluation.intervals import bootstrap_intervals
from helpers.evaluation.metrics import (
    compute_metrics,
    confusion_counts,
    decide,
    fast_score,
    mean_loss,
    per_class_table,
    probabilities,
)
from helpers.models.batches import collate, cut_by_tokens
from helpers.models.classifier import final_layer
from helpers.models.predict import evaluation_mode, predict_logits
from helpers.models.pretrained import load_classifier

AVERAGES = ("macro", "micro", "weighted")
METRICS = ("accuracy", "f1_macro", "f1_micro", "f1_weighted")
NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"), dropout=0.1)


def random_case(seed, *, multilabel, rows=50):
    """Return labels and predictions that agree more often than not."""
    generator = np.random.default_rng(seed)
    shape, top = ((rows, len(NAMES)), 2) if multilabel else (rows, len(NAMES))
    labels = generator.integers(0, top, shape)
    return labels, np.where(generator.random(shape) < 0.7, labels, generator.integers(0, top, shape))


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_compute_metrics_equals_scikit_learn(seed, multilabel):
    labels, predictions = random_case(seed, multilabel=multilabel)
    metrics = compute_metrics(labels, predictions, NAMES)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    for average in AVERAGES:
        for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            assert metrics[f"{name}_{average}"] == pytest.approx(score(labels, predictions, average=average))


def test_compute_metrics_equals_counting_by_hand():
    labels, predictions = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    metrics = compute_metrics(labels, predictions, ["a", "b", "c"])
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["f1_macro"] == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)
    assert metrics["f1_weighted"] == pytest.approx((3 * 4 / 5 + 2 * 2 / 4 + 1 * 2 / 3) / 6)
    assert metrics["per_class"]["a"] == pytest.approx({"precision": 1, "recall": 2 / 3, "f1": 4 / 5, "support": 3})


def test_multilabel_accuracy_wants_every_label_of_a_row_right():
    labels = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    metrics = compute_metrics(labels, np.array([[1, 0], [1, 0], [0, 0]]), ["a", "b"])
    assert metrics["accuracy"] == pytest.approx(2 / 3)


def test_a_label_that_is_never_predicted_counts_zero_in_macro_f1():
    labels, predictions = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1])
    metrics = compute_metrics(labels, predictions, ["a", "b", "c"])
    assert metrics["f1_macro"] == pytest.approx((1 + 4 / 5 + 0) / 3)
    assert metrics["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


@pytest.mark.parametrize("multilabel", [False, True])
def test_an_empty_class_is_reported_with_support_zero_and_without_a_warning(multilabel):
    labels = np.array([0, 0, 1, 1])
    if multilabel:
        labels = np.eye(3, dtype=np.float32)[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = compute_metrics(labels, labels.astype(np.int64), ["a", "b", "empty"])
    assert metrics["per_class"]["empty"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert metrics["f1_macro"] == pytest.approx(2 / 3 if multilabel else 1)
    assert metrics["f1_micro"] == metrics["accuracy"] == 1


def test_metrics_are_plain_python_numbers():
    metrics = compute_metrics(*random_case(0, multilabel=False), NAMES)
    per_class = metrics.pop("per_class")
    assert {type(value) for value in metrics.values()} == {float}
    assert {type(value) for row in per_class.values() for value in row.values()} == {float, int}


def test_per_class_table_has_a_row_per_label():
    labels, predictions = random_case(0, multilabel=False)
    table = per_class_table(compute_metrics(labels, predictions, NAMES))
    assert list(table.index) == NAMES
    assert list(table.columns) == ["precision", "recall", "f1", "support"]
    assert table["support"].tolist() == np.bincount(labels, minlength=4).tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_predictions_do_not_depend_on_how_rows_are_batched(models, architecture):
    classifier = load_classifier(str(models[architecture]), LABELS, pooling="mean", device=FP32)
    train, _ = toy_data()
    whole = predict_logits(classifier, train, max_tokens=10**6)
    torch.testing.assert_close(predict_logits(classifier, train, max_tokens=40), whole, atol=1e-5, rtol=0)
    assert len(np.unique(whole.round(4), axis=0)) == len(train), "rows that look alike would hide a wrong order"
    for row in (0, 7, 44):
        batch = collate(train, [row])
        with torch.inference_mode():
            alone = classifier.eval()(batch["input_ids"], batch["attention_mask"]).logits[0].numpy()
        np.testing.assert_allclose(whole[row], alone, atol=1e-5)


def test_metrics_over_unequal_batches_are_not_means_of_batches(models):
    classifier = load_classifier(str(models["bert"]), LABELS, device=FP32, seed=1)
    train, _ = toy_data()
    predictions = decide(predict_logits(classifier, train, max_tokens=70), multilabel=False)
    batches = cut_by_tokens(np.arange(len(train)), train.lengths, 70)
    hits = predictions == train.labels
    metrics = compute_metrics(train.labels, predictions, LABELS)
    assert metrics["accuracy"] == pytest.approx(hits.mean())
    assert abs(np.mean([hits[rows].mean() for rows in batches]) - hits.mean()) > 0.01, "this case could not tell"


@pytest.mark.parametrize("training", [True, False])
def test_predict_logits_restores_the_mode_and_needs_no_labels(models, training):
    classifier = load_classifier(str(models["bert"]), LABELS).train(training)
    train, _ = toy_data()
    unlabelled = type(train)(train.input_ids, train.pad_id)
    logits = predict_logits(classifier, unlabelled)
    assert logits.shape == (len(train), len(LABELS))
    assert (logits.dtype, classifier.training) == (np.float32, training)
    np.testing.assert_array_equal(logits, predict_logits(classifier, train))


def test_predict_logits_computes_in_the_precision_of_the_device(models):
    classifier = load_classifier(str(models["bert"]), LABELS)
    seen = []
    final_layer(classifier).register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    exact, rough = (predict_logits(classifier, toy_data()[0], device) for device in (None, BF16))
    assert seen == [torch.float32, torch.bfloat16]
    assert rough.dtype == np.float32
    np.testing.assert_allclose(exact, rough, atol=0.05)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_restores_the_mode(training):
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2)).train(training)
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(1, 2)).requires_grad
    assert [module.training for module in model.modules()] == [training] * 3
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_restores_the_mode_after_an_exception(training):
    model = nn.Dropout().train(training)
    with pytest.raises(KeyError), evaluation_mode(model):
        raise KeyError
    assert model.training == training
    assert torch.is_grad_enabled()


def test_evaluation_mode_restores_each_module_on_its_own():
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    model[0].eval()  # a frozen part
    with evaluation_mode(model):
        pass
    assert [model.training, model[0].training, model[1].training] == [True, False, True]


@st.composite
def single_label_cases(draw):
    rows, size = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    case = arrays(np.int64, rows, elements=st.integers(0, size - 1))
    return draw(case), draw(case)


@st.composite
def multilabel_cases(draw):
    shape = (draw(st.integers(1, 12)), draw(st.integers(2, 4)))
    case = arrays(np.int64, shape, elements=st.integers(0, 1))
    return draw(case), draw(case)


def scikit_score(name, labels, predictions):
    if name == "accuracy":
        return accuracy_score(labels, predictions)
    return f1_score(labels, predictions, average=name.removeprefix("f1_"), zero_division=0)


steadily = settings(max_examples=80, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("name", METRICS)
@steadily
@given(case=single_label_cases())
def test_fast_score_equals_scikit_learn(name, case):
    assert fast_score(name, *case) == pytest.approx(scikit_score(name, *case))


@pytest.mark.parametrize("name", METRICS)
@steadily
@given(case=multilabel_cases())
def test_fast_score_equals_scikit_learn_for_several_labels(name, case):
    assert fast_score(name, *case) == pytest.approx(scikit_score(name, *case))


@pytest.mark.parametrize("name", METRICS)
@steadily
@given(case=st.one_of(single_label_cases(), multilabel_cases()))
def test_point_estimate_and_interval_are_of_the_same_metric(name, case):
    # single_label_cases often leave a label out of the truth, of the predictions, or of both
    names = NAMES[: case[0].shape[1]] if case[0].ndim == 2 else [*NAMES, "empty"]
    assert fast_score(name, *case) == pytest.approx(compute_metrics(*case, names)[name])


def test_fast_score_names_the_metrics_it_knows():
    with pytest.raises(ValueError, match=r"'auc': use accuracy, f1_macro, f1_micro or f1_weighted"):
        fast_score("auc", np.array([0, 1]), np.array([0, 1]))


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_intervals_contain_the_point_estimate(seed, multilabel):
    labels, predictions = random_case(seed, multilabel=multilabel, rows=200)
    point = compute_metrics(labels, predictions, NAMES)
    intervals = bootstrap_intervals(labels.astype(np.float32), predictions, METRICS, samples=300, seed=seed)
    assert tuple(intervals) == METRICS
    for name, (low, high) in intervals.items():
        assert 0 < low < point[name] < high < 1


@pytest.mark.parametrize("multilabel", [False, True])
def test_intervals_contain_the_point_estimate_when_a_class_is_empty(multilabel):
    labels, predictions = random_case(0, multilabel=multilabel, rows=200)
    if multilabel:
        labels, predictions = (np.pad(x, ((0, 0), (0, 1))) for x in (labels, predictions))
    point = compute_metrics(labels, predictions, [*NAMES, "empty"])["f1_macro"]
    low, high = bootstrap_intervals(labels, predictions, ("f1_macro",), samples=300)["f1_macro"]
    assert low < point < high


def test_intervals_depend_on_the_seed_alone():
    case = random_case(0, multilabel=False)
    first, again, other = (bootstrap_intervals(*case, samples=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("rows", [1, 2, 50])
@pytest.mark.parametrize("multilabel", [False, True])
def test_intervals_are_those_of_scipy(multilabel, rows):
    labels, predictions = random_case(3, multilabel=multilabel, rows=rows)
    numbers = np.arange(max(rows, 2)) % rows  # scipy wants two rows at least: a single one is given twice
    for name, found in bootstrap_intervals(labels, predictions, METRICS, samples=100, seed=7).items():
        theirs = bootstrap(
            (numbers,),
            lambda drawn, name=name: fast_score(name, labels[drawn], predictions[drawn]),
            n_resamples=100,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(7),
        )
        assert found == pytest.approx(tuple(np.quantile(theirs.bootstrap_distribution, [0.025, 0.975])), abs=1e-12)


@pytest.mark.parametrize(("rows", "p"), [(400, 0.9), (2000, 0.8)])
def test_the_interval_of_accuracy_is_as_wide_as_theory_says(rows, p):
    labels = np.zeros(rows, dtype=np.int64)
    predictions = (np.arange(rows) >= p * rows).astype(np.int64)
    low, high = bootstrap_intervals(labels, predictions, ("accuracy",))["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(p * (1 - p) / rows), rel=0.1)
    assert (low + high) / 2 == pytest.approx(p, abs=0.005)


@pytest.mark.parametrize("multilabel", [False, True])
def test_all_correct_gives_an_interval_of_no_width(multilabel):
    labels, _ = random_case(0, multilabel=multilabel, rows=200)
    assert bootstrap_intervals(labels, labels, METRICS, samples=50) == dict.fromkeys(METRICS, (1.0, 1.0))


def test_probabilities_sum_to_one_and_equal_torch():
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32) * 5
    result = probabilities(logits, multilabel=False)
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(result, torch.tensor(logits).softmax(1), atol=1e-6)
    np.testing.assert_allclose(probabilities(logits, multilabel=True), torch.tensor(logits).sigmoid(), atol=1e-6)


def huge_probabilities(multilabel):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return probabilities(np.array([[1000.0, 0.0, -1000.0]], dtype=np.float32), multilabel=multilabel).tolist()


def test_huge_logits_do_not_overflow_the_softmax():
    assert huge_probabilities(multilabel=False) == [[1.0, 0.0, 0.0]]


def test_huge_logits_do_not_overflow_the_sigmoid():
    assert huge_probabilities(multilabel=True) == [[1.0, 0.5, 0.0]]


def test_decide_takes_the_likeliest_label():
    assert decide(np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]), multilabel=False).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (0.5, [[0, 1, 1], [0, 0, 0]]),
        (0.25, [[0, 1, 1], [1, 1, 0]]),
        (np.array([0.1, 0.9, 0.5]), [[1, 0, 1], [1, 0, 0]]),
    ],
    ids=["half", "scalar", "per label"],
)
def test_decide_with_thresholds(thresholds, expected):
    probability = np.array([[0.2, 0.6, 0.5], [0.3, 0.4, 0.1]])
    assert decide(probability, multilabel=True, thresholds=thresholds).tolist() == expected


def test_decide_uses_one_half_by_default():
    assert decide(np.array([[0.5, 0.49]]), multilabel=True).tolist() == [[1, 0]]


def test_mean_loss_equals_torch():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(30, 4)).astype(np.float32)
    labels, several = generator.integers(0, 4, 30), generator.integers(0, 2, (30, 4)).astype(np.float32)
    functional = nn.functional
    one = functional.cross_entropy(torch.tensor(logits), torch.tensor(labels)).item()
    many = functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(several)).item()
    assert mean_loss(logits, labels) == pytest.approx(one)
    assert mean_loss(logits, several) == pytest.approx(many)
    assert mean_loss(logits, labels) == pytest.approx(
        -np.log(probabilities(logits, multilabel=False)[np.arange(30), labels]).mean(), rel=1e-5
    )


def test_confusion_counts_have_the_truth_in_rows():
    counts = confusion_counts(np.array([0, 0, 1, 2]), np.array([1, 1, 1, 0]), ["a", "b", "c", "empty"])
    assert (counts.index.name, counts.columns.name) == ("true", "predicted")
    assert counts.loc["a", "b"] == 2
    assert counts.loc["b", "a"] == 0
    assert counts.loc["c", "a"] == 1
    assert counts.loc["empty"].sum() == counts["empty"].sum() == 0
    assert counts.to_numpy().sum() == 4
