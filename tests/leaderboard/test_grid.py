"""A sweep's file: every combination is one cell, and what cannot work is refused before any is begun."""

from pathlib import Path

import pytest

from helpers.exceptions import DataError, SettingError
from helpers.files import ROOT, write_json
from helpers.leaderboard import estimate, grid
from helpers.leaderboard.estimate import complete_resources, read_measured
from helpers.leaderboard.grid import GIVEN, list_changed, read_sweep

SMALL = """
name: small
systems:
  Words: {baseline: true}
  Small net: {model: all-MiniLM-L6-v2, epochs: 2, resources: {threads: 2}}
grid:
  dataset: [moments]
  fold: [1, 2]
  seed: [0, 7]
parameters: {folds: 3}
resources: {memory_mb: 900, minutes: 9}
"""


@pytest.fixture
def small(tmp_path):
    return write(tmp_path, SMALL)


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def finish(sweep, cell, **record) -> None:
    folder = sweep.find_folder(cell)
    folder.mkdir(parents=True)
    write_json(folder / GIVEN, cell.parameters)
    write_json(folder / "metrics.json", record)


def test_every_combination_is_a_cell(small, tmp_path):
    sweep = read_sweep(small, tmp_path / "runs")
    assert [cell.name for cell in sweep.cells] == [
        f"{system}-moments-fold{fold}-seed{seed}" for system in ("Words", "Small-net") for fold in (1, 2) for seed in (0, 7)
    ]  # fmt: skip
    last = sweep.cells[-1]
    assert last.parameters == {
        "system": "Small net", "folds": 3, "model": "all-MiniLM-L6-v2", "epochs": 2, "dataset": "moments", "fold": 2,
        "seed": 7, "run_name": "Small-net-moments-fold2-seed7",
    }  # fmt: skip
    assert last.resources == {"memory_mb": 900, "minutes": 9, "threads": 2}
    assert sweep.cells[0].resources == {"memory_mb": 900, "minutes": 9}
    assert sweep.find_folder(last) == tmp_path / "runs" / "experiment" / last.name


def test_the_course_s_own_sweep_has_four_systems_five_folds_and_two_seeds(tmp_path):
    sweep = read_sweep(ROOT / "workflow" / "sweep.yaml", tmp_path)
    assert len(sweep.cells) == 40 and len({cell.system for cell in sweep.cells}) == 4
    per_system = {(cell.parameters["fold"], cell.parameters["seed"]) for cell in sweep.cells}
    assert per_system == {(fold, seed) for fold in range(1, 6) for seed in (0, 1)}
    assert sweep.notebook.exists()
    assert len(read_sweep(ROOT / "workflow" / "curves.yaml", tmp_path).cells) == 30


def test_a_numbered_notebook_and_one_of_one_s_own(tmp_path):
    text = "notebook: {}\ngrid: {{seed: [0, 1]}}\n"
    sweep = read_sweep(write(tmp_path, text.format("04")), tmp_path)
    assert sweep.notebook.stem == "04_multilabel_emotions" and [c.name for c in sweep.cells] == ["seed0", "seed1"]
    (tmp_path / "own.ipynb").write_text("{}")
    sweep = read_sweep(write(tmp_path, text.format("own.ipynb")), tmp_path)
    assert sweep.notebook == (tmp_path / "own.ipynb").resolve()
    assert sweep.cells[1].parameters == {"seed": 1, "run_name": "seed1"}


def test_a_path_is_that_of_the_user_s_folder(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("text,label\na,b\n")
    monkeypatch.chdir(tmp_path)
    (cell,) = read_sweep(write(tmp_path, "grid: {dataset: [mine.csv]}"), tmp_path).cells
    assert cell.parameters["dataset"] == str(tmp_path / "mine.csv") and cell.name == "mine"


@pytest.mark.parametrize(
    "text, said",
    [
        ("system: {a: {}}", "mine.yaml: 'system' is unknown: use name, notebook, systems"),
        ("grid: {sed: [1]}", "the notebook has no parameter 'sed'"),
        ("grid: {seed: [-1]}", "seed=-1: it must be a whole number, and not negative"),
        ("systems: [a, b]", "write systems as a name and its parameters"),
        ("systems: {A B: {}, A-B: {}}", "two cells are called A-B"),
        ("grid: {seed: []}", "has no cell"),
        ("resources: {gpu: 1}", "resources: 'gpu' is unknown: use threads, gpus, memory_mb, minutes"),
        ("resources: {threads: 0}", "resources: threads=0: it must be a whole number"),
        ("notebook: mine.ipynb", "mine.ipynb is not there"),
        ("notebook: 99", "There is no notebook '99'"),
        ("name: ../up", "run_name='../up'"),
        ("a: b: c", "line 1 is not YAML that can be read"),
        ("- a", "holds no sweep"),
        ("grid: [1, 2]", "write grid as names and values"),
        ("parameters: x", "write parameters as names and values"),
        ("systems: {A: {model: no-such-model-here}}", "no-such-model-here"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(text, said, tmp_path):
    with pytest.raises((SettingError, RuntimeError), match=said.replace("[", r"\[")):
        read_sweep(write(tmp_path, text), tmp_path)


def test_a_file_that_is_not_there_names_one_that_is(tmp_path):
    with pytest.raises(SettingError, match=r"no\.yaml is not there: workflow/sweep\.yaml is one"):
        read_sweep(tmp_path / "no.yaml")


def test_where_only_the_package_is_installed_a_sweep_says_what_it_needs(small, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    with pytest.raises(SettingError, match="A sweep needs the folder workflow/"):
        read_sweep(small, tmp_path)


@pytest.mark.parametrize("name", [GIVEN, "metrics.json"])
@pytest.mark.parametrize("content", ['{"seco', "[1]"])
def test_a_damaged_file_of_a_finished_cell_is_named(name, content, small, tmp_path):
    sweep = read_sweep(small, tmp_path / "runs")
    finish(sweep, sweep.cells[0], seconds=5)
    (sweep.find_folder(sweep.cells[0]) / name).write_text(content)
    with pytest.raises(DataError, match=f"{name} cannot be read: delete"):
        (list_changed if name == GIVEN else read_measured)(sweep)


def test_a_power_of_ten_without_a_point_is_a_number(tmp_path):
    text = "systems: {A: {model: all-MiniLM-L6-v2, learning_rate: 2e-5}}\ngrid: {weight_decay: [1e-2, 1E-1]}"
    first, last = read_sweep(write(tmp_path, text), tmp_path).cells
    assert first.parameters["learning_rate"] == 2e-5 and last.parameters["weight_decay"] == 0.1


def test_a_finished_cell_with_other_parameters_is_noticed(small, tmp_path):
    sweep = read_sweep(small, tmp_path / "runs")
    finish(sweep, sweep.cells[0])
    finish(sweep, sweep.cells[4])
    assert list_changed(sweep) == []
    changed = read_sweep(write(tmp_path, SMALL.replace("epochs: 2", "epochs: 3")), tmp_path / "runs")
    assert list_changed(changed) == ["Small-net-moments-fold1-seed0 (epochs)"]


@pytest.fixture
def probe(monkeypatch):
    """A machine as fast as the zoo's at MiniLM: 32 texts take 32 / 179.8 s."""
    monkeypatch.setattr(estimate, "_ask_probe", lambda threads: {"training": 32 / 179.8})
    monkeypatch.setattr(estimate, "count_cards", lambda: 0)


def test_time_is_foretold_from_the_zoo_s_speed_and_the_probe(small, tmp_path, probe, monkeypatch):
    sweep = read_sweep(small, tmp_path / "runs")
    found = complete_resources(sweep)
    words, net = found["Words-moments-fold1-seed0"], found["Small-net-moments-fold1-seed0"]
    assert words["seconds"] == estimate.BASE_SECONDS
    scored = 2124 / 3
    learnt, tuning = 0.85 * (2124 - scored), 0.15 * (2124 - scored)
    expected = 2 * learnt / 179.8 + (3 * tuning + scored) / 638
    assert net["seconds"] == pytest.approx(estimate.BASE_SECONDS + expected)
    monkeypatch.setattr(estimate, "_ask_probe", lambda threads: {"training": 10 * 32 / 179.8})
    slower = complete_resources(sweep)["Small-net-moments-fold1-seed0"]["seconds"]
    assert slower == pytest.approx(estimate.BASE_SECONDS + 10 * expected)


def test_what_cells_of_a_system_took_here_is_known_better(small, tmp_path, probe):
    sweep = read_sweep(small, tmp_path / "runs")
    finish(sweep, sweep.cells[4], seconds=50)
    finish(sweep, sweep.cells[5], seconds=70)
    found = complete_resources(sweep)
    assert {found[cell.name]["seconds"] for cell in sweep.cells[4:]} == {60}
    assert found[sweep.cells[0].name]["seconds"] == estimate.BASE_SECONDS


def test_memory_is_the_course_s_sum_unless_it_is_given(tmp_path, probe):
    def ask(system: str) -> int:
        (cell,) = read_sweep(write(tmp_path, f"systems: {{A: {system}}}"), tmp_path).cells
        return estimate.estimate_memory(read_sweep(write(tmp_path, f"systems: {{A: {system}}}"), tmp_path), cell)

    base = ask("{baseline: true}")
    assert base == 1.25 * estimate.BASE_MB
    assert ask("{model: Mistral-7B-v0.1}") == round(base + 1.25 * 7.0 * 1024)  # as the zoo says, QLoRA
    assert ask("{model: Mistral-7B-v0.1, method: full}") > 16 * 7.1e9 / 2**20
    given = read_sweep(write(tmp_path, "resources: {memory_mb: 5}"), tmp_path)
    assert complete_resources(given)["run"]["memory_mb"] == 5


def test_a_cluster_gets_three_times_the_foretold_time(small, tmp_path, probe):
    sweep = read_sweep(write(tmp_path, SMALL.replace(", minutes: 9", "")), tmp_path / "runs")
    finish(sweep, sweep.cells[4], seconds=600)
    assert complete_resources(sweep)["Small-net-moments-fold1-seed0"]["minutes"] == 30
