"""`python -m helpers sweep`, with Snakemake: failures, `kill -9`, and the same records as without."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_cell import wait_for, write_notebook

from helpers.exceptions import AssetError
from helpers.files import ROOT
from helpers.leaderboard.sweep import find_snakemake

try:
    find_snakemake()
except AssetError as error:
    pytest.skip(str(error), allow_module_level=True)

MINE = """
notebook: own.ipynb
grid:
  seed: [1, 2]
parameters: {{seconds: {seconds}}}
systems: {{A: {{}}, B: {{fail: {fail}}}}}
resources: {{threads: 1, memory_mb: 100, minutes: 1, gpus: 0}}
"""


def write_sweep(folder: Path, *, seconds: float = 0, fail: bool = False) -> Path:
    write_notebook(folder / "own.ipynb")
    path = folder / "mine.yaml"
    path.write_text(MINE.format(seconds=seconds, fail=str(fail).lower()), encoding="utf-8")
    return path


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "helpers", "sweep", str(folder / "mine.yaml"), *options]
    own = os.environ | {"PYTHONPATH": str(ROOT), "COURSE_RUNS": str(folder / "runs")} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=own, cwd=folder, **pipes)


def run(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    process = start(folder, *options, **environment)
    terminal, _ = process.communicate(timeout=1200)
    return process.returncode, terminal


def find_cells(folder: Path) -> Path:
    return folder / "runs" / "sweeps" / "mine" / "own"


def read_records(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in find_cells(folder).glob("*/metrics.json")}


def count_begun(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.read_text().count("\n") for path in find_cells(folder).glob("*/begun.txt")}


def list_processes(folder: Path) -> list[str]:
    """Return the commands of all processes that have to do with `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(folder) in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(command)
    return found


def test_a_failed_cell_does_not_stop_the_others_and_is_listed(tmp_path):
    """About 30 s on a free machine."""
    write_sweep(tmp_path, fail=True)
    status, terminal = run(tmp_path, "--cores", "2")
    assert status == 2
    assert set(read_records(tmp_path)) == {"A-seed1", "A-seed2"}
    assert "2 cells failed; run the same command again for these alone:" in terminal
    assert terminal.count("ValueError: this cell fails") == 2 and "B-seed2/cell.log" in terminal
    assert "2 of 4 cells done, 2 failed" in terminal
    assert set(count_begun(tmp_path).values()) == {1}
    write_sweep(tmp_path, fail=False)
    status, terminal = run(tmp_path, "--cores", "2")
    assert status == 0 and "4 of 4 cells done" in terminal and len(read_records(tmp_path)) == 4
    assert count_begun(tmp_path) == {"A-seed1": 1, "A-seed2": 1, "B-seed1": 2, "B-seed2": 2}


def test_killed_twice_it_goes_on_to_the_same_records(tmp_path):
    """About 40 s on a free machine: kill -9 of `sweep`, then of Snakemake; no process is left, nothing done twice."""
    write_sweep(tmp_path, seconds=0.5)
    cells, finished = find_cells(tmp_path), {}
    for victim, at in (("sweep", "A-seed2"), ("snakemake", "B-seed1")):
        process = start(tmp_path, "--cores", "1")
        wait_for(cells / at / "begun.txt", 600)
        target = process.pid
        if victim == "snakemake":
            (target,) = [child.pid for child in psutil.Process(process.pid).children()]
        os.kill(target, signal.SIGKILL)
        process.communicate(timeout=600)
        for _ in range(600):
            if not (left := list_processes(tmp_path)):
                break
            time.sleep(0.1)
        assert not left
        finished |= {name: (cells / name / "metrics.json").stat().st_mtime_ns for name in read_records(tmp_path)}
    status, terminal = run(tmp_path, "--cores", "1")
    assert status == 0, terminal
    assert 1 <= len(finished) < 4
    for name, moment in finished.items():
        assert (cells / name / "metrics.json").stat().st_mtime_ns == moment, "a finished cell was done again"
    records = {name: json.loads(record) for name, record in read_records(tmp_path).items()}
    assert records == {f"{s}-seed{seed}": {"seed": seed, "score": seed / 7} for s in "AB" for seed in (1, 2)}


def test_two_sweeps_of_one_folder_are_refused(tmp_path):
    """About 10 s on a free machine."""
    write_sweep(tmp_path, seconds=3)
    first = start(tmp_path, "--cores", "2")
    wait_for(find_cells(tmp_path) / "A-seed1" / "begun.txt", 600)
    status, terminal = run(tmp_path)
    assert status == 2 and "is in use by another `sweep`: wait for it, or end it." in terminal
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=600)
    assert not list_processes(tmp_path)


def test_a_finished_cell_of_other_parameters_is_not_passed_off_as_this_one(tmp_path):
    """About 20 s on a free machine."""
    write_sweep(tmp_path)
    assert run(tmp_path, "--cores", "2")[0] == 0
    write_sweep(tmp_path, seconds=0.1)
    status, terminal = run(tmp_path)
    assert status == 2 and "A-seed1 (seconds) was finished with other parameters (4 such cells)" in terminal


def test_a_dry_run_lists_the_cells_and_runs_none(tmp_path):
    write_sweep(tmp_path)
    status, terminal = run(tmp_path, "--dry-run", "--cores", "2")
    assert status == 0
    lines = terminal.splitlines()
    assert lines[0].split() == ["cell", "state", "time", "memory", "threads", "cards"]
    assert lines[1].split() == ["A-seed1", "to", "do", "?", "0.1", "GiB", "1", "0"]
    assert lines[-1] == "4 cells, 4 to do; how long that takes is not known."
    assert not find_cells(tmp_path).exists()
