"""What learners' machines do to a run: a full disk, a second run in the same folder, a kernel that is interrupted or dies.

More faults have their tests where their cause is: killed while training or while a checkpoint is written, lack of memory
and a loss that is not finite in test_training.py; killed or corrupted downloads in test_assets.py and test_prefetch.py.
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import nbformat
import pytest
from headless import finish_notebook, offline_environment, reduced_parameters, start_notebook
from safetensors.torch import load_file
from standin_hub import TOKEN, StandInHub
from tiny import build_model

from helpers import files, runs
from helpers.course.notebooks import find_notebooks
from helpers.files import ROOT

TESTS = ROOT / "tests"


def run_python(code: str, *arguments, prefix=()) -> subprocess.CompletedProcess:
    """Run `code` in a process of its own that finds helpers and the tests' modules."""
    paths = os.pathsep.join([str(TESTS), str(ROOT)])
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


# A full disk ---------------------------------------------------------------------------------------------------------

# Trains until the disk is full: after step 4 it leaves room for less than another checkpoint.
FILL = """
    import sys
    from pathlib import Path
    from tiny import FP32, LABELS, toy_data
    from helpers import exceptions, models, training
    model, folder, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

    def fill(step):
        state = folder / "checkpoint" / "state.safetensors"
        if step != 5 or how == "never":
            return
        assert state.exists()
        if how == "limit":
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (state.stat().st_size // 2,) * 2)
        else:
            left = shutil.disk_usage(folder).free
            (folder / "filler").write_bytes(bytes(max(0, left - state.stat().st_size // 2)))

    import shutil, torch
    calls = []
    def loss(logits, labels):
        calls.append(1)
        fill(len(calls))
        return torch.nn.functional.cross_entropy(logits, labels)

    config = training.TrainingConfig(epochs=2, batch_size=9, checkpoint_steps=2, learning_rate=1e-3)
    try:
        training.fit(models.load_classifier(model, LABELS), *toy_data(), config, device=FP32, run_folder=folder, loss_function=loss)
    except exceptions.DiskError as error:
        print(error)
        print(sorted(path.name for path in (folder / "checkpoint").iterdir()), len(calls))
        sys.exit(0)
    print(len(calls), "steps")
"""


def check_full_disk(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, done.stderr
    message, left = done.stdout.splitlines()[-2:]
    assert message.startswith("The disk is full: ") and "run again" in message
    assert left == "['best.safetensors', 'state.safetensors'] 5"  # the checkpoint of step 4, and no half file


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on file sizes to set")
def test_a_full_disk_is_said_in_a_sentence_and_spares_the_checkpoint(tmp_path):
    """A limit on file sizes takes the place of the full disk. 12 s: two processes that import torch."""
    model = build_model("bert", tmp_path / "model")
    check_full_disk(run_python(FILL, model, tmp_path / "run", "limit"))
    assert load_file(tmp_path / "run" / "checkpoint" / "state.safetensors")  # readable
    again = run_python(FILL, model, tmp_path / "run", "never")
    assert again.stdout.splitlines()[-1] == "6 steps", again.stderr  # of 10: it went on after step 4


@pytest.mark.skipif(not shutil.which("unshare"), reason="mounts a small disk in a namespace of its own (Linux)")
def test_a_really_full_disk_is_said_in_a_sentence_and_spares_the_checkpoint(tmp_path):
    """The same on a mounted disk of 4 MB. 5 s."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4m none "$0" && exec "$@"', str(disk)]
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    check_full_disk(run_python(FILL, build_model("bert", tmp_path / "model"), disk / "run", "fill", prefix=mount))


# Two runs in one folder ----------------------------------------------------------------------------------------------

HOLD = """
    import sys, time
    from pathlib import Path
    from helpers import runs
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    runs.claim_folder(folder)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_run(tmp_path):
    """A process that has opened the run folder 01/x, and lives until the test is over."""
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "01" / "x")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_in_the_same_folder_is_refused(other_run, tmp_path):
    with pytest.raises(ValueError, match=r"x is in use by another run: .*another run_name\.") as caught:
        runs.open_run_folder("01", "x", runs=tmp_path)
    assert "\n" not in str(caught.value)
    assert runs.open_run_folder("01", "y", runs=tmp_path).is_dir()


def test_a_folder_is_free_again_when_its_process_is_killed(other_run, tmp_path):
    other_run.kill()
    other_run.wait()
    assert runs.open_run_folder("01", "x", runs=tmp_path).is_dir()


def test_the_same_kernel_may_open_its_folder_again(tmp_path):
    assert runs.open_run_folder("01", "x", runs=tmp_path) == runs.open_run_folder("01", "x", runs=tmp_path)
    runs.finish_run(tmp_path / "01" / "x", {})


def test_a_folder_is_free_again_when_its_metrics_are_written(tmp_path):
    """So that a notebook which stays open in a browser does not keep the next run out."""
    folder = runs.open_run_folder("01", "x", runs=tmp_path)
    claim = (
        "from helpers.runs import claim_folder; from pathlib import Path; import sys; claim_folder(Path(sys.argv[1]))"
    )
    assert "is in use by another run" in run_python(claim, folder).stderr
    runs.finish_run(folder, {"accuracy": 1})
    assert files.read_json(folder / "metrics.json") == {"accuracy": 1}
    assert run_python(claim, folder).returncode == 0


def test_of_several_processes_of_one_run_only_the_first_takes_the_folder(other_run, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert runs.open_run_folder("01", "x", runs=tmp_path).is_dir()


# A notebook's kernel -------------------------------------------------------------------------------------------------

STOPPED = [
    pytest.param(
        path, end, id=f"{path.stem}-{end}", marks=pytest.mark.long if (number, end) != ("01", "interrupted") else ()
    )
    for number in ("01", "04")
    for path in find_notebooks(number)
    for end in ("interrupted", "killed")
]


def kernel_of(process: subprocess.Popen):
    import psutil

    return next(
        c for c in psutil.Process(process.pid).children(recursive=True) if "ipykernel_launcher" in " ".join(c.cmdline())
    )


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def said_in_training(run) -> str:
    """Return what the cell printed that trains in the run's own folder; others of the notebook train for a moment."""
    cells = [
        cell for cell in nbformat.read(run.executed, as_version=4).cells if "result = training.fit(" in cell.source
    ]
    return "".join(output.get("text", "") for output in cells[0].outputs)


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither signal")
@pytest.mark.parametrize("notebook, end", STOPPED)
def test_a_notebook_that_was_stopped_in_training_goes_on_when_run_again(notebook, end, tmp_path):
    """Ctrl-C (or the stop button) and a dead kernel, in the middle of training. Two runs of a notebook, 25 s each."""
    with StandInHub() as hub:
        parameters = reduced_parameters(notebook, profile="gpu", run_name="stopped", comparison_examples=0)
        parameters |= {"epochs": 40}
        variables = hub.environment(tmp_path / "hf", token=TOKEN) | {"COURSE_PROGRESS": "lines"}
        environment = offline_environment(tmp_path, **variables)
        process = start_notebook(notebook, tmp_path, parameters, environment)
        folder = tmp_path / "runs" / notebook.stem / "stopped"
        state = folder / "checkpoint" / "state.safetensors"
        wait_for(lambda: state.exists() or process.poll() is not None)
        kernel_of(process).send_signal(signal.SIGINT if end == "interrupted" else signal.SIGKILL)
        first = finish_notebook(process, notebook, tmp_path)
        assert first.returncode != 0 and first.executed.exists()
        assert state.exists() and load_file(state), "the last state is kept"
        assert not (folder / "metrics.json").exists()
        if end == "interrupted":
            assert any("KeyboardInterrupt" in line for line in first.error()), "the executed copy has the traceback"
        before = said_in_training(first)  # the next run writes to the same file
        again = finish_notebook(start_notebook(notebook, tmp_path, parameters, environment), notebook, tmp_path)
    assert again.returncode == 0, again.terminal[-3000:]
    after = said_in_training(again)
    assert "epoch 1: train loss" in before and "epoch 1: train loss" not in after, "it started over"
    assert "epoch 40: train loss" in after and before.count(": train loss ") < 40
    assert len((folder / "history.csv").read_text().splitlines()) == 41
    assert not (folder / "checkpoint").exists()
