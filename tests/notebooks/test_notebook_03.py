"""Notebook 03 on data without ratings, with a model that has learnt nothing: no section may stumble over that."""

import json
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from tiny import build_model, toy_texts

from helpers.cli.model import evaluate_run
from helpers.course.notebooks import find_notebooks, run_headless


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    model = build_model("bert", folder / "tiny")
    texts, labels = toy_texts(150)
    table = pd.DataFrame({"text": texts, "label": np.where(labels == 0, "negative", "positive")})
    (folder / "data").mkdir()
    table.iloc[:100].to_csv(folder / "data/train.csv", index=False)
    table.iloc[100:].to_csv(folder / "data/validation.csv", index=False)
    settings = {"model": str(model), "dataset": str(folder / "data"), "epochs": 1, "learning_rate": 1e-5}
    settings |= {"max_length": 12, "profile": "laptop", "run_name": "tiny", "phrases": str(folder / "data")}
    return run_headless(find_notebooks("03")[0], settings, runs=folder / "runs")


def test_it_runs_to_its_end_and_writes_its_record(outcome):
    assert outcome.error is None
    assert outcome.record["notebook"] == "03_sst2_error_analysis"
    assert 0 <= outcome.record["accuracy"] <= 1
    json.dumps(outcome.record, allow_nan=False)


def test_the_error_table_has_every_cell_filled_and_says_that_there_are_no_ratings(outcome):
    table = pd.read_csv(outcome.executed.parent / "tiny/incorrect_predictions.csv", keep_default_na=False)
    assert len(table) > 0
    assert not (table.astype(str) == "").any().any()
    assert set(table["mean_rating"]) == set(table["rating_sd"]) == {"no ratings"}
    assert "truncated" in ", ".join(table["linguistic_type"])
    columns = {"actual", "predicted", "confidence", "p(negative)", "p(positive)", "loss", "error_type"}
    assert columns | {"nearest_1", "nearest_1_label"} <= set(table.columns)


def test_each_table_holds_what_its_split_has_wrong(outcome):
    """The validation split's errors are there to be read, the test split's are the record's; nobody rated these texts."""
    folder = outcome.executed.parent / "tiny"
    assert {path.name for path in folder.glob("*.csv")} == {
        "history.csv", "incorrect_predictions.csv", "predictions.csv", "validation_errors.csv",
    }  # fmt: skip
    wrong, said = pd.read_csv(folder / "incorrect_predictions.csv"), pd.read_csv(folder / "predictions.csv")
    assert sorted(wrong["text"]) == sorted(said.loc[said["true"] != said["predicted"], "text"])
    assert wrong["loss"].is_monotonic_decreasing
    assert not set(pd.read_csv(folder / "validation_errors.csv")["text"]) & set(wrong["text"])


def test_without_spare_sentences_one_fix_is_tried(outcome):
    assert set(outcome.record["accuracy_after"]) == {"before", "control", "labels mended"}


TEN_LINES = """
import sys, pandas, datasets
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments
base, table, folder = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
rows = datasets.Dataset.from_pandas(pandas.read_csv(table))
rows = rows.map(lambda row: {**tokenizer(row["text"]), "labels": int(row["label"] == "positive")}, remove_columns=["label"])
settings = TrainingArguments(folder, num_train_epochs=30, learning_rate=5e-3, use_cpu=True, report_to=[], disable_tqdm=True)
trainer = Trainer(model, settings, train_dataset=rows, processing_class=tokenizer)
trainer.train(); trainer.save_model()
"""


def test_a_classifier_that_plain_trainer_trained_is_analysed_as_it_is(outcome, tmp_path):
    """Nothing in its folder says what LABEL_0 and LABEL_1 mean, or how long texts were; the command line agrees."""
    folder = outcome.executed.parents[2]
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        TEN_LINES,
        folder / "tiny",
        folder / "data/train.csv",
        tmp_path / "out",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    settings = {"model": str(tmp_path / "out"), "dataset": str(folder / "data"), "max_length": 64}
    settings |= {"profile": "laptop", "run_name": "trainer", "learning_rate": 1e-5}
    found = run_headless(find_notebooks("03")[0], settings, runs=tmp_path / "runs")
    assert found.error is None
    assert (found.record["method"], found.record["train_seconds"]) == ("as it was", None)
    assert found.record["accuracy"] > 0.8, "what Trainer taught it is there"
    printed = nbformat.writes(nbformat.read(found.executed, as_version=4))
    assert "knows these labels: it is analysed as it is" in printed
    scores, notes = evaluate_run(str(tmp_path / "out"), dataset=str(folder / "data"))
    assert scores.metrics["accuracy"] > 0.8
    assert "LABEL_0, LABEL_1: taken for negative, positive." in notes[-1]
