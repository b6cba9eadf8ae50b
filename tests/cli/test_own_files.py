"""A handful of the corpus's kinds from end to end: train, evaluate, predict, and notebook 01, with a tiny model."""

import csv
import io
import json

import nbformat
import openpyxl
import pandas as pd
import pytest
from headless import reduced_parameters, run_notebook
from tiny import LABELS, build_model, toy_texts

from helpers.files import ROOT, read_json

TEXTS, NUMBERS = toy_texts(60)
NAMES = [LABELS[number] for number in NUMBERS]
SETTINGS = ["--epochs", "1", "--batch-size", "16", "--max-length", "24", "--save-model"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_model("bert", tmp_path_factory.mktemp("model"))


@pytest.fixture
def command(command):
    """Run the command line in this process; return its standard output, after checking that all went well."""

    def run(*arguments):
        status, out, err = command(*arguments)
        assert (status, err) == (0, "")
        return out

    return run


def as_csv(columns: dict, quoting=csv.QUOTE_ALL) -> str:
    file = io.StringIO()
    csv.writer(file, quoting=quoting).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return file.getvalue()


def as_workbook(path):
    book = openpyxl.Workbook()
    for row in [("text", "label"), *zip(TEXTS, NAMES, strict=True)]:
        book.active.append(row)
    book.save(path)


def write(path, kind: str):
    """Write the sixty toy texts as a file of this kind; return its path."""
    opened = ['"' + text if row in (10, 30) else text for row, text in enumerate(TEXTS)]
    several = ["calm|glad" if name == "calm" else name for name in NAMES]
    content = {
        "open_quotes.csv": "label,text\n"
        + "".join(f"{name},{text}\n" for name, text in zip(NAMES, opened, strict=True)),
        "label_and_labels.csv": as_csv({"text": TEXTS, "label": NAMES, "labels": [i % 7 for i in range(60)]}),
        "several.csv": as_csv({"text": TEXTS, "label": several}),
        "flags.csv": as_csv({"text": TEXTS} | {label: [name == label for name in NAMES] for label in LABELS}),
        "doccano.jsonl": "\n".join(json.dumps({"text": t, "label": [n]}) for t, n in zip(TEXTS, NAMES, strict=True)),
    }
    path = path / kind
    if kind == "book.xlsx":
        as_workbook(path)
    else:
        path.write_text(content[kind], encoding="utf-8")
    return path


COUNTS = "one label per text, in train: calm 16, glad 16, sour 16"
KINDS = {
    "open_quotes.csv": COUNTS, "label_and_labels.csv": COUNTS, "doccano.jsonl": COUNTS, "book.xlsx": COUNTS,
    "several.csv": "several labels per text, in train: calm 16, glad 32, sour 16",
    "flags.csv": "several labels per text, in train: calm 16, glad 16, sour 16",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_trained_on_scored_and_predicted(model, command, tmp_path, kind):
    """4 s each."""
    path = write(tmp_path, kind)
    columns = ["--label-column", "label"] if kind == "label_and_labels.csv" else []
    out = command("train", "--model", model, "--dataset", path, "--run-name", "mine", *columns, *SETTINGS)
    assert out.splitlines()[0].startswith("60 of 60 rows") and KINDS[kind] in out.splitlines()[0]
    run = tmp_path / "runs" / "cli" / "mine"
    truth = dict(zip([t.lstrip('"') for t in TEXTS], NAMES, strict=True))
    for row in pd.read_csv(run / "predictions.csv", dtype=str).itertuples():
        wanted = truth[row.text.lstrip('"')]
        assert wanted in row.true.split(",") and (
            "glad" in row.true.split(",") or wanted != "calm" or kind != "several.csv"
        )
    scores = [line for line in out.splitlines() if line.startswith(("accuracy", *LABELS))]
    again = command("evaluate", "--model", run).splitlines()
    assert [line for line in again if line.startswith(("accuracy", *LABELS))] == scores
    (copy := path.with_name(f"copy_{path.name}")).write_bytes(path.read_bytes())
    whole = command("evaluate", "--model", run, "--dataset", copy, *columns)
    assert f"Scored: all 60 rows of {copy.name}." in whole
    assert [line.split()[-1] for line in whole.splitlines() if line.startswith("sour")] == ["20"]
    command("predict", "--model", run, "--file", path, "--output", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert [text.lstrip('"') for text in found["text"]] == TEXTS


def test_texts_that_lose_their_end_are_said_before_training_and_in_evaluate(model, command, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(as_csv({"text": [f"{text} " * 20 for text in TEXTS], "label": NAMES}))
    out = command("train", "--model", model, "--dataset", path, "--run-name", "long", *SETTINGS)
    assert (
        "Training: 48 of 48 texts (100%) lose what is beyond 24 tokens. A larger max_length reads more of them." in out
    )
    assert "6 of 6 texts (100%) lose what is beyond 24 tokens" in command(
        "evaluate", "--model", tmp_path / "runs/cli/long"
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", ["open_quotes.csv", "label_and_labels.csv", "book.xlsx"])
def test_notebook_01_reads_the_same_rows(model, tmp_path, kind):
    """1 minute each."""
    notebook = ROOT / "notebooks" / "01_modernbert_tutorial.ipynb"
    own = {"model": str(model), "dataset": str(write(tmp_path, kind)), "label_column": "label", "profile": "laptop"}
    done = run_notebook(notebook, tmp_path / "executed", reduced_parameters(notebook, **own))
    printed = "".join(
        output.get("text", "")
        for cell in nbformat.read(done.executed, as_version=4).cells
        for output in cell.get("outputs", [])
    )
    assert f"60 of 60 rows · text 'text', label 'label' · {COUNTS}" in printed
    (record,) = (tmp_path / "executed" / "runs").rglob("metrics.json")
    assert read_json(record)["sizes"] == {"train": 48, "validation": 6, "test": 6}
