import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import BF16, FP32, LABELS, build_model, make_tokenizer, tf32_is_on, toy_data, toy_texts

from helpers.deploy import latency
from helpers.deploy.latency import measure_folder_bytes, measure_latency, measure_throughput
from helpers.deploy.predictor import Predictor
from helpers.evaluation.metrics import probabilities
from helpers.exceptions import AssetError
from helpers.files import ROOT
from helpers.models.batches import encode_texts
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import save
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run folder with a model that has learnt the toy data."""
    folder = tmp_path_factory.mktemp("run")
    classifier = load_classifier(str(build_model("bert", folder / "pretrained")), LABELS, pooling="mean")
    fit(classifier, *toy_data(), TrainingConfig(epochs=12, learning_rate=5e-3, batch_size=16), device=FP32)
    save(classifier, make_tokenizer(), folder / "model", max_length=16)
    return folder


@pytest.fixture(scope="module")
def predictor(run_folder):
    return Predictor.load(run_folder, device=FP32)


def multilabel_predictor(tmp_path, **settings):
    classifier = load_classifier(str(build_model("bert", tmp_path / "pretrained")), LABELS, multilabel=True)
    return Predictor(classifier, make_tokenizer(), settings, device=FP32)


def test_a_run_folder_and_its_model_folder_give_the_same_predictor(run_folder, predictor):
    text = "glad1 word3 glad2"
    assert Predictor.load(run_folder / "model", device=FP32).predict_one(text) == predictor.predict_one(text)


def test_predictions_are_what_evaluation_computes(predictor):
    texts, _ = toy_texts()
    encoded = encode_texts(texts, make_tokenizer(), 16)
    expected = probabilities(predict_logits(predictor.classifier, encoded, FP32), multilabel=False)
    found = predictor.predict(texts)
    assert [p.text for p in found] == texts
    assert [p.label for p in found] == [LABELS[i] for i in expected.argmax(axis=1)]
    np.testing.assert_allclose([p.confidence for p in found], expected.max(axis=1))
    assert len({p.label for p in found}) == 3


def test_a_trained_model_is_right_about_its_own_words(predictor):
    for label in LABELS:
        assert predictor.predict_one(f"word1 {label}0 {label}1 {label}2").label == label


def test_one_text_gets_the_same_prediction_alone_and_among_others(predictor):
    texts, _ = toy_texts(9)
    for alone, among in zip(map(predictor.predict_one, texts), predictor.predict(texts), strict=True):
        assert alone.label == among.label
        assert alone.confidence == pytest.approx(among.confidence, abs=1e-5)


def test_probabilities_come_likeliest_first_and_add_up(predictor):
    prediction = predictor.predict_one("sour1 sour2")
    values = list(prediction.probabilities.values())
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)
    assert next(iter(prediction.probabilities.items())) == (prediction.label, prediction.confidence)


def test_truncation_is_noticed_text_by_text(predictor):
    fits, too_long = " ".join(["word1"] * 14), " ".join(["word1"] * 15)  # [CLS] and [SEP] count: 16 and 17
    assert [p.truncated for p in predictor.predict([fits, too_long, "glad1"])] == [False, True, False]


def test_a_text_that_fits_is_tokenised_once(predictor):
    calls = []

    class Counting:
        def __getattr__(self, name):
            return getattr(predictor.tokenizer, name)

        def __call__(self, texts, **options):
            calls.extend(texts)
            return predictor.tokenizer(texts, **options)

    counted = Predictor(predictor.classifier, Counting(), {"max_length": 16}, device=FP32)
    counted.predict(["glad1", "sour1 word2"])
    assert calls == ["glad1", "sour1 word2"]


def test_the_door_of_the_room_loads_no_datasets():
    code = "import sys, helpers.deploy; print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("text", ["", "  \n", None, 7])
def test_no_text_is_refused_by_its_place(predictor, text):
    with pytest.raises(ValueError, match="Text 2 of 2 is"):
        predictor.predict(["glad1", text])


def test_a_single_string_is_not_taken_for_a_list_of_letters(predictor):
    with pytest.raises(ValueError, match="use predict_one"):
        predictor.predict("glad1")


def test_no_texts_no_predictions(predictor):
    assert predictor.predict([]) == []


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(AssetError, match="holds no saved model"):
        Predictor.load(tmp_path)


def test_a_stored_temperature_softens_confidence_and_leaves_the_label(predictor):
    soft = Predictor(predictor.classifier, make_tokenizer(), {"max_length": 16, "temperature": 4.0}, device=FP32)
    texts, _ = toy_texts(12)
    for plain, softened in zip(predictor.predict(texts), soft.predict(texts), strict=True):
        assert plain.label == softened.label
        assert softened.confidence < plain.confidence


def test_stored_thresholds_decide_each_label(tmp_path):
    plain = multilabel_predictor(tmp_path)
    row = plain.predict_probabilities(["glad1 word1"])[0]
    assert plain.predict_one("glad1 word1").probabilities == pytest.approx(dict(zip(LABELS, row, strict=True)))
    thresholds = [row[0] + 0.01, row[1] - 0.01, row[2] - 0.01]
    chosen = Predictor(plain.classifier, plain.tokenizer, {"thresholds": thresholds}, device=FP32)
    prediction = chosen.predict_one("glad1 word1")
    assert prediction.label == "glad,sour"
    assert prediction.confidence == pytest.approx(min(1 - row[0], row[1], row[2]))


def test_no_label_over_its_threshold_is_called_none(tmp_path):
    assert multilabel_predictor(tmp_path, thresholds=[0.999] * 3).predict_one("glad1").label == "none"


def test_predicting_leaves_no_gradients_and_evaluation_mode(predictor):
    predictor.predict_one("glad1")
    assert not predictor.classifier.training
    assert all(parameter.grad is None for parameter in predictor.classifier.parameters())


def test_it_computes_in_fp32_unless_told_otherwise(run_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Predictor.load(run_folder).device.precision == "no"
    assert Predictor.load(run_folder, device=BF16).device.precision == "bf16"


def fake_clock(monkeypatch):
    """Let time stand still, except where a function under test advances it."""
    clock = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock[0])
    return clock


def test_warm_up_and_hiccups_stay_out_of_the_latency(monkeypatch):
    clock, calls = fake_clock(monkeypatch), []

    def predict(text):
        calls.append(text)
        clock[0] += 9.0 if len(calls) <= 2 or len(calls) == 4 else len(text) / 1000

    found = measure_latency(predict, ["a", "bb", "ccc"], warm_up=2, repeats=3)
    assert calls == ["a", "bb"] + ["a"] * 3 + ["bb"] * 3 + ["ccc"] * 3
    assert (found.p50_ms, found.texts, found.repeats) == (pytest.approx(2.0), 3, 3)
    assert found.p95_ms == pytest.approx(2.9)


def test_latency_of_a_real_predictor_is_a_time(predictor):
    start = time.perf_counter()
    found = measure_latency(predictor.predict_one, ["glad1", "sour1 word2"], repeats=2)
    assert 0 < found.p50_ms <= found.p95_ms < 1000 * (time.perf_counter() - start)


def test_latency_without_texts_is_refused(predictor):
    with pytest.raises(ValueError, match="at least one text"):
        measure_latency(predictor.predict_one, [])


def test_throughput_is_texts_by_the_median_time_after_a_warm_up(monkeypatch):
    clock, sizes = fake_clock(monkeypatch), []

    def predict(classifier, encoded, device):
        sizes.append(len(encoded))
        clock[0] += [100.0, 3.0, 50.0, 2.0][len(sizes) - 1]

    monkeypatch.setattr(latency, "predict_logits", predict)
    assert measure_throughput(None, toy_data()[0], warm_up=8) == pytest.approx(45 / 3.0)
    assert sizes == [8, 45, 45, 45]


def test_folder_bytes_counts_files_below_too(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "inside" / "b").write_bytes(b"123")
    assert measure_folder_bytes(tmp_path) == 8


def test_many_texts_run_in_tf32_on_a_gpu_and_few_in_full_precision(predictor, monkeypatch):
    seen = []

    def note(classifier, encoded, device):
        seen.append((device.kind, len(encoded), tf32_is_on()))
        return np.zeros((len(encoded), 3), dtype=np.float32)

    monkeypatch.setattr("helpers.deploy.predictor.predict_logits", note)
    for kind in ("cuda", "cpu"):
        monkeypatch.setattr(predictor, "device", replace(FP32, kind=kind))
        for texts in (33, 32):
            predictor.predict_probabilities(["glad1"] * texts)
            predictor.predict(["glad1"] * texts)
    assert len(seen) == 8 and [(kind, texts) for kind, texts, fast in seen if fast] == [("cuda", 33)] * 2
    assert not tf32_is_on()
