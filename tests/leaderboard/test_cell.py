"""One cell in its own process: no card is used twice, what is finished is not done again, errors are one line."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.files import ROOT, write_json

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a sweep needs Linux or macOS, as Snakemake does")
SCRIPT = ROOT / "workflow" / "cell.py"
PARAMETERS = "run_name = 'x'\nseed = 0\nfail = False\nseconds = 0"
# What stands for a notebook of the course: a run that takes `seconds`, notes that it was begun, and may fail.
BODY = """
import json, os, time
from pathlib import Path
folder = Path(os.environ["COURSE_RUNS"]) / "own" / run_name
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "begun.txt", "a") as file:
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"], file=file)
print("seed", seed)
time.sleep(seconds)
if fail:
    raise ValueError("this cell fails\\nsecond line")
(folder / "metrics.json").write_text(json.dumps({"seed": seed, "score": seed / 7}))
"""


def write_notebook(path: Path) -> Path:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(BODY)]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def write_plan(folder: Path, *, gpus: int = 0, **cells) -> Path:
    notebook = write_notebook(folder / "own.ipynb")
    resources = {"threads": 1, "gpus": gpus, "memory_mb": 100, "minutes": 5}
    known = {n: {"name": n, "parameters": p | {"run_name": n}, "resources": resources} for n, p in cells.items()}
    plan = {"notebook": str(notebook), "folder": str(folder / "sweep"), "python": sys.executable, "cells": known}
    return write_json(folder / "plan.json", plan)


def run_cell(plan: Path, name: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), str(plan), name, *options]
    own = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, capture_output=True, text=True, env=own, timeout=600)


def test_a_cell_leaves_its_record_and_is_not_done_again(tmp_path):
    """5 s."""
    plan = write_plan(tmp_path, one={"seed": 3})
    first = run_cell(plan, "one", "--threads", "2", CUDA_VISIBLE_DEVICES="0")
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "sweep" / "own" / "one"
    assert json.loads((folder / "metrics.json").read_text())["seed"] == 3
    assert json.loads((folder / "cell.json").read_text()) == {"seed": 3, "run_name": "one"}
    assert "seed 3" in first.stdout and (folder / "executed.ipynb").exists()
    assert run_cell(plan, "one").returncode == 0
    assert (folder / "begun.txt").read_text() == " 2\n"  # once, on two threads, the card hidden from it


def test_a_cell_that_fails_says_so_in_one_line(tmp_path):
    """3 s."""
    done = run_cell(write_plan(tmp_path, one={"fail": True}), "one", CUDA_VISIBLE_DEVICES="")
    folder = tmp_path / "sweep" / "own" / "one"
    assert done.returncode == 1
    assert (folder / "error.txt").read_text() == "ValueError: this cell fails\n"


def test_a_cell_of_another_process_is_waited_for(tmp_path):
    """5 s: both begin at once; one does the work, and the other finds it done."""
    plan = write_plan(tmp_path, one={"seconds": 2})
    command = [sys.executable, str(SCRIPT), str(plan), "one"]
    own = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    both = [subprocess.Popen(command, env=own) for _ in range(2)]
    assert [process.wait(600) for process in both] == [0, 0]
    assert (tmp_path / "sweep" / "own" / "one" / "begun.txt").read_text().count("\n") == 1


def test_a_cell_ends_with_the_process_that_started_it(tmp_path):
    """4 s."""
    plan = write_plan(tmp_path, one={"seconds": 60})
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as parent:
        command = [sys.executable, str(SCRIPT), str(plan), "one", "--parent", str(parent.pid)]
        own = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        with subprocess.Popen(command, env=own) as cell:
            wait_for(tmp_path / "sweep" / "own" / "one" / "begun.txt")
            parent.kill()
            parent.wait()
            assert cell.wait(30) == 1
    assert not (tmp_path / "sweep" / "own" / "one" / "metrics.json").exists()


def wait_for(path: Path, seconds: float = 600) -> None:
    start = time.monotonic()
    while not path.exists():
        assert time.monotonic() - start < seconds, f"{path} did not appear"
        time.sleep(0.05)


# --- Cards, which no machine of the tests has: their names are only passed on

CLAIM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {workflow!r})
from cell import claim_cards
with claim_cards({count}, {cards!r}, Path({folder!r})) as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""


def start_claim(folder: Path, count: int = 1, cards=("A", "B")) -> subprocess.Popen:
    code = CLAIM.format(workflow=str(SCRIPT.parent), count=count, cards=list(cards), folder=str(folder))
    own = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"} | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=own, **pipes)


def test_no_card_is_given_twice_and_one_that_is_killed_gives_it_up(tmp_path):
    first, second = (start_claim(tmp_path) for _ in range(2))
    given = [first.stdout.readline(), second.stdout.readline()]
    assert sorted(given) == ["A\n", "B\n"]
    third = start_claim(tmp_path)
    time.sleep(2)
    assert not select.select([third.stdout], [], [], 0)[0], "there is no card for a third"
    first.kill()
    first.wait()
    assert third.stdout.readline() == given[0]
    for process in (second, third):
        process.communicate("\n", timeout=600)
        assert process.returncode == 0


def test_more_cards_than_there_are_is_said(tmp_path):
    process = start_claim(tmp_path, count=3)
    _, error = process.communicate("\n", timeout=600)
    assert "gpus: 3 are asked for and this machine shows 2" in error


@pytest.mark.parametrize("visible, cards", [("", []), ("0,2", ["0", "2"]), ("-1", []), ("GPU-1", ["GPU-1"])])
def test_only_cards_that_are_visible_are_shared_out(visible, cards, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from cell import list_cards

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_cards() == cards
