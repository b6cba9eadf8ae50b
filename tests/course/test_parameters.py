"""What papermill's `-p` takes: every parameter is checked before any work is done, in one sentence that names it."""

import json

import nbformat
import pandas as pd
import pytest
from headless import reduced_parameters, run_notebook
from standin_content import write_model
from tiny import toy_texts

from helpers.assets.defaults import read_notebook, read_parameters
from helpers.course.notebooks import find_notebooks
from helpers.course.parameters import check_parameters, choose
from helpers.exceptions import AssetError
from helpers.models import find_defaults
from helpers.runs import finish_run

# name: values that cannot work
BAD = {
    "profile": ["fast", "", 3],
    "model": ["no/such/folder", "all-MiniLM", "", 7],
    "encoder": ["no/such/folder", "all-MiniLM", 7],
    "decoder": ["no/such/folder", "SmolLM", 7],
    "dataset": ["missing.csv", "no/such/folder", "momets", 7],
    "text_column": ["", 3],
    "label_column": ["", 3],
    "epochs": [-1, 0, 2.5, "three", True],
    "learning_rate": [0, -1e-4, 1.0, "small", float("nan")],
    "batch_size": [0, -8, 1.5],
    "max_length": [0, -1, "long"],
    "encoder_learning_rate": [0, 2],
    "decoder_learning_rate": [0, 2],
    "max_train_examples": [0, -5, 10.5],
    "max_validation_examples": [0, -5, 10.5],
    "max_tokens": [0],
    "seeds": [0, -1, 1.5],
    "seed": [-1, 1.5, "x", 2**40],
    "run_name": ["../outside", "", "a b", 5],
    "resume": ["yes", 1],
    "tracker": ["mlflow", 5, ["tensorboard"]],
    "tracker_project": ["", 5],
    "save_model": ["yes", 1],
    "weight_decay": [-0.01, "small", float("inf"), True],
    "warmup": [-0.1, 1.0, "short"],
    "dropout": [-0.1, 1.0, "some"],
    "patience": [0, -1, 1.5],
    "precision": ["fp32", 16],
    "method": ["prompt", 5],
    "pooling": ["max", 5],
    "schedule": ["linear", 5],
    "decoder_method": ["qlora-ish", 5],
    "writer_method": ["write", 5],
    "show_texts": ["yes", 1],
    "phrases": ["missing.csv", 5],
    "rank": [0, 2.5],
    "last_layers": [0, 2.5],
    "decoder_examples": [0],
    "comparison_examples": [-1, 0.5],
    "loss": ["hinge", 5],
    "threshold": ["best", 0.4],
    "keep": ["f1_best", 5],
    "gradient_checkpointing": ["yes", 1],
    "push_to": ["", 5],
    "system": ["", 5],
    "baseline": ["yes", 1],
    "grid": ["", 5],
    "fold": [0, 1.5],
    "folds": [0, "five"],
}  # fmt: skip
CASES = [(name, value) for name, values in BAD.items() for value in values]


def one_sentence(error: Exception) -> bool:
    return "\n" not in str(error) and str(error).endswith((".", "…"))


@pytest.mark.parametrize("name, value", CASES, ids=str)
def test_a_value_that_cannot_work_is_refused_by_name(name, value):
    with pytest.raises((ValueError, AssetError)) as caught:
        check_parameters({name: value})
    assert one_sentence(caught.value)
    assert name in str(caught.value) or repr(value)[:40] in str(caught.value)


def test_every_parameter_of_the_course_is_among_them():
    assert set(BAD) == set(read_parameters())


def test_none_always_works():
    check_parameters(dict.fromkeys(BAD))


def test_what_was_chosen_is_kept_in_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    chosen = choose("00_start_here", {"profile": "laptop", "seed": 4, "unrelated": 1})
    assert chosen.run_folder == tmp_path / "00_start_here" / "laptop-seed4"
    assert json.loads((chosen.run_folder / "parameters.json").read_text()) == {
        "profile": "laptop",
        "model": "all-MiniLM-L6-v2",
        "dataset": "moments",
        "text_column": None,
        "label_column": "emotion",
        "max_train_examples": None,
        "seed": 4,
        "run_name": "laptop-seed4",
    }


def test_what_was_chosen_names_device_and_tracking_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    given = {"profile": "laptop", "run_name": "mine", "precision": "no", "resume": False, "tracker_project": "tests"}
    chosen = choose("01_modernbert_tutorial", given)
    assert (chosen.notebook, chosen.run_folder.name, chosen.device.precision) == (
        "01_modernbert_tutorial",
        "mine",
        "no",
    )
    assert chosen.tracking == {"resume": False, "tracker": None, "tracker_project": "tests"}


@pytest.mark.parametrize(
    "given, name",
    [
        ({}, "laptop-seed0"),
        ({"model": "minilm", "dataset": "moments", "seed": 3}, "laptop-seed3"),  # the profile's own, by another name
        ({"dataset": "тексты.csv"}, "laptop-тексты-seed0"),
        ({"dataset": "a/train.csv", "model": "Qwen3-0.6B"}, "laptop-train-Qwen3-0.6B-seed0"),
    ],
    ids=str,
)
def test_the_default_name_of_a_run_tells_data_and_model(tmp_path, monkeypatch, given, name):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    if "csv" in given.get("dataset", ""):
        (tmp_path / given["dataset"]).parent.mkdir(exist_ok=True)
        (tmp_path / given["dataset"]).write_text("text,label\n")
    if given.get("model") == "Qwen3-0.6B":
        (tmp_path / "Qwen3-0.6B").mkdir()
    assert choose("01_modernbert_tutorial", {"profile": "laptop", **given}, find_defaults).run_name == name


def test_two_datasets_of_one_name_are_two_runs(tmp_path, monkeypatch, capsys):
    """Also the same file with another content. What was finished stays, and is said in one line."""
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    names = []
    for number, content in enumerate(("a,b\n", "a,b\n", "c,d\n")):
        (tmp_path / "train.csv").write_text(content)
        chosen = choose("00_start_here", {"profile": "laptop", "dataset": str(tmp_path / "train.csv")})
        finish_run(chosen.run_folder, {"accuracy": number})
        names.append(chosen.run_name)
    assert names == ["laptop-train-seed0", "laptop-train-seed0", "laptop-train-seed0-2"]
    assert capsys.readouterr().out == (
        "laptop-train-seed0 is a run with other settings (data), which stays: this one is called laptop-train-seed0-2.\n"
    )
    (tmp_path / "train.csv").write_text("e,f\n")
    with pytest.raises(ValueError, match=r"holds a run with other settings \(data\), whose result would be lost"):
        choose("00_start_here", {"profile": "laptop", "dataset": str(tmp_path / "train.csv"), "run_name": names[0]})


class Notebook:
    """A notebook's first cells, up to the one that opens the run folder, run in this process."""

    def __init__(self, path):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        number = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
        last = next(i for i, cell in enumerate(cells) if "course.choose(" in cell.source)
        self.parameters = cells[number].source
        self.derived = "\n".join(cell.source for cell in cells[number + 1 : last + 1])
        self.imported: dict = {}
        for cell in cells[:number]:
            exec(cell.source, self.imported)

    def derive(self, name: str, value) -> None:
        """Set one parameter as papermill does, after the notebook's own cell, and run what follows."""
        variables = dict(self.imported)
        exec(self.parameters, variables)
        variables[name] = value
        exec(self.derived, variables)


@pytest.fixture(scope="module", params=find_notebooks(), ids=lambda path: path.stem)
def notebook(request):
    return request.param.stem, set(read_notebook(request.param.stem)["parameters"]), Notebook(request.param)


def test_every_notebook_refuses_bad_parameters_before_any_work(notebook, tmp_path, monkeypatch):
    """All of BAD that the notebook knows, in this process. 5 s, most of it importing."""
    stem, known, cells = notebook
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    for name, value in CASES:
        if name in known:
            with pytest.raises((ValueError, AssetError)) as caught:
                cells.derive(name, value)
                pytest.fail(f"{stem} takes {name}={value!r}")
            assert one_sentence(caught.value)
    assert not list(tmp_path.rglob("*.*")), "something was written"


def test_a_refused_parameter_shows_as_one_sentence_in_the_executed_notebook(tmp_path):
    """papermill's own command line on notebook 00. 10 s."""
    notebook = find_notebooks("00")[0]
    done = run_notebook(notebook, tmp_path, {"dataset": "missing.csv"})
    assert done.returncode != 0
    cells = [cell for cell in nbformat.read(done.executed, as_version=4).cells if cell.cell_type == "code"]
    failed = next(i for i, cell in enumerate(cells) if any(o.output_type == "error" for o in cell.outputs))
    assert any("injected-parameters" in cell.metadata.tags for cell in cells[:failed])
    assert all(cell.execution_count is None for cell in cells[failed + 1 :]), "it went on"
    (error,) = [output for output in cells[failed].outputs if output.output_type == "error"]
    sentence = "AssetError: There is no file or folder 'missing.csv': check the path of the dataset."
    assert error.traceback == [sentence], "a learner sees one sentence and no traceback"
    assert not done.runs.exists() and done.network == ""


first, *others = find_notebooks()


@pytest.mark.parametrize(
    "path", [first, *(pytest.param(o, marks=pytest.mark.long) for o in others)], ids=lambda path: path.stem
)
def test_every_notebook_takes_a_learners_own_texts_and_model(path, tmp_path):
    """One file with columns of other names, in the laptop profile. 15 s each; all but the first with `pytest -m long`."""
    texts, labels = toy_texts(120)
    mood = [("positive", "negative", "negative")[label] for label in labels]
    several = {"good": [int(m == "positive") for m in mood], "short": [int(len(text) < 40) for text in texts]}
    pd.DataFrame({"mood": mood, "message": texts} | several).to_csv(tmp_path / "own.csv", index=False)
    own = {"dataset": str(tmp_path / "own.csv"), "text_column": "message"}
    own["label_column"] = "good,short" if path.stem.startswith(("04", "05")) else "mood"
    for name, kind in (("model", "bert"), ("encoder", "bert"), ("decoder", "qwen2")):
        own[name] = str(write_model(tmp_path / name, kind))
    parameters = reduced_parameters(path, profile="laptop", run_name="own", **own)
    done = run_notebook(path, tmp_path, parameters)
    assert done.returncode == 0, done.terminal[-3000:]
    assert done.network == ""
    assert done.records() and all(record["dataset"] == own["dataset"] for record in done.records())
