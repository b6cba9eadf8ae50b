"""workflow/experiment.ipynb, the notebook of a sweep, as a batch job: words counted and a tiny transformer, on a fold."""

import json

import nbformat
import numpy as np
import pandas as pd
import pytest
from headless import run_notebook
from tiny import LABELS, build_model, toy_texts

from helpers.assets.defaults import list_parameters
from helpers.files import ROOT

NOTEBOOK = ROOT / "workflow" / "experiment.ipynb"


def test_its_parameters_are_the_table_in_data_defaults():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    known = list_parameters("experiment")
    assert cell.source.splitlines() == [f"{name} = None  # {found['meaning']}" for name, found in known.items()]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")], "it is stored unexecuted"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """180 texts with several labels, as one file."""
    texts, labels = toy_texts(180)
    flags = np.eye(len(LABELS), dtype=int)[labels]
    flags[::5, 0] = 1
    path = tmp_path_factory.mktemp("corpus") / "toy.csv"
    pd.DataFrame({"text": texts, **dict(zip(LABELS, flags.T, strict=True))}).to_csv(path, index=False)
    return path


def run(corpus, folder, **given) -> dict:
    known = {"dataset": str(corpus), "label_column": ",".join(LABELS), "folds": 3, "run_name": "it"} | given
    done = run_notebook(NOTEBOOK, folder, known)
    assert done.returncode == 0, done.terminal[-3000:]
    (record,) = done.records()
    (predictions,) = done.runs.rglob("predictions.csv")
    return record | {"texts": pd.read_csv(predictions)["text"].tolist()}


def test_every_system_and_seed_is_scored_on_the_same_fold(corpus, tmp_path):
    """About 40 s."""
    model = build_model("bert", tmp_path / "tiny")
    small = {"model": str(model), "epochs": 1, "max_length": 32}
    words = run(corpus, tmp_path / "words", baseline=True, fold=2, system="words")
    tiny = run(corpus, tmp_path / "tiny-run", **small, fold=2, seed=5)
    other = run(corpus, tmp_path / "other", **small, fold=3, method="probe")
    assert words["texts"] == tiny["texts"] and not set(words["texts"]) & set(other["texts"])
    assert words["sizes"] == tiny["sizes"] and words["data"] == tiny["data"] == other["data"]
    assert words["test_set"] == tiny["test_set"] != other["test_set"]
    assert [words[name] for name in ("system", "method", "fold", "folds")] == ["words", "words counted", 2, 3]
    assert [other[name] for name in ("system", "method", "fold")] == ["it", "probe", 3]
    for record in (words, tiny, other):
        needed = ("train_seconds", "seconds", "peak_memory_bytes", "parameters_trainable")
        assert all(record[name] > 0 for name in needed) and len(record["thresholds"]) == 3
    assert not list((tmp_path / "tiny-run" / "runs").rglob("*.safetensors")), "a grid keeps no model"


def test_without_a_fold_the_test_split_is_scored(corpus, tmp_path):
    """About 10 s."""
    single = pd.read_csv(corpus)
    single["label"] = single[LABELS].idxmax(axis=1)
    single[["text", "label"]].to_csv(tmp_path / "single.csv", index=False)
    record = run(tmp_path / "single.csv", tmp_path, baseline=True, label_column="label")
    assert record["fold"] is None and record["folds"] is None and record["sizes"]["test"] == 18
    assert json.dumps(record["thresholds"]) == "[0.5]"
