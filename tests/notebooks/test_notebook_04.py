"""Notebook 04 as a batch job, with tiny models: a zoo model by its name on a Kaggle folder, and every method on one of ours."""

import os
import re

import numpy as np
import pytest
from headless import OFFLINE, Headless, reduced_parameters, run_notebook
from standin_hub import TOKEN, USER, StandInHub
from test_kaggle import test_rows, train_rows, write_csv

from helpers.data.columns import ELEVEN_EMOTIONS
from helpers.data.kaggle import check_submission, read_questions
from helpers.files import ROOT
from helpers.models import load
from helpers.models.zoo import find_defaults

NOTEBOOK = ROOT / "notebooks" / "04_lora_multilabel.ipynb"
NAMES = list(ELEVEN_EMOTIONS)
NAME, FREE = "Qwen/Qwen2.5-0.5B", 120_000  # its weights: 61,430


def run_04(hub, folder, **parameters) -> tuple[Headless, dict]:
    """Run papermill as the notebook says, with no network but `hub`; return the run and metrics.json if there is one."""
    variables = hub.environment(folder / "hf", token=TOKEN) | {"OMP_NUM_THREADS": "1"}
    done = run_notebook(NOTEBOOK, folder, parameters, **variables)
    return done, next(iter(done.records()), {})


@pytest.fixture
def competition(tmp_path):
    folder = tmp_path / "competition"
    folder.mkdir()
    write_csv(folder / "train.csv", train_rows(150))
    write_csv(folder / "test.csv", test_rows(9))
    return folder


def test_a_zoo_model_by_its_name_on_a_kaggle_folder(competition, tmp_path):
    """papermill notebooks/04_lora_multilabel.ipynb … -p model distilroberta-base -p dataset <Kaggle folder>"""
    with StandInHub() as hub:
        done, record = run_04(
            hub,
            tmp_path,
            model="distilroberta-base",
            dataset=str(competition),
            epochs=1,
            comparison_examples=0,
            max_length=32,
        )
        downloads = hub.downloads()
    assert done.returncode == 0, done.terminal[-3000:]
    zoo = find_defaults("distilroberta-base")
    assert (record["model"], record["revision"], record["method"]) == (zoo["model"], zoo["revision"], "full")
    assert (record["learning_rate"], record["batch_size"], record["epochs"]) == (
        zoo["learning_rate"],
        zoo["batch_size"],
        1,
    )
    assert all(zoo["model"] in path for path in downloads)
    (folder,) = (tmp_path / "runs" / "04_lora_multilabel").iterdir()
    questions = read_questions(competition, NAMES)
    assert "9 rows, IDs in the order of test.csv" in check_submission(folder / "submission.csv", questions, NAMES)
    _, _, settings = load(folder / "model")
    assert len(settings["thresholds"]) == 11 and settings["max_length"] == 32
    assert record["sizes"]["train"] + record["sizes"]["validation"] + record["sizes"]["test"] == 150


def test_all_comparisons_and_an_adapter_that_is_published(competition, tmp_path):
    """Qwen2.5-0.5B is LoRA by the table; here rank and method are overridden, and the run is pushed to the Hub."""
    (competition / "test.csv").unlink()
    repository = f"{USER}/tweets"
    with StandInHub() as hub:
        done, record = run_04(
            hub, tmp_path, model="Qwen/Qwen2.5-0.5B", method="qlora", rank=4, dataset=str(competition), epochs=1,
            comparison_examples=60, decoder="Qwen2.5-0.5B", decoder_examples=30, gradient_checkpointing=True,
            tracker="tensorboard", keep="f1_then_loss", loss="asymmetric", threshold="global", push_to=repository,
        )  # fmt: skip
        assert done.returncode == 0, done.terminal[-3000:]
        published = hub.repositories[("models", repository)].files()
    assert (record["method"], record["loss_name"], record["thresholds_kind"]) == ("qlora", "asymmetric", "global")
    assert 0 < record["parameters_trainable"] < record["parameters_total"]
    assert np.isfinite(record["decoder_f1_macro"])
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "README.md"} <= set(published)
    assert b"base_model: Qwen/Qwen2.5-0.5B" in published["README.md"]
    (folder,) = (tmp_path / "runs" / "04_lora_multilabel").iterdir()
    curves = {part for path in folder.rglob("events.out.tfevents*") for part in path.parts}
    assert {"qlora-bce", "probe-asymmetric", "lora-asymmetric", "full-asymmetric", "fold-3", "decoder"} <= curves


def test_comparisons_that_do_not_fit_leave_themselves_out(competition, tmp_path):
    """With as much free memory as 4-bit weights of the tiny model take, and no more. 30 s on one core."""
    told = tmp_path / "told" / "sitecustomize.py"
    told.parent.mkdir()
    told.write_text(
        f"exec(open({str(OFFLINE / 'sitecustomize.py')!r}).read())\n"
        "import psutil, types\n"
        "psutil.virtual_memory = lambda: types.SimpleNamespace(available=FREE)\n".replace("FREE", str(FREE))
    )
    path = os.pathsep.join([str(told.parent), str(ROOT)])
    small = reduced_parameters(NOTEBOOK, dataset=str(competition), model=NAME, method="qlora", decoder=NAME)
    with StandInHub() as hub:
        variables = hub.environment(tmp_path / "hf", token=TOKEN) | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = run_notebook(NOTEBOOK, tmp_path, small, **variables)
    assert done.returncode == 0, done.terminal[-3000:]
    (record,) = done.records()
    assert record["parameters_total"] < 0.8 * FREE < 4 * record["parameters_total"]
    left_out = re.findall(rf"Left out: {NAME}, (.+?)\. It needs", done.terminal)
    assert left_out == ["probe", "lora", "full", "the second model"] and "decoder_f1_macro" not in record


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dataset": "moments", "label_column": "emotion"}, "has one label per text: take notebook 01"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(parameters, message, tmp_path):
    with StandInHub(filled=False) as hub:
        done, _ = run_04(hub, tmp_path, **parameters)
    assert done.returncode != 0 and message in done.terminal
