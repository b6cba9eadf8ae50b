"""Every row of the zoo that writes, as a tiny random model of its true architecture, by every method."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from standin_hub import TOKEN, StandInHub
from tiny import FP32, LABELS, build_writer, toy_texts

from helpers.assets.zoo import find_row
from helpers.files import ROOT
from helpers.generation import load, load_writer, merge, read_as_text, save, write_answers
from helpers.models import encode_texts, find_defaults, load_tokenizer, predict_logits, read_zoo
from helpers.training import TrainingConfig, fit
from helpers.training.experiment import NAMES_OF_METHODS

ZOO = read_zoo()
ROWS = list(ZOO.index[ZOO["method"] == "generation"])
TEXTS, NUMBERS = toy_texts(24)


def test_the_models_that_are_known_to_write_are_listed():
    assert set(ROWS) == {"Qwen2.5-1.5B", "Llama-3.2-3B-Instruct", "Qwen2.5-14B-Instruct", "Qwen2.5-Coder-14B-Instruct"}


@pytest.mark.parametrize("architecture, multilabel, method", [
    ("qwen2", True, "generate"), ("llama", False, "generate-qlora"), ("gemma2", True, "generate-full"),
    ("mistral", False, "generate"),
])  # fmt: skip
def test_a_row_s_architecture_trains_saves_reloads_and_writes(architecture, multilabel, method, tmp_path):
    base = build_writer(tmp_path / "base", architecture, begin=architecture != "qwen2")
    found = find_defaults(ROWS[0])
    writer = load_writer(
        str(base),
        LABELS,
        method=method,
        multilabel=multilabel,
        device=FP32,
        rank=int(found["rank"]),
        targets=found["targets"],
    )
    tokenizer = read_as_text(load_tokenizer(base))
    labels = np.eye(3, dtype=np.float32)[NUMBERS] if multilabel else NUMBERS
    encoded = encode_texts(TEXTS, tokenizer, 64, labels)
    before = predict_logits(writer, encoded, FP32)
    config = TrainingConfig(epochs=1, learning_rate=1e-3, batch_size=12, metric="epoch")
    assert len(fit(writer, encoded, encoded, config, device=FP32).step_losses) == 2
    after = predict_logits(writer, encoded, FP32)
    assert np.isfinite(after).all() and not (after == before).all()
    if method == "generate":
        merge(writer)
    save(writer, tokenizer, tmp_path / "model", max_length=64)
    loaded, tokenizer, _ = load(tmp_path / "model", device=FP32)
    np.testing.assert_allclose(predict_logits(loaded, encoded, FP32), after, atol=2e-4)
    assert all(answer.labels is not None for answer in write_answers(loaded, TEXTS[:3], tokenizer, device=FP32))


@pytest.mark.parametrize("name, method", [
    ("Qwen/Qwen2.5-1.5B", "generate"), ("meta-llama/Llama-3.2-3B-Instruct", None)
])  # fmt: skip
def test_by_its_name_it_comes_from_the_hub_and_writes(name, method, tmp_path):
    """The command line against the stand-in Hub: without a word on the method, in 4 bits."""
    texts, labels = toy_texts(40)
    table = pd.DataFrame({"text": texts, **dict(zip(LABELS, np.eye(3, dtype=int)[labels].T, strict=True))})
    table.to_csv(tmp_path / "my.csv", index=False)
    options = ["--label-column", ",".join(LABELS), "--epochs", "1", "--rank", "4", "--run-name", "mine"]
    options += ["--method", method] if method else []
    with StandInHub() as hub:
        variables = hub.environment(tmp_path / "hf", token=TOKEN)
        variables |= {"COURSE_RUNS": str(tmp_path / "runs"), "COURSE_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "helpers", "train", "--model", name, "--dataset", str(tmp_path / "my.csv")]
        done = subprocess.run(
            [*command, *options], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        files = hub.downloads()
    row, run = find_row(name), tmp_path / "runs" / "cli" / "mine"
    assert files and all(row["revision"] in path or not path.endswith("safetensors") for path in files)
    record = json.loads((run / "metrics.json").read_text())
    assert record["method"] == NAMES_OF_METHODS[method or "generate-qlora"] and record["revision"] == row["revision"]
    assert json.loads((run / "config.json").read_text())["training"]["learning_rate"] == row["learning_rate"]
