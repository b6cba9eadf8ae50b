"""The end of a notebook in one call: what `course.finish` leaves in the run's folder, and what it says."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from helpers.course import choose, finish
from helpers.data.corpus import LoadedData
from helpers.evaluation import score
from helpers.files import ROOT, read_json
from helpers.runs import open_run_folder
from helpers.training.config import TrainingConfig, TrainingResult

LABELS = ["sad", "glad"]
TEXTS = ["a", "b, c", "d", "e"]


def make_corpus(labels, name: str = "label") -> LoadedData:
    rows = Dataset.from_dict({"text": TEXTS, name: labels})
    return LoadedData(DatasetDict(train=rows, validation=rows, test=rows), LABELS, name == "labels", [])


PROBABILITY = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
CORPUS, SCORES = make_corpus([0, 1, 0, 1]), score([0, 1, 0, 1], PROBABILITY, LABELS)


def make_result(**settings) -> TrainingResult:
    config = TrainingConfig(**{"epochs": 2, "learning_rate": 1e-3, "batch_size": 4} | settings)
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.6], "loss": [0.7, 0.65], "accuracy": [0.5, 0.75]})
    history["f1_macro"] = history["accuracy"]
    parameters = SimpleNamespace(total=10, trainable=4)
    return TrainingResult(config, history, [0.7, 0.6], 2, False, 1.5, 5.0, parameters, 1000)


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """What `choose` returns in notebook 01, with a trained model in the run's folder."""
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    found = choose("01_modernbert_tutorial", {"profile": "laptop", "seed": 3, "precision": "no"})
    (found.run_folder / "model").mkdir()
    (found.run_folder / "model" / "config.json").write_text("{}")
    return found


def recorded(chosen, *parts, **settings) -> dict:
    """Finish the run and return what it wrote."""
    assert finish(chosen, *parts, **settings) is None, "a notebook would show it"
    return read_json(chosen.run_folder / "metrics.json")


def names_in(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {".lock"}


def test_record_history_predictions_and_curves_are_written(chosen):
    record = recorded(chosen, CORPUS, SCORES, method="full fine-tuning", result=make_result())
    assert names_in(chosen.run_folder) == {
        "parameters.json", "metrics.json", "history.csv", "predictions.csv", "incorrect_predictions.csv",
        "figures/history.png", "model/config.json",
    }  # fmt: skip
    assert json.loads((chosen.run_folder / "metrics.json").read_text()) == json.loads(json.dumps(record))
    said = {"notebook": "01_modernbert_tutorial", "model": "all-MiniLM-L6-v2", "dataset": "moments", "seed": 3}
    said |= {"method": "full fine-tuning", "precision": "no", "epochs": 2, "learning_rate": 1e-3, "batch_size": 4}
    said |= {"best_epoch": 2, "peak_memory_bytes": 1000, "parameters_trainable": 4, "accuracy": 0.75}
    assert {name: record[name] for name in said} == said
    assert record["sizes"] == {"train": 4, "validation": 4, "test": 4}
    assert len(pd.read_csv(chosen.run_folder / "history.csv")) == 2
    table = pd.read_csv(chosen.run_folder / "predictions.csv")
    assert table["text"].tolist() == TEXTS
    assert table["true"].tolist() == ["sad", "glad", "sad", "glad"]
    assert table["predicted"].tolist() == ["sad", "glad", "glad", "glad"]


def test_a_baseline_has_neither_history_nor_curves(chosen):
    chosen.revision = "0" * 40
    record = recorded(chosen, CORPUS, SCORES, model="counting-words", method="baseline")
    assert {"history.csv", "figures/history.png"}.isdisjoint(names_in(chosen.run_folder))
    assert record["model"] == "counting-words" and record["train_seconds"] is None
    assert record["revision"] is None, "the revision is that of the chosen model"
    assert recorded(chosen, CORPUS, SCORES, method="full", result=make_result())["revision"] == "0" * 40


def test_several_labels_per_text(chosen):
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    corpus = make_corpus(labels.astype(np.float32).tolist(), "labels")
    finish(chosen, corpus, score(labels, PROBABILITY, LABELS), method="lora", result=make_result())
    table = pd.read_csv(chosen.run_folder / "predictions.csv", keep_default_na=False)
    assert table["true"].tolist() == ["sad", "glad", "sad,glad", ""]


def test_every_run_leaves_its_wrong_predictions(chosen):
    """Whatever predicted them; notebook 03 hands over a table that knows more of each."""
    finish(chosen, CORPUS, SCORES, method="baseline")
    table = pd.read_csv(chosen.run_folder / "incorrect_predictions.csv")
    assert table[["text", "actual", "predicted"]].values.tolist() == [["d", "sad", "glad"]]
    finish(chosen, CORPUS, SCORES, method="full", wrong=table.assign(why="irony"))
    assert pd.read_csv(chosen.run_folder / "incorrect_predictions.csv")["why"].tolist() == ["irony"]


def test_a_notebook_adds_keys_and_replaces_some(chosen):
    result = make_result()
    record = recorded(chosen, CORPUS, SCORES, method="full", result=result, temperature=1.5, epochs=9, accuracy=0.25)
    assert (record["temperature"], record["epochs"], record["accuracy"]) == (1.5, 9, 0.25)
    assert json.loads((chosen.run_folder / "metrics.json").read_text())["accuracy"] == 0.25


@pytest.mark.parametrize(
    "save_model, push_to, kept", [(True, None, True), (False, None, False), (False, "me/mine", True)]
)
def test_the_model_goes_unless_it_is_wanted(chosen, save_model, push_to, kept):
    # What is to be published is uploaded after the record was written: it cannot go before that.
    chosen.save_model, chosen.push_to = save_model, push_to
    finish(chosen, CORPUS, SCORES, method="full", result=make_result())
    assert (chosen.run_folder / "model").exists() == kept
    assert (chosen.run_folder / "metrics.json").exists()


def test_a_notebook_without_these_parameters_keeps_its_model(chosen):
    del chosen.save_model
    finish(chosen, CORPUS, SCORES, method="full", result=make_result())
    assert (chosen.run_folder / "model").exists()


def test_the_card_is_printed(chosen, capsys):
    finish(chosen, CORPUS, SCORES, method="full", result=make_result())
    assert capsys.readouterr().out.startswith("Expected results exist for the notebook as it comes;")


def test_the_folder_is_given_up(chosen):
    """Another process asks for it, before and after. 2 s each."""
    code = f"from helpers.runs import open_run_folder as o; o({chosen.notebook!r}, {chosen.run_name!r})"
    asked = [sys.executable, "-c", code]
    before = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert before.returncode == 1 and "is in use by another run" in before.stderr
    finish(chosen, CORPUS, SCORES, method="full", result=make_result())
    assert subprocess.run(asked, cwd=ROOT, capture_output=True).returncode == 0
    open_run_folder(chosen.notebook, chosen.run_name)  # and it can be taken again here


@pytest.mark.parametrize("place", ["model/config.json", "checkpoint/best.safetensors", None])
def test_a_cell_that_fails_says_where_the_trained_weights_are(tmp_path, monkeypatch, place):
    """In a kernel, where a cell's output is what a learner sees."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat.v4 import new_code_cell, new_notebook

    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    trains = f"(chosen.run_folder / {place!r}).parent.mkdir(); (chosen.run_folder / {place!r}).write_text('')"
    cells = [
        "from helpers import course",
        'chosen = course.choose("01_modernbert_tutorial", {"profile": "laptop", "run_name": "kept"})',
        'chosen = course.choose("01_modernbert_tutorial", {"profile": "laptop", "run_name": "kept"})',  # twice is fine
        trains if place else "pass",
        "1 / 0",
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    with pytest.raises(CellExecutionError):
        NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    said = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    assert said.count("Nothing that was trained is lost") == (place is not None)
    if place:
        assert str(tmp_path / "01_modernbert_tutorial" / "kept" / place.split("/")[0]) in said
    assert not any("Nothing" in str(cell.outputs) for cell in notebook.cells[:-1])
