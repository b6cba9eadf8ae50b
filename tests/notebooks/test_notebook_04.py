"""Notebook 04 as a batch job, with tiny models: a zoo model by its name on a Kaggle folder, other losses, too little memory."""

import os
import re

import pytest
from headless import OFFLINE, reduced_parameters, run_beside_hub, run_notebook
from standin_hub import TOKEN, StandInHub
from test_kaggle import NAMES, test_rows, write_competition, write_csv

from helpers.data.kaggle import check_submission, read_questions
from helpers.files import ROOT
from helpers.models import load
from helpers.models.zoo import find_defaults

NOTEBOOK = ROOT / "notebooks" / "04_multilabel_emotions.ipynb"
FREE = 120_000  # bytes; the weights of the tiny model: 61,430


@pytest.fixture
def competition(tmp_path):
    folder = write_competition(tmp_path / "competition")
    sample = [[row[0], *[0] * 11] for row in test_rows(9)]
    write_csv(folder / "sample_submission.csv", sample, ["ID", *NAMES])
    return folder


def test_a_zoo_model_by_its_name_on_a_kaggle_folder(competition, tmp_path):
    """papermill notebooks/04_multilabel_emotions.ipynb … -p model distilroberta-base -p dataset <Kaggle folder>"""
    given = {"epochs": 1, "comparison_examples": 0, "max_length": 32, "dataset": str(competition)}
    with StandInHub() as hub:
        done, record = run_beside_hub(NOTEBOOK, hub, tmp_path, dict(model="distilroberta-base", **given))
        downloads = hub.downloads()
    assert done.returncode == 0, done.terminal[-3000:]
    zoo = find_defaults("distilroberta-base")
    own = ("model", "revision", "learning_rate", "batch_size")
    assert {name: record[name] for name in own} == {name: zoo[name] for name in own}
    assert record["method"] == "full" and record["epochs"] == 1
    assert all(zoo["model"] in path for path in downloads)
    (folder,) = (tmp_path / "runs" / NOTEBOOK.stem).iterdir()
    questions = read_questions(competition, NAMES)
    assert "9 rows, IDs in the order of test.csv" in check_submission(folder / "submission.csv", questions, NAMES)
    assert "Like sample_submission.csv: the same columns, the same 9 IDs" in done.terminal
    _, _, settings = load(folder / "model")
    assert len(settings["thresholds"]) == 11 and settings["max_length"] == 32
    assert record["sizes"]["train"] + record["sizes"]["validation"] + record["sizes"]["test"] == 150
    assert "Left out: what sections 8 and 9 compare on five folds." in done.terminal


def test_every_loss_is_compared_with_the_one_that_was_chosen(competition, tmp_path):
    """A loss that is not among the three: all three are trained besides, and each leaves its curves."""
    given = {"loss": "asymmetric", "threshold": "global", "keep": "f1_then_loss", "tracker": "tensorboard"}
    with StandInHub() as hub:
        model = {"model": "distilroberta-base", "dataset": str(competition), "epochs": 1, "comparison_examples": 60}
        done, record = run_beside_hub(NOTEBOOK, hub, tmp_path, dict(**model, **given))
    assert done.returncode == 0, done.terminal[-3000:]
    assert (record["loss_name"], record["thresholds_kind"]) == ("asymmetric", "global")
    (folder,) = (tmp_path / "runs" / NOTEBOOK.stem).iterdir()
    curves = {part for path in folder.rglob("events.out.tfevents*") for part in path.parts}
    assert {"bce", "sqrt_pos_weight", "pos_weight"} <= curves
    assert "rows to train, to tune, to score" in done.terminal


def test_comparisons_that_do_not_fit_leave_themselves_out(competition, tmp_path):
    """With as much free memory as the weights of the tiny model take, and no more: what was trained is not lost."""
    told = tmp_path / "told" / "sitecustomize.py"
    told.parent.mkdir()
    told.write_text(
        f"exec(open({str(OFFLINE / 'sitecustomize.py')!r}).read())\n"
        "import psutil, types\n"
        f"psutil.virtual_memory = lambda: types.SimpleNamespace(available={FREE})\n"
    )
    path = os.pathsep.join([str(told.parent), str(ROOT)])
    small = reduced_parameters(NOTEBOOK, dataset=str(competition), model="distilroberta-base")
    with StandInHub() as hub:
        variables = hub.environment(tmp_path / "hf", token=TOKEN) | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = run_notebook(NOTEBOOK, tmp_path, small, **variables)
    assert done.returncode == 0, done.terminal[-3000:]
    left_out = re.findall(r"Left out: (.+?)\. It needs", done.terminal)
    assert left_out == ["distilbert/distilroberta-base, trained with other losses"]
    assert len(done.records()) == 1 and "Left out: what sections 8 and 9" in done.terminal


def test_one_label_per_text_is_refused_in_one_sentence(tmp_path):
    with StandInHub(filled=False) as hub:
        done, _ = run_beside_hub(NOTEBOOK, hub, tmp_path, dict(dataset="moments", label_column="emotion"))
    assert done.returncode != 0 and "has one label per text: take notebook 01" in done.terminal
