"""The command line as a user meets it: train on one's own file, evaluate the run, predict from arguments, a pipe, a prompt."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
import typer
from tiny import LABELS, build_model, toy_texts

from helpers.assets.defaults import list_parameters
from helpers.cli.app import app
from helpers.cli.scoring import evaluate_run
from helpers.exceptions import SettingError
from helpers.files import ROOT
from helpers.models import find_defaults
from helpers.runs import LIBRARIES

SETTINGS = ["--epochs", "12", "--learning-rate", "5e-3", "--batch-size", "16", "--max-length", "24"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def write_csv(path, rows, columns=("message", "mood")):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def own_rows(rows=150):
    texts, labels = toy_texts(rows)
    return [(text, LABELS[label]) for text, label in zip(texts, labels, strict=True)]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return build_model("llama", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory):
    """A run folder that `train` left: a CSV with its own column names and three labels."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "my.csv", own_rows())
    names = ["--dataset", str(data), "--text-column", "message", "--label-column", "mood"]
    environment = os.environ | {"COURSE_RUNS": str(folder / "runs"), "COURSE_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "helpers", "train", "--model", str(tiny_model), *names, *SETTINGS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_train_says_what_it_did_and_leaves_a_complete_run_folder(trained):
    folder, output = trained
    assert "There is no test split" in output
    assert "calm, glad, sour" in output
    run = folder / "runs" / "cli" / "my-tiny-seed0"
    assert f"run folder: {run}" in output
    assert {path.name for path in run.iterdir()} == {
        ".lock", "config.json", "figures", "history.csv", "incorrect_predictions.csv", "metrics.json", "model",
        "parameters.json", "predictions.csv",
    }  # fmt: skip
    record = json.loads((run / "metrics.json").read_text())
    assert record["accuracy"] > 0.7
    assert record["sizes"] == {"train": 120, "validation": 15, "test": 15}
    assert set(record["libraries"]) == set(LIBRARIES)
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 12


def run_names(tmp_path):
    return sorted(path.name for path in (tmp_path / "runs" / "cli").iterdir())


def test_a_second_dataset_of_the_same_name_does_not_replace_the_first_run(tiny_model, command, tmp_path):
    options = ["--model", tiny_model, "--text-column", "message", "--label-column", "mood", "--epochs", "1"]
    for name, rows in (("a", own_rows(30)), ("b", own_rows(45)), ("a", own_rows(30))):
        (tmp_path / name).mkdir(exist_ok=True)
        data = write_csv(tmp_path / name / "train.csv", rows)
        status, out, err = command("train", "--dataset", data, *options, "--max-length", "24")
        assert (status, err) == (0, "")
        assert ("is a run with other settings (dataset, data), which stays" in out) == (name == "b")
    assert run_names(tmp_path) == ["train-tiny-seed0", "train-tiny-seed0-2"]
    sizes = [
        json.loads((tmp_path / f"runs/cli/{name}/metrics.json").read_text())["sizes"] for name in run_names(tmp_path)
    ]
    assert [sum(each.values()) for each in sizes] == [30, 45]
    asked = ["train", "--dataset", tmp_path / "b" / "train.csv", *options, "--max-length", "24"]
    says = "holds a run with other settings (dataset, data), whose result would be lost: choose another run_name"
    one_sentence(command(*asked, "--run-name", "train-tiny-seed0"), says=says)


def test_a_file_name_in_any_script_names_the_run(tiny_model, command, tmp_path):
    data = write_csv(tmp_path / "тексты.csv", own_rows(30), ("text", "label"))
    status, _, err = command("train", "--model", tiny_model, "--dataset", data, "--epochs", "1", "--max-length", "24")
    assert (status, err, run_names(tmp_path)) == (0, "", ["тексты-tiny-seed0"])


def test_evaluate_gives_the_scores_that_train_gave(trained, command):
    folder, output = trained
    status, again, err = command("evaluate", "--run", folder / "runs/cli/my-tiny-seed0")
    assert (status, err) == (0, "")
    scores = [line for line in output.splitlines() if line.startswith(("accuracy", "f1_macro", "calm", "sour"))]
    assert len(scores) == 4
    assert [line for line in again.splitlines() if line.startswith(("accuracy", "f1_macro", "calm", "sour"))] == scores


def test_evaluate_on_another_file_with_fewer_labels(trained, command, tmp_path):
    other = write_csv(tmp_path / "other.csv", [row for row in own_rows(90) if row[1] != "calm"], ("text", "label"))
    run = trained[0] / "runs/cli/my-tiny-seed0"
    status, out, _ = command("evaluate", "--run", run, "--dataset", other, "--split", "all")
    assert status == 0
    (glad,) = [line.split() for line in out.splitlines() if line.startswith("glad")]
    assert glad[-1] == "30"
    assert float(glad[-2]) > 0.7


@pytest.fixture
def own_run(trained, tmp_path):
    """A copy of the trained run, and of its data: the test may change both."""
    run, data = tmp_path / "runs/cli/mine", tmp_path / "my.csv"
    shutil.copytree(trained[0] / "runs/cli/my-tiny-seed0", run)
    shutil.copy(trained[0] / "my.csv", data)
    config = json.loads((run / "config.json").read_text()) | {"dataset_location": str(data)}
    (run / "config.json").write_text(json.dumps(config))
    return run, data


@pytest.mark.parametrize("change", [lambda rows: rows[::-1], sorted, lambda rows: [*rows, ("glad3", "glad")]])
def test_rows_that_were_set_aside_are_not_scored_once_the_file_has_changed(own_run, command, change):
    run, data = own_run
    write_csv(data, change(own_rows()))
    says = (
        "my.csv has changed since the run was trained: its test rows would be others, some of them learnt; restore it"
    )
    one_sentence(command("evaluate", "--run", run), says=says)
    status, out, _ = command("evaluate", "--run", run, "--split", "all")
    assert status == 0 and "Warning: my.csv has changed since the run was trained." in out


@pytest.mark.parametrize("part", ["", "model"])
def test_a_copy_of_what_was_learnt_is_told_from_other_data(own_run, command, tmp_path, part):
    run, data = own_run
    copy, columns = shutil.copy(data, tmp_path / "copy.csv"), ["--text-column", "message", "--label-column", "mood"]
    said = command("evaluate", "--run", run / part, "--dataset", copy, *columns)[1]
    assert "Scored: all 150 rows of copy.csv." in said
    assert "Warning: copy.csv is what the run was trained with: most of these rows were learnt" in said
    write_csv(copy, own_rows(90))
    assert "Warning" not in command("evaluate", "--run", run / part, "--dataset", copy, *columns)[1]


def test_predict_texts_given_as_arguments(trained, command):
    run = trained[0] / "runs/cli/my-tiny-seed0"
    status, out, _ = command("predict", "--run", run, "glad1 glad2 word3", "sour0 sour5", stdin=Terminal())
    rows = [line.split("\t") for line in out.splitlines()]
    assert status == 0
    assert [(label, text) for label, _, text in rows] == [("glad", "glad1 glad2 word3"), ("sour", "sour0 sour5")]
    assert all(0 < float(confidence) <= 1 for _, confidence, _ in rows)


def test_predict_from_a_pipe_answers_line_by_line(trained):
    run = trained[0] / "runs/cli/my-tiny-seed0"
    command = [sys.executable, "-m", "helpers", "predict", "--run", str(run)]
    piped = "glad1 glad2\n\nsour0\tsour5 \n"
    done = subprocess.run(command, cwd=ROOT, input=piped, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["glad", "", "sour"]
    assert lines[2].split("\t")[2] == "sour0 sour5"


def test_predict_asks_on_a_terminal_until_an_empty_line(trained, command, monkeypatch):
    typed = iter(["glad1 glad2", "sour1", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    status, out, _ = command("predict", "--run", trained[0] / "runs/cli/my-tiny-seed0", stdin=Terminal())
    assert status == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["glad", "sour"]


def test_predict_ends_well_when_the_user_ends_the_input(trained, command, monkeypatch):
    def end(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    assert command("predict", "--run", trained[0] / "runs/cli/my-tiny-seed0", stdin=Terminal()) == (0, "", "")


def test_predict_warns_of_a_text_that_was_cut(trained, command):
    run = trained[0] / "runs/cli/my-tiny-seed0"
    status, out, err = command("predict", "--run", run, "word1 " * 30)
    assert status == 0
    assert len(out.splitlines()) == 1
    assert err == "Warning: only the first 24 tokens of this text were read.\n"


def test_predict_from_an_empty_pipe_fails(trained, command):
    status, out, err = command("predict", "--run", trained[0] / "runs/cli/my-tiny-seed0", stdin="")
    assert (status, out) == (2, "")
    assert err.startswith("Error: No text came")


def one_sentence(outcome, *, says):
    status, out, err = outcome
    assert (status, out) == (2, "")
    assert err.startswith("Error: ") and err.count("\n") == 1 and "Traceback" not in err
    assert says in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--text-column", "tweet"], "my.csv has no column 'tweet': it has message, mood."),
        (["--label-column", "feeling"], "has no column 'feeling'"),
        (["--dataset", "missing.csv"], "There is no file or folder 'missing.csv'"),
        (["--model", "./nowhere"], "There is no file or folder './nowhere'"),
        (["--model", "no-such-model"], "Unknown model 'no-such-model'"),
        (
            ["--method", "prompt"],
            "method='prompt' is unknown: use one of probe, lora, qlora, full, generate, generate-full, generate-qlora, or None.",
        ),
        (["--pooling", "max"], "pooling='max' is unknown"),
        (["--epochs", "0"], "epochs=0"),
        (["--max-length", "2"], "max_length=2"),
        (["--run-name", "../up"], "run_name='../up'"),
        (["--max-train-examples", "3"], "max_train_examples=3 is too few for 3 labels."),
        (["--dropout", "1"], "dropout=1.0"),
        (["--weight-decay", "-1"], "weight_decay=-1.0"),
        (["--warmup", "1"], "warmup=1.0"),
        (["--patience", "0"], "patience=0"),
        (["--precision", "fp32"], "precision='fp32' is unknown: use one of auto, bf16, fp16, no"),
        (["--schedule", "linear"], "schedule='linear' is unknown"),
        (["--tracker", "mlflow"], "tracker='mlflow' is unknown"),
        (["--last-layers", "3"], "last_layers=3: this model (llama) has 2."),
    ],
)
def test_train_refuses_in_one_sentence_and_writes_nothing(command, tiny_model, tmp_path, options, says):
    data = write_csv(tmp_path / "my.csv", own_rows(60))
    asked = {"--model": tiny_model, "--dataset": data, "--text-column": "message", "--label-column": "mood"}
    asked |= dict([options])
    status, _, err = command("train", *[part for pair in asked.items() for part in pair])
    one_sentence((status, "", err), says=says)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.csv"]


@pytest.mark.parametrize("what", ["evaluate", "predict"])
@pytest.mark.parametrize("made", [True, False], ids=["empty folder", "no folder"])
def test_a_run_folder_without_a_model_is_refused(command, tmp_path, what, made):
    folder = tmp_path / "run"
    if made:
        folder.mkdir()
    says = "holds no saved model" if made else "There is no file or folder"
    one_sentence(command(what, "--model", folder, stdin="a text\n"), says=says)
    assert not folder.exists() or not list(folder.iterdir())


def test_evaluate_refuses_what_does_not_fit_the_model(trained, command, tmp_path):
    run = trained[0] / "runs/cli/my-tiny-seed0"
    other = write_csv(tmp_path / "other.csv", [(text, {"calm": "blue"}.get(mood, mood)) for text, mood in own_rows(60)])
    ask = ["evaluate", "--run", run, "--dataset", other, "--text-column", "message"]
    one_sentence(
        command(*ask, "--label-column", "mood"), says="The model knows no label 'blue': it has calm, glad, sour."
    )
    flags = [(text, *(int(mood == name) for name in LABELS)) for text, mood in own_rows(60)]
    several = write_csv(tmp_path / "several.csv", flags, ("text", *LABELS))
    one_sentence(command("evaluate", "--run", run, "--dataset", several), says="the data have several labels per text")
    one_sentence(command("evaluate", "--run", run, "--split", "holdout"), says="split='holdout' is unknown")


def test_evaluate_asks_for_data_if_the_folder_does_not_say(trained, command):
    model = trained[0] / "runs/cli/my-tiny-seed0/model"
    one_sentence(command("evaluate", "--run", model), says="does not say on which data it was trained")


@pytest.mark.parametrize("change, says", [
    ({"dataset_location": None}, "does not say on which data it was trained: name some with --dataset."),
    ({"training": None}, "config.json does not say with which seed it was trained: copy the run's folder again."),
    ({"training": {"seed": "1"}}, "does not say with which seed"),
], ids=str)  # fmt: skip
def test_a_run_whose_config_was_emptied_by_hand_is_refused(change, says, trained, tmp_path):
    run = shutil.copytree(trained[0] / "runs/cli/my-tiny-seed0", tmp_path / "run")
    (run / "config.json").write_text(json.dumps(json.loads((run / "config.json").read_text()) | change))
    with pytest.raises(SettingError, match=says):
        evaluate_run(run)


def test_lora_is_merged_so_that_the_saved_model_needs_no_base(trained, tiny_model, command, tmp_path):
    data = write_csv(tmp_path / "my.csv", own_rows(60), ("text", "label"))
    options = ["--method", "lora", "--last-layers", "1", "--epochs", "2", "--run-name", "adapted"]
    status, _, _ = command("train", "--model", tiny_model, "--dataset", data, *options)
    run = tmp_path / "runs" / "cli" / "adapted"
    record = json.loads((run / "metrics.json").read_text())
    assert status == 0
    assert record["method"] == "LoRA, merged"
    assert record["parameters_trainable"] < record["parameters_total"]
    assert json.loads((run / "config.json").read_text())["last_layers"] == 1
    assert not (run / "model" / "adapter_config.json").exists()
    status, out, _ = command("evaluate", "--run", run)
    assert f"accuracy   {record['accuracy']:.3f}" in out


def test_every_option_of_train_is_a_parameter_of_the_course():
    (train,) = [command for command in typer.main.get_command(app).commands.values() if command.name == "train"]
    parameters, tutorial = list_parameters("cli"), list_parameters("01_modernbert_tutorial")
    assert [option.name for option in train.params] == list(parameters)
    for option in train.params:
        found = parameters[option.name]
        assert option.opts[0] == f"--{option.name.replace('_', '-')}"
        assert option.help.startswith(found["meaning"])
        assert found["default"] == "None" or option.help.endswith(f"; by default {found['default']}")
        assert option.default is None, "what was not typed is filled in by the table"
        assert option.required == (option.name in ("model", "dataset"))
        assert option.name not in tutorial or tutorial[option.name]["meaning"] == found["meaning"]


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--model", "minilm"], {"model": "all-MiniLM-L6-v2", "revision": None}),
        (["--model", "MiniLM", "--epochs", "1"], {"model": "all-MiniLM-L6-v2", "epochs": 1}),
        (["--model", "smollm2", "--no-resume"], {"model": "SmolLM2-135M-Instruct", "method": "lora", "batch_size": 8}),
        (["--model", "smollm2", "--method", "full"], {"method": "full", "rank": 16}),
    ],
    ids=" ".join,
)
def test_a_model_by_its_short_name_brings_its_settings(command, tmp_path, monkeypatch, options, expected):
    asked = {}

    def train_run(corpus, recipe, folder, **others):
        asked.update(vars(recipe) | vars(recipe.training) | others)
        raise SettingError("enough.")

    monkeypatch.setattr("helpers.training.train_run", train_run)
    data = write_csv(tmp_path / "my.csv", own_rows(60))
    columns = ["--text-column", "message", "--label-column", "mood"]
    assert command("train", "--dataset", data, *columns, *options)[2] == "Error: enough.\n"
    listed = find_defaults(asked["model"])
    expected = {name: listed[name] for name in ("learning_rate", "pooling", "epochs", "method")} | expected
    assert {name: asked[name] for name in expected} == expected
    assert asked["resume"] == ("--no-resume" not in options)
    (folder,) = (tmp_path / "runs" / "cli").iterdir()
    assert folder.name == f"my-{asked['model']}-seed0"


@pytest.fixture(scope="module")
def with_every_option(tiny_model, tmp_path_factory):
    """A run with options that no other test sets: curves, no model. 10 s."""
    folder = tmp_path_factory.mktemp("options")
    data = write_csv(folder / "my.csv", own_rows(60), ("text", "label"))
    options = (
        "--tracker tensorboard --tracker-project mine --no-save-model --dropout 0.2 --weight-decay 0 --warmup 0.2 "
    )
    options += (
        "--patience 1 --precision no --max-tokens 256 --schedule step --pooling last --seed 7 --run-name all --epochs 2"
    )
    environment = os.environ | {"COURSE_RUNS": str(folder / "runs"), "COURSE_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
    asked = ["train", "--model", str(tiny_model), "--dataset", str(data), *options.split()]
    done = subprocess.run([sys.executable, "-m", "helpers", *asked], cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return folder / "runs" / "cli" / "all"


def test_options_end_up_in_the_run_s_configuration(with_every_option):
    config = json.loads((with_every_option / "config.json").read_text())
    training = {"weight_decay": 0.0, "warmup": 0.2, "patience": 1, "max_tokens": 256, "schedule": "step", "seed": 7}
    assert {name: config["training"][name] for name in training} == training
    assert (config["dropout"], config["pooling"], config["training"]["epochs"]) == (0.2, "last", 2)
    record = json.loads((with_every_option / "metrics.json").read_text())
    assert (record["precision"], record["seed"], record["pooling"]) == ("no", 7, "last")


def test_curves_are_kept_and_a_model_that_is_not_wanted_is_not(with_every_option, command):
    curves = list(with_every_option.rglob("events.out.tfevents*"))
    assert curves and all("mine" in path.parts for path in curves)
    assert not list(with_every_option.rglob("*.safetensors"))
    assert (with_every_option / "predictions.csv").exists()
    one_sentence(command("evaluate", "--run", with_every_option), says="holds no saved model")


# Models of any origin ------------------------------------------------------------------------------------------------


def test_training_goes_on_from_a_run_and_learns_new_labels_beside_the_old(trained, command, tmp_path):
    """The run folder, and the model in it, are the same; the first loss shows that nothing began anew."""
    run = trained[0] / "runs/cli/my-tiny-seed0"
    rows = [(f"{text} new{i % 3}", "sad" if i % 2 else label) for i, (text, label) in enumerate(own_rows(60))]
    newer = write_csv(tmp_path / "newer.csv", rows)
    options = ["--text-column", "message", "--label-column", "mood", "--max-length", "24", "--epochs", "1"]
    for number, model in enumerate((run, run / "model")):
        status, out, err = command(
            "train", "--model", model, "--dataset", newer, *options, "--run-name", f"on-{number}"
        )
        assert (status, err) == (0, "")
        assert "its head learns sad besides calm, glad, sour." in out
        found = json.loads((tmp_path / f"runs/cli/on-{number}/model/config.json").read_text())
        assert list(found["id2label"].values()) == [*LABELS, "sad"]
    status, out, _ = command("evaluate", "--model", tmp_path / "runs/cli/on-0")
    assert status == 0 and "sad" in out
    same = write_csv(tmp_path / "same.csv", own_rows(60))
    status, out, _ = command("train", "--model", run, "--dataset", same, *options, "--learning-rate", "1e-7")
    assert "its head knows all these labels and is kept" in out
    assert float(out.split("accuracy")[1].split()[0]) > 0.9, "it knew all of this before"


def test_a_head_that_knows_none_of_the_labels_is_replaced_and_that_is_said(trained, command, tmp_path):
    other = write_csv(tmp_path / "other.csv", [(text, f"{label}er") for text, label in own_rows(60)])
    options = ["--text-column", "message", "--label-column", "mood", "--max-length", "24", "--epochs", "1"]
    status, out, err = command("train", "--model", trained[0] / "runs/cli/my-tiny-seed0", "--dataset", other, *options)
    assert (status, err) == (0, "") and "knows none of these labels: its head is replaced by a new one." in out


@pytest.mark.parametrize("where", ["train.csv", "test.csv"])
def test_a_length_that_the_model_cannot_read_is_cut_before_training(tiny_model, command, tmp_path, where):
    """With a text that is longer than the model reads, in train or in test alone; said once."""
    from helpers.models.batches import fit_length

    fit_length.cache_clear()
    (tmp_path / "data").mkdir()
    for name, rows in (("train.csv", own_rows(45)), ("test.csv", own_rows(90)[45:60])):
        write_csv(
            tmp_path / "data" / name, [*rows, ("glad0 " * 900, "glad")] if name == where else rows, ("text", "label")
        )
    asked = ["train", "--model", tiny_model, "--dataset", tmp_path / "data", "--epochs", "1", "--max-length", "1024"]
    status, out, err = command(*asked, "--run-name", "long")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "max_length=1024: this model reads at most 128 tokens, so texts are cut there."
    assert out.count("max_length=1024") == 1
    run = tmp_path / "runs/cli/long"
    record, config = (json.loads((run / name).read_text()) for name in ("metrics.json", "model/config.json"))
    assert (record["max_length"], record["truncated"], config["text_max_length"]) == (
        128,
        int(where == "test.csv"),
        128,
    )
    assert command("predict", "--run", run, "glad0 " * 900)[0] == 0


@pytest.mark.parametrize("kept", [("config.json", "model.safetensors")])
def test_a_model_without_its_tokenizer_is_refused_before_training(tiny_model, command, tmp_path, kept):
    (tmp_path / "m").mkdir()
    for name in kept:
        (tmp_path / "m" / name).write_bytes((tiny_model / name).read_bytes())
    table = write_csv(tmp_path / "my.csv", own_rows(30))
    columns = ["--text-column", "message", "--label-column", "mood"]
    outcome = command("train", "--model", tmp_path / "m", "--dataset", table, *columns)
    one_sentence(outcome, says="has no tokenizer: copy the tokenizer files of the model that it was made from")
    assert not (tmp_path / "runs").exists()


def test_what_fails_after_training_says_where_the_model_is(tiny_model, command, tmp_path, monkeypatch):
    from helpers.training import experiment

    def fail(*_, **__):
        raise SettingError("the disk of the figures is gone.")

    monkeypatch.setattr(experiment, "complete_run", fail)
    table = write_csv(tmp_path / "my.csv", own_rows(30))
    options = ["--text-column", "message", "--label-column", "mood", "--epochs", "1", "--max-length", "24"]
    status, _, err = command("train", "--model", tiny_model, "--dataset", table, *options, "--run-name", "kept")
    folder = tmp_path / "runs/cli/kept/model"
    assert (status, err.splitlines()) == (
        2,
        ["Error: the disk of the figures is gone.", f"Nothing that was trained is lost: the model is in {folder}."],
    )
    assert command("predict", "--model", folder, "calm1 calm2")[0] == 0
