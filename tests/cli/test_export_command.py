"""`python -m helpers export` as a user meets it: what it writes, what it says, and what it refuses."""

import csv
import sys

import pytest
from tiny import FP32, LABELS, build_model, make_tokenizer, toy_texts

from helpers.cli import main
from helpers.cli.export import export_lines, read_test_texts
from helpers.deploy import OnnxPredictor, Predictor
from helpers.exceptions import DataError, SettingError
from helpers.models import load_classifier, save

TEXTS, TRUE = toy_texts(30)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run folder: a model that knows nothing, and its test texts."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    save(load_classifier(str(build_model("bert", folder / "pretrained")), LABELS), make_tokenizer(), folder / "model")
    with open(folder / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "true"), *zip(TEXTS, [LABELS[i] for i in TRUE], strict=True)])
    return folder


def test_export_says_what_it_wrote_and_what_int8_costs(run_folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["helpers", "export", "--run", str(run_folder), "--to", "onnx", "--int8"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert not exit_.value.code
    whole, small = capsys.readouterr().out.splitlines()
    assert whole.startswith(f"{run_folder}/export/onnx/model.onnx (0.4 MB): 0 of 30 texts get another label")
    ours = Predictor.load(run_folder, device=FP32)
    right = sum(p.label == LABELS[i] for p, i in zip(ours.predict(TEXTS), TRUE, strict=True)) / 30
    assert " of 30 texts get another label; accuracy 0." in small
    assert f"instead of {right:.3f} (paired test: p = " in small
    assert OnnxPredictor.load(run_folder / "export").label_names == LABELS


def test_a_run_without_test_texts_is_compared_on_a_few(run_folder, tmp_path):
    lines = list(export_lines(str(run_folder / "model"), "onnx", True, tmp_path / "out"))
    assert "0 of 3 texts" in lines[0] and "compare its answers on texts of yours" in lines[1]
    assert read_test_texts(str(run_folder / "model")) == ([], [])


def test_test_texts_that_were_left_out_or_damaged_are_no_fault_of_the_export(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text("true,predicted\njoy,joy\n")  # as `leaderboard --pack` writes it
    assert read_test_texts(str(tmp_path)) == ([], [])
    for damaged in (b"", "text,true\né,a\n".encode("latin-1")):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"predictions\.csv is no readable table: copy it again, or delete it"):
            read_test_texts(str(tmp_path))


@pytest.mark.parametrize(
    "to, model, says", [("tflite", ".", "--to tflite is unknown: use onnx or browser"), ("onnx", "me/x", "by --output")]
)
def test_what_cannot_work_is_said_before_any_work(to, model, says):
    with pytest.raises(SettingError, match=says):
        list(export_lines(model, to, False, None))
