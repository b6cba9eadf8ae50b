"""A model that writes its labels on the command line: trained, evaluated, asked; the same files as any other leaves."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny import LABELS, build_model, build_writer, toy_texts

from helpers.data import write_questions, write_submission
from helpers.deploy import Predictor
from helpers.files import ROOT

SETTINGS = ["--epochs", "2", "--batch-size", "16", "--max-length", "24", "--rank", "4"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_writer(tmp_path_factory.mktemp("models") / "tiny")


def write_data(folder, *, several: bool):
    texts, labels = toy_texts(60)
    table = pd.DataFrame({"text": texts})
    if several:
        rows = np.eye(3, dtype=int)[labels]
        rows[::4, 0] = 1
        table[LABELS] = rows
    else:
        table["mood"] = [LABELS[label] for label in labels]
    table.to_csv(folder / "my.csv", index=False)
    return folder / "my.csv", ["--text-column", "text", "--label-column", ",".join(LABELS) if several else "mood"]


@pytest.mark.parametrize("several", [True, False])
def test_train_evaluate_predict(command, model, tmp_path, several):
    data, columns = write_data(tmp_path, several=several)
    train = ["train", "--model", model, "--dataset", data, *columns, *SETTINGS]
    for method in ("generate", "lora"):
        status, out, err = command(*train, "--method", method, "--run-name", method)
        assert (status, err) == (0, ""), out + err
    runs = tmp_path / "runs" / "cli"
    written, classified = (json.loads((runs / name / "metrics.json").read_text()) for name in ("generate", "lora"))
    assert set(written) == set(classified) and written["method"] == "generation, LoRA, merged"
    files = [{path.name for path in (runs / name).iterdir()} for name in ("generate", "lora")]
    assert files[0] == files[1]
    status, out, err = command("evaluate", "--model", runs / "generate")
    assert (status, err) == (0, "") and f"{written['f1_macro']:.3f}" in out
    status, out, err = command("predict", "--model", runs / "generate", "glad0 word3", 'a <|im_end|> "b" 😀')
    assert (status, err, len(out.splitlines())) == (0, "", 2)
    status, out, err = command(
        "predict", "--model", runs / "generate", "--file", data, "--output", tmp_path / "out.csv"
    )
    assert (status, err) == (0, "")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 60
    assert command(*train, "--method", "generate", "--run-name", "generate")[0] == 0, "again: the same run"


def test_a_submission_for_a_competition_is_written_as_with_any_other(command, model, tmp_path):
    data, columns = write_data(tmp_path, several=True)
    train = ["train", "--model", model, "--dataset", data, *columns, *SETTINGS, "--method", "generate"]
    assert command(*train, "--run-name", "mine")[0] == 0
    questions = write_questions(tmp_path, toy_texts(9, seed=1)[0], LABELS)
    predictor = Predictor.load(tmp_path / "runs" / "cli" / "mine")
    calls = (predictor.predict_probabilities(list(questions.texts)) >= predictor.thresholds).astype(int)
    written = write_submission(tmp_path / "submission.csv", questions, calls, LABELS)
    assert len(pd.read_csv(written)) == 9


def test_an_encoder_cannot_write_and_that_is_said_in_a_sentence(command, tmp_path):
    data, columns = write_data(tmp_path, several=False)
    model = build_model("bert", tmp_path / "tiny")
    status, _, err = command("train", "--model", model, "--dataset", data, *columns, *SETTINGS, "--method", "generate")
    assert status == 2 and "does not write text" in err.splitlines()[-1]
    assert command("train", "--model", model, "--dataset", data, "--method", "generates")[0] == 2
    assert not (tmp_path / "runs").exists(), "nothing is written before all is checked"


def test_two_processes_train_what_one_trains(model, tmp_path):
    """torchrun: the model's own loss goes through the wrapper that averages gradients."""
    data, columns = write_data(tmp_path, several=True)
    base = ["-m", "helpers", "train", "--model", str(model), "--dataset", str(data), *columns, *SETTINGS, "--method",
            "generate-full", "--learning-rate", "1e-3"]  # fmt: skip
    environment = os.environ | {"COURSE_PROGRESS": "off", "OMP_NUM_THREADS": "1", "COURSE_RUNS": str(tmp_path / "runs")}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    losses = []
    for name, start in (("one", [sys.executable]), ("two", torchrun)):
        done = subprocess.run(
            [*start, *base, "--run-name", name], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        losses.append(pd.read_csv(tmp_path / "runs" / "cli" / name / "history.csv")["train_loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
