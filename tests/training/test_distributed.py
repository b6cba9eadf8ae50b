"""Two processes, as torchrun starts them, on two CPU cores: what one process computes, and one of them prints and writes."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from distributed_fit import leave_unfinished, run_all, train
from filelock import FileLock
from tiny import build_model, toy_texts

from helpers.files import ROOT

TESTS = ROOT / "tests"
# A batch's gradient is the sum over its rows. Two processes add the same numbers in another order, and pad them to
# other lengths, so that fp32 (7 digits) rounds differently: about 2e-7 in a loss or logit around 1. Nine steps of AdamW
# make that no more than a few times as much; a row left out or counted twice is far more.
TOLERANCE = 1e-5

# Notes every file that a process opens for writing or renames; runs in each process before anything else.
WATCH = """
import os, sys
log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def watch(event, arguments):
    writes = event == "open" and (set(arguments[1] or "") & set("wax+") or arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if (writes or event == "os.rename") and str(arguments[0]).startswith(os.environ["WATCH_FOLDER"]):
        os.write(log, f"{os.environ.get('RANK', 'none')} {os.path.basename(str(arguments[0]))}\\n".encode())
sys.addaudithook(watch)
"""


def run_two(folder, *arguments) -> subprocess.CompletedProcess:
    """Run a script or module in two processes; `folder/written.txt` then says who wrote what below `folder/runs`."""
    (folder / "watch").mkdir(exist_ok=True)
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    (folder / "runs").mkdir(exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (folder / "watch", TESTS, ROOT))),
        "WATCH_LOG": str(folder / "written.txt"),
        "WATCH_FOLDER": str(folder / "runs"),
        "COURSE_RUNS": str(folder / "runs"),
        "COURSE_PROGRESS": "lines",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",  # two processes cannot share one GPU
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def who_wrote(folder) -> dict[str, set]:
    """Return, for each process by its rank, the names of the files that it wrote."""
    found = {}
    for line in (folder / "written.txt").read_text().splitlines():
        rank, name = line.split(" ", 1)
        found.setdefault(rank, set()).add(name)
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_model("bert", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def one(model, tmp_path_factory):
    """What one process sees."""
    return run_all(str(model), tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(model, tmp_path_factory):
    """The folder in which two processes worked, what they printed, and what each of them saw. 15 s on one core."""
    folder = tmp_path_factory.mktemp("two")
    leave_unfinished(str(model), folder / "runs" / "of one")
    done = run_two(folder, TESTS / "training" / "distributed_fit.py", model, folder / "runs")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout, [json.loads((folder / "runs" / f"seen-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["full", "short"])
def test_two_processes_give_what_one_gives(one, two, name):
    alone, together = one[name], two[2][0]["runs"][name]
    assert two[2][0]["processes"] == 2
    assert len(together["step_losses"]) == len(alone["step_losses"]) == 9  # the same batches, shared
    for key in ("step_losses", "logits"):
        np.testing.assert_allclose(together[key], alone[key], rtol=0, atol=TOLERANCE)
    for ours, theirs in zip(together["history"], alone["history"], strict=True):
        assert ours == pytest.approx(theirs, rel=0, abs=TOLERANCE)
    assert together["metrics"] == alone["metrics"]
    assert together["best_epoch"] == alone["best_epoch"]


def test_the_processes_agree_to_the_last_bit(two):
    """If they did not, one could stop early while the other waits for it."""
    first, second = (seen["runs"] for seen in two[2])
    assert first == second


def test_a_resumed_run_of_two_ends_as_an_uninterrupted_one_bit_for_bit(two):
    """With dropout: each process goes on with its own random numbers."""
    runs = two[2][0]["runs"]
    assert runs["resumed"] == runs["dropout"]
    assert runs["dropout"]["step_losses"] != runs["full"]["step_losses"]


def assert_same_run(found, expected):
    assert len(found["step_losses"]) == 9
    for key in ("step_losses", "logits"):
        np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=TOLERANCE)


def test_what_one_process_left_unfinished_two_finish(one, two):
    _, output, seen = two
    for found in seen:
        assert_same_run(found["taken over"], one["full"])
    lines = [line.split(":")[0] for line in output.splitlines() if line.startswith("epoch ")]
    assert lines[-3:] == ["epoch 1", "epoch 2", "epoch 3"]  # the first of the run that is left to one process
    assert lines.count("epoch 1") == 4 + 2, "it started over"


def test_what_two_processes_left_unfinished_one_finishes(model, one, two, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "lines")
    assert_same_run(train(str(model), two[0] / "runs" / "of two"), one["full"])
    output = capsys.readouterr().out
    assert "epoch 1:" not in output and "epoch 2:" in output, "it started over"


def test_every_validation_row_is_predicted_by_one_process(two):
    assert [seen["rows predicted"] for seen in two[2]] == [8, 7]  # of 15


def test_one_of_two_processes_prints_and_writes(two):
    folder, output, _ = two
    wrote = who_wrote(folder)
    assert {"seen-0.json"} < wrote["0"] and wrote["1"] == {"seen-1.json"}  # the script's own
    lines = [line for line in output.splitlines() if line.startswith("epoch ")]
    # Three epochs of four runs, each epoch once; one of the run that does not go on; one of the run that is left to one
    # process; two of the run that one had begun.
    assert len(lines) == 3 * 4 + 1 + 1 + 2
    left = sorted(path.name for path in (folder / "runs" / "full" / "checkpoint").iterdir())
    assert left == ["best.safetensors", "state.safetensors"]


def test_a_checkpoint_that_not_all_machines_see_is_refused(two):
    for rank, seen in enumerate(two[2]):
        assert f"apart-{rank}" in seen["apart"] and "is there for 1 of 2 processes" in seen["apart"]


def own_file(folder):
    rows = [f"{text},{label}" for text, label in zip(*toy_texts(151), strict=True)]
    (folder / "my.csv").write_text("\n".join(["message,mood", *rows]) + "\n")
    return ["--dataset", folder / "my.csv", "--text-column", "message", "--label-column", "mood"]


@pytest.mark.long
def test_the_command_line_trains_in_two_processes(model, tmp_path):
    """And says and writes everything once. 15 s on one core."""
    names = own_file(tmp_path)
    options = ["--epochs", 6, "--learning-rate", 5e-3, "--batch-size", 16, "--run-name", "two"]
    done = run_two(tmp_path, "-m", "helpers", "train", "--model", model, *names, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / "runs" / "cli" / "two"
    for begin in ("train 121, validation 15", "There is no test split", "epoch 6:", "accuracy", f"run folder: {run}"):
        assert sum(line.startswith(begin) for line in done.stdout.splitlines()) == 1, done.stdout
    assert set(who_wrote(tmp_path)) == {"0"}
    assert ".lock" in who_wrote(tmp_path)["0"]
    assert {path.name for path in run.iterdir()} == {
        ".lock", "config.json", "figures", "history.csv", "incorrect_predictions.csv", "metrics.json", "model",
        "parameters.json", "predictions.csv",
    }  # fmt: skip
    record = json.loads((run / "metrics.json").read_text())
    assert (record["processes"], record["sizes"]["test"]) == (2, 15)
    assert record["accuracy"] > 0.6
    assert len((run / "predictions.csv").read_text().splitlines()) == 16


@pytest.mark.long
@pytest.mark.parametrize("fault", ["column", "lock"])
def test_an_error_of_two_processes_is_said_once(model, tmp_path, fault):
    """No process is left waiting for the other. 15 s on one core each."""
    names, run = own_file(tmp_path), tmp_path / "runs" / "cli" / "two"
    if fault == "lock":
        run.mkdir(parents=True)
    else:
        names[-1] = "feeling"
    with FileLock(run / ".lock") if fault == "lock" else contextlib.nullcontext():
        done = run_two(tmp_path, "-m", "helpers", "train", "--model", model, *names, "--run-name", "two")
    says = {"column": "Error: my.csv has no column 'feeling'", "lock": f"Error: {run} is in use by another run"}[fault]
    assert done.returncode != 0
    assert [
        line.startswith(says) for line in done.stderr.splitlines() if "Error: " in line and "Child" not in line
    ] == [True]
    assert not (run / "config.json").exists()
