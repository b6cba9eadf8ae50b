"""Notebook 08 on other data, with a model that has learnt nothing: no section may stumble over that."""

import json
import re

import nbformat
import pandas as pd
import pytest
from tiny import FP32, LABELS, build_model, toy_texts

from helpers.course.notebooks import find_notebooks, run_headless
from helpers.deploy import OnnxPredictor, Predictor

NOTEBOOK = find_notebooks("08")[0]


def printed(path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    build_model("bert", folder / "tiny")
    texts, labels = toy_texts(150)
    table = pd.DataFrame({"text": texts, "label": [LABELS[label] for label in labels]})
    (folder / "data").mkdir()
    for name, rows in {"train": slice(0, 70), "validation": slice(70, 110), "test": slice(110, 150)}.items():
        table.iloc[rows].to_csv(folder / f"data/{name}.csv", index=False)
    return folder


def run(place, name, **settings):
    """Execute the notebook; 30 s."""
    settings = {"dataset": str(place / "data"), "max_length": 12, "profile": "laptop", "run_name": name} | settings
    return run_headless(NOTEBOOK, settings, runs=place / "runs")


@pytest.fixture(scope="module")
def outcome(place):
    return run(place, "tiny", model=str(place / "tiny"), epochs=1, learning_rate=1e-5)


def test_it_runs_to_its_end_and_writes_its_record(outcome):
    assert outcome.error is None
    assert outcome.record["notebook"] == "08_deploy"
    assert 0 <= outcome.record["accuracy"] <= 1 and 0 <= outcome.record["threshold"] <= 1
    json.dumps(outcome.record, allow_nan=False)


def test_every_promise_of_equality_holds(outcome):
    """Script, service, file and hand-written predictor answer as evaluation did."""
    said = printed(outcome.executed)
    for promise in ("the same to 1e-5", "answers as without the service", "as the model", "an answer without PyTorch"):
        assert f"{promise}: True" in said, promise
    assert "0 of 40 labels changed" in said and "fp32 does not mind: True" in said


def test_wrong_questions_are_answered_by_their_status(outcome):
    said = printed(outcome.executed)
    assert re.findall(r"^\{.*?\} (\d+) \{\"error\"", said, re.MULTILINE) == ["400", "422", "422", "400"]


def test_what_it_leaves_behind_can_be_used(outcome):
    folder = outcome.executed.parent / "tiny"
    ours = Predictor.load(folder, device=FP32).predict_one("glad1 word3")
    theirs = OnnxPredictor.load(folder / "export").predict_one("glad1 word3")
    assert ours.label == theirs.label
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)


@pytest.mark.long
def test_a_run_of_one_s_own_is_used_as_it_is(outcome, place):
    folder = outcome.executed.parent / "tiny"
    again = run(place, "again", model=str(folder))
    assert again.error is None
    assert "knows these labels: it is used as it is." in printed(again.executed)
    assert again.record["accuracy"] == outcome.record["accuracy"]
