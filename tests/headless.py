"""For the tests: run a notebook as a learner's batch job would, in a process of its own, with the network blocked."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from standin_hub import TOKEN

from helpers.assets.defaults import read_notebook
from helpers.files import ROOT

OFFLINE = Path(__file__).resolve().parent / "offline"

# Small, for tests that ask whether a notebook runs and not what it finds. A notebook takes those that it knows.
REDUCED = {
    "epochs": 1,
    "max_train_examples": 96,
    "max_validation_examples": 40,
    "max_length": 48,
    "seeds": 1,
    "comparison_examples": 60,
    "decoder_examples": 40,
}


@dataclass(frozen=True)
class Headless:
    """What a notebook's process left behind."""

    returncode: int
    terminal: str  # stdout and stderr
    executed: Path
    runs: Path
    network: str  # attempts to leave this machine, a line each

    def records(self) -> list[dict]:
        """Return every `metrics.json` of the run."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.runs.rglob("metrics.json"))]

    def error(self) -> list[str]:
        """Return the traceback of the cell that failed, line by line."""
        cells = nbformat.read(self.executed, as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        return next((o.traceback for o in outputs if o.output_type == "error" and o.ename != "Stopped"), [])


def reduced_parameters(notebook: Path, **own) -> dict:
    """Return `REDUCED` and the test's own parameters, as far as `notebook` has them."""
    known = read_notebook(notebook.stem)["parameters"]
    return {name: value for name, value in (REDUCED | own).items() if name in known}


def offline_environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return this process's environment with the network blocked, and every cache and run below `folder`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    own = {
        "PYTHONPATH": os.pathsep.join([str(OFFLINE), str(ROOT)]),
        "COURSE_NETWORK_LOG": str(folder / "network.log"),
        "COURSE_RUNS": str(folder / "runs"),
        "HF_HOME": str(folder / "hf"),
    }
    return kept | own | variables


def start_notebook(notebook: Path, folder: Path, parameters: dict, environment: dict[str, str]) -> subprocess.Popen:
    """Start papermill's own command line on `notebook`; the executed copy is written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(notebook), str(folder / notebook.name), "-k", "python3"]
    command += ["--cwd", str(ROOT / "notebooks"), "--no-progress-bar", "--log-output", "-y", json.dumps(parameters)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish_notebook(process: subprocess.Popen, notebook: Path, folder: Path, *, timeout: float = 600) -> Headless:
    """Wait for `process` and return what it left."""
    try:
        terminal, _ = process.communicate(timeout=timeout)
    finally:
        process.kill()
    log = folder / "network.log"
    network = log.read_text(encoding="utf-8") if log.exists() else ""
    return Headless(process.returncode, terminal, folder / notebook.name, folder / "runs", network)


def run_notebook(notebook: Path, folder: Path, parameters: dict, **variables: str) -> Headless:
    """Run `notebook` to its end or failure, with the network blocked."""
    process = start_notebook(notebook, folder, parameters, offline_environment(folder, **variables))
    return finish_notebook(process, notebook, folder)


def run_beside_hub(notebook: Path, hub, folder: Path, parameters: dict) -> tuple[Headless, dict]:
    """Run papermill as the notebook says, with no network but `hub`; return the run and metrics.json if there is one."""
    variables = hub.environment(folder / "hf", token=TOKEN) | {"OMP_NUM_THREADS": "1"}
    done = run_notebook(notebook, folder, parameters, **variables)
    return done, next(iter(done.records()), {})
