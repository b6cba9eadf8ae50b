"""A classifier as an ONNX file: the same answers without PyTorch, whatever the architecture; and what int8 changes."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny import FAMILIES, FP32, LABELS, build_model, make_tokenizer, toy_data, toy_texts

from helpers.deploy import OnnxPredictor, Predictor, load_predictor
from helpers.deploy.export import TOLERANCE, compare_predictors, export_onnx, quantise
from helpers.deploy.onnx_predictor import SMALL, WHOLE
from helpers.exceptions import AssetError, SettingError
from helpers.files import ROOT
from helpers.models import load_classifier, save
from helpers.training import TrainingConfig, fit

TEXTS = toy_texts()[0]


def train_and_export(folder, family="bert", *, pooling="auto", method="full", int8=False, **settings):
    """Write a run whose model has learnt the toy data, and its export; return both folders."""
    classifier = load_classifier(
        str(build_model(family, folder / "pretrained")), LABELS, pooling=pooling, method=method
    )
    fit(classifier, *toy_data(), TrainingConfig(epochs=8, learning_rate=5e-3, batch_size=16), device=FP32)
    save(classifier, make_tokenizer(), folder / "run/model", max_length=16, **settings)
    export_onnx(folder / "run", folder / "export", int8=int8, texts=TEXTS)
    return folder / "run", folder / "export"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """10 s."""
    return train_and_export(tmp_path_factory.mktemp("export"), int8=True, temperature=2.0)


@pytest.fixture(scope="module")
def predictors(places):
    return Predictor.load(places[0], device=FP32), OnnxPredictor.load(places[1])


def test_the_file_answers_as_the_model_does(predictors):
    ours, theirs = (each.predict(TEXTS) for each in predictors)
    assert [one.label for one in ours] == [one.label for one in theirs]
    assert [one.labels for one in ours] == [(one.label,) for one in theirs]
    assert [one.truncated for one in ours] == [one.truncated for one in theirs]
    assert len({one.label for one in ours}) == 3 and any(one.truncated for one in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


@pytest.mark.parametrize("name", ["label_names", "multilabel", "max_length"])
def test_the_file_knows_what_the_model_knows(name, predictors):
    assert getattr(predictors[0], name) == getattr(predictors[1], name)


def test_any_number_of_texts_of_any_length_fits(predictors):
    texts = ["glad1", *TEXTS, "word1 " * 500] * 3
    assert compare_predictors(*predictors, texts).largest < 1e-6
    assert predictors[1].predict([]) == []


@pytest.mark.parametrize("text", ["", " \n", None, 7, "half \ud83d an emoji"], ids=ascii)
def test_no_text_is_refused_as_the_predictor_refuses_it(text, predictors):
    for predictor in predictors:
        with pytest.raises(SettingError, match=r"Text 2 of 2 (is|holds half a character)"):
            predictor.predict(["glad1", text])


@pytest.mark.parametrize(
    "family, pooling", [("bert", "mean"),  *[
        pytest.param(family, "auto", marks=pytest.mark.long) for family in (*FAMILIES, "gemma2") if family[-4:] != "bert"
    ], pytest.param("distilbert", "auto", marks=pytest.mark.long)],
)  # fmt: skip
def test_every_architecture_answers_the_same(family, pooling, tmp_path):
    """5 to 10 s each."""
    run, folder = train_and_export(tmp_path, family, pooling=pooling)
    found = compare_predictors(Predictor.load(run, device=FP32), OnnxPredictor.load(folder), TEXTS)
    assert found.largest < 1e-5 and found.changed == 0


def test_several_labels_keep_their_thresholds(tmp_path):
    classifier = load_classifier(str(build_model("bert", tmp_path / "pretrained")), LABELS, multilabel=True)
    plain = Predictor(classifier, make_tokenizer(), {"max_length": 16}, device=FP32)
    cuts = np.median(plain.predict_probabilities(TEXTS), axis=0)  # each label true of half of the texts
    save(classifier, make_tokenizer(), tmp_path / "model", max_length=16, thresholds=cuts)
    agreement = export_onnx(tmp_path / "model", tmp_path / "export", texts=TEXTS)
    assert agreement.largest < 1e-6
    ours, theirs = Predictor.load(tmp_path / "model", device=FP32), OnnxPredictor.load(tmp_path / "export")
    sure = np.abs(ours.predict_probabilities(TEXTS) - cuts).min(axis=1) > 1e-6  # the median is one text's own value
    found = [(one.label, one.labels) for one, is_sure in zip(theirs.predict(TEXTS), sure, strict=True) if is_sure]
    assert found == [(o.label, o.labels) for o, is_sure in zip(ours.predict(TEXTS), sure, strict=True) if is_sure]
    assert len(set(found)) > 2


def test_an_adapter_is_merged(tmp_path):
    run, folder = train_and_export(tmp_path, "llama", method="lora")
    assert (run / "model/adapter_config.json").exists()
    assert compare_predictors(Predictor.load(run, device=FP32), OnnxPredictor.load(folder), TEXTS).largest < 1e-5


def test_the_folder_is_laid_out_as_transformers_js_wants_it(places):
    files = {str(path.relative_to(places[1])) for path in places[1].rglob("*") if path.is_file()}
    assert files == {"config.json", "tokenizer.json", "tokenizer_config.json", WHOLE, SMALL}
    config = json.loads((places[1] / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertForSequenceClassification"])
    assert list(config["id2label"].values()) == LABELS
    assert json.loads((places[1] / "tokenizer_config.json").read_text())["model_max_length"] == 16


def test_an_export_runs_without_pytorch(places):
    code = (
        "import sys; from helpers.deploy import load_predictor\n"
        f"print(load_predictor({str(places[1])!r}).predict_one('glad1 glad2').label)\n"
        "print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("glad\nset()\n", "")


def test_a_predictor_is_chosen_by_what_the_folder_holds(places):
    assert [type(load_predictor(place)) for place in places] == [Predictor, OnnxPredictor]


def test_int8_is_smaller_and_nearly_the_same(places, predictors):
    whole, small = (places[1] / name for name in (WHOLE, SMALL))
    assert small.stat().st_size < 0.8 * whole.stat().st_size  # in so small a model most bytes are no weights
    found = compare_predictors(predictors[1], OnnxPredictor.load(places[1], int8=True), TEXTS)
    assert 0 < found.largest < 0.2


def test_an_int8_answer_depends_on_no_other_text(places):
    """It would: the scale of the numbers between layers is that of the batch."""
    predictor = OnnxPredictor.load(places[1], int8=True)
    alone = np.concatenate([predictor.predict_probabilities([text]) for text in TEXTS])
    assert np.array_equal(predictor.predict_probabilities(TEXTS), alone)
    predictor.batch_size = 64
    assert np.abs(predictor.predict_probabilities(TEXTS) - alone).max() > 1e-6


@pytest.mark.parametrize("int8, name", [(False, WHOLE), (True, SMALL), (None, WHOLE)])
def test_a_folder_without_the_file_is_refused(int8, name, tmp_path):
    with pytest.raises(AssetError, match=f"holds no {name}: write one by `python -m helpers export"):
        OnnxPredictor.load(tmp_path, int8=int8)


@pytest.mark.parametrize("name", [WHOLE, "tokenizer.json", "config.json"])
def test_a_damaged_export_is_refused_in_a_sentence(name, places, tmp_path):
    shutil.copytree(places[1], tmp_path / "copy")
    (tmp_path / "copy" / name).write_bytes(b"\x08\x00 nonsense")
    with pytest.raises(AssetError, match="is not a whole export"):
        OnnxPredictor.load(tmp_path / "copy")


@pytest.mark.parametrize("change, says", [
    ({"id2label": {"0": "a"}}, "config.json has other labels than the model: export it again"),
    ({"id2label": {"0": "a", "2": "b", "3": "c"}}, "id2label must number the labels"),
    ({"thresholds": [0.5]}, "thresholds are 1 for 3 labels"), ({"text_max_length": "x"}, "text_max_length is 'x'"),
    ({"text_max_length": None}, "is not a whole export"), ({"id2label": None}, "is not a whole export"),
], ids=str)  # fmt: skip
def test_an_export_whose_config_was_changed_by_hand_is_refused(change, says, places, tmp_path):
    copy = shutil.copytree(places[1], tmp_path / "copy")
    (copy / "config.json").write_text(json.dumps(json.loads((copy / "config.json").read_text()) | change))
    with pytest.raises(AssetError, match=says):
        OnnxPredictor.load(copy)


@pytest.mark.parametrize("inside", [False, True], ids=["a folder", "a folder with an onnx folder"])
def test_a_folder_with_other_things_is_not_replaced(inside, places, tmp_path):
    (tmp_path / "onnx" if inside else tmp_path).mkdir(exist_ok=True)
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(SettingError, match=r"holds other things \(letters.txt\)"):
        export_onnx(places[0], tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_an_export_replaces_an_earlier_one_never_the_model_itself(places, tmp_path):
    shutil.copytree(places[1], tmp_path / "export")
    export_onnx(places[0], tmp_path / "export", texts=TEXTS[:3])
    assert not (tmp_path / "export" / SMALL).exists()
    shutil.copytree(places[0] / "model", tmp_path / "model")
    (tmp_path / "model/onnx").mkdir()  # as repositories of the Hub have one
    with pytest.raises(SettingError, match=r"holds other things \(model.safetensors\)"):
        export_onnx(tmp_path / "model", tmp_path / "model")


def test_an_export_whose_answers_differ_is_not_kept(places, tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.deploy.export.TOLERANCE", -1.0)
    with pytest.raises(AssetError, match="answers differently"):
        export_onnx(places[0], tmp_path / "new")
    assert not (tmp_path / "new").exists() and TOLERANCE == 1e-4


def test_quantising_again_gives_the_same_file(places, tmp_path):
    again = quantise(places[1] / WHOLE, tmp_path / "small.onnx")
    assert again.read_bytes() == (places[1] / SMALL).read_bytes()
    coarse = quantise(places[1] / WHOLE, tmp_path / "coarse.onnx", per_channel=False, reduce_range=False)
    assert coarse.read_bytes() != again.read_bytes()
