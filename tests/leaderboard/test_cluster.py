"""The script that trains one cell on several machines: its options, what it refuses, and that its command runs."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from tiny import LABELS, build_model, toy_texts

from helpers.exceptions import SettingError
from helpers.files import ROOT
from helpers.leaderboard import estimate
from helpers.leaderboard.cluster import write_script
from helpers.leaderboard.grid import read_sweep

TOY = """
name: toy
systems: {{A: {{model: "{model}", epochs: 2}}}}
grid: {{dataset: ["{data}"], seed: [0]}}
parameters: {{label_column: label, save_model: false, max_length: 32}}
resources: {{threads: 1, gpus: 0, memory_mb: 1500, minutes: 5}}
"""


def write_toy_sweep(folder: Path) -> Path:
    """Write a sweep of one cell, with its tiny model and data, and return its file."""
    model = build_model("bert", folder / "tiny-model")
    texts, labels = toy_texts(90)
    pd.DataFrame({"text": texts, "label": [LABELS[n] for n in labels]}).to_csv(folder / "toy.csv", index=False)
    file = folder / "toy.yaml"
    file.write_text(TOY.format(model=model, data=folder / "toy.csv"), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def no_probe(monkeypatch):
    monkeypatch.setattr(estimate, "_ask_probe", lambda threads: {"training": 0.2})


def test_the_script_asks_for_what_the_cell_needs_on_every_node(tmp_path):
    sweep = read_sweep(write_toy_sweep(tmp_path), tmp_path / "runs")
    script = write_script(sweep, "A-toy-seed0", nodes=3, per_node=2)
    head = {line.split("=")[0].removeprefix("#SBATCH --"): line.split("=")[1] for line in script.splitlines() if line.startswith("#SBATCH")}  # fmt: skip
    asked = {"nodes": "3", "ntasks-per-node": "1", "cpus-per-task": "2", "mem": "3000M", "time": "5"}
    assert asked.items() <= head.items() and "gpus-per-node" not in head
    assert "--nproc-per-node=2" in script and '--rdzv-endpoint="$first:29500"' in script
    assert script.splitlines()[-1].split()[:3] == ["-m", "helpers", "train"]
    assert "--no-save-model" in script and "--run-name A-toy-seed0" in script
    with_cards = (tmp_path / "toy.yaml").read_text().replace("gpus: 0", "gpus: 1")
    (tmp_path / "toy.yaml").write_text(with_cards)
    script = write_script(read_sweep(tmp_path / "toy.yaml", tmp_path / "runs"), "A-toy-seed0", per_node=4)
    assert "#SBATCH --gpus-per-node=4" in script


@pytest.mark.parametrize(
    "line, said",
    [
        ("grid: {dataset: [moments], fold: [1]}\nsystems: {A: {model: all-MiniLM-L6-v2}}", "`helpers train` has no fold"),
        ("grid: {dataset: [moments]}\nsystems: {A: {baseline: true}}", "`helpers train` has no baseline"),
        ("grid: {dataset: [moments]}\nsystems: {A: {}}", "name its model in sweep.yaml"),
    ],
)  # fmt: skip
def test_a_cell_that_only_the_notebook_can_run_is_refused(line, said, tmp_path):
    (tmp_path / "mine.yaml").write_text(line)
    sweep = read_sweep(tmp_path / "mine.yaml", tmp_path)
    with pytest.raises(SettingError, match=said):
        write_script(sweep, sweep.cells[0].name)


def test_a_cell_that_does_not_exist_is_refused(tmp_path):
    sweep = read_sweep(write_toy_sweep(tmp_path), tmp_path)
    with pytest.raises(SettingError, match="The sweep has no cell nobody"):
        write_script(sweep, "nobody")


@pytest.mark.skipif(os.name == "nt", reason="a script for bash")
def test_the_script_s_command_trains_in_two_processes(tmp_path):
    """About 60 s: without SLURM, on this machine."""
    sweep = read_sweep(write_toy_sweep(tmp_path), tmp_path / "runs")
    script = write_script(sweep, "A-toy-seed0", nodes=1, per_node=2, port=0)
    own = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    own |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(["bash", "-c", script], env=own, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "runs" / "cli" / "A-toy-seed0" / "metrics.json").read_text())
    assert record["processes"] == 2 and record["epochs"] == 2
