"""Notebooks as files: executed headlessly and in place, listed, summarised; the command line; what Colab installs."""

import base64
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.assets import defaults, install
from helpers.assets.defaults import list_parameters
from helpers.cli.course import _parse
from helpers.course import notebooks
from helpers.course.expected import judge, write_bands
from helpers.course.notebooks import (
    Outcome,
    extract_figures,
    find_notebooks,
    refresh,
    run_headless,
    summary_lines,
)
from helpers.files import ROOT, read_json

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
PARAMETERS = "seed = 0  # of the random numbers\nmodel = None  # which one"
# What data/defaults.toml is for the course's own notebooks; the failing one has no table, and so no parameters.
DEFAULTS = """
[parameters.seed]
meaning = "of the random numbers"
kind = "seed"
[parameters.model]
meaning = "which one"
kind = "model"
[notebooks.01_good]
parameters = ["seed", "model"]
meaning = { model = "which one, here" }
[notebooks.01_good.all]
seed = 0
[notebooks.01_good.laptop]
model = "small"
[notebooks.01_good.gpu]
model = "large"
[notebooks.01_good.gpu.with.model.large]
seed = 7
"""
GOOD = """
import json, os
from pathlib import Path

folder = Path(os.environ["COURSE_RUNS"]) / "01_good" / "first"
folder.mkdir(parents=True, exist_ok=True)
record = {"notebook": "01_good", "model": "tiny", "accuracy": 0.75, "f1_macro": 0.5, "seed": seed}
(folder / "metrics.json").write_text(json.dumps(record))
print("printed", "by a cell")
"""
FAILING = "raise ValueError('the first line\\nthe second line')"
# The real command line, on notebooks, defaults and with a run folder of the test's own.
COMMAND = """
import functools, sys
from pathlib import Path
from helpers.assets import defaults
from helpers.course import notebooks
notebooks.NOTEBOOKS, runs = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
defaults.DEFAULTS = notebooks.NOTEBOOKS / "defaults.toml"
notebooks.run_headless = functools.partial(notebooks.run_headless, runs=runs)
from helpers.cli import main
main()
"""
PIXEL = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """The functions under test set these for their kernels; the next test shall find them as they were."""
    for name in ("COURSE_PROGRESS", "COURSE_RUNS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(defaults, "DEFAULTS", tmp_path / "notebooks" / "defaults.toml")
    return write_notebooks(tmp_path / "notebooks")


def write_notebooks(folder: Path) -> Path:
    folder.mkdir()
    write(folder / "01_good.ipynb", new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(GOOD))
    write(folder / "02_failing.ipynb", new_code_cell("before = 1"), new_code_cell(FAILING), new_code_cell("after = 1"))
    write(folder / "notes.ipynb", new_code_cell("not_numbered = True"))
    (folder / "defaults.toml").write_text(DEFAULTS, encoding="utf-8")
    return folder


def write(path: Path, *cells, **metadata) -> Path:
    nbformat.write(new_notebook(cells=list(cells), metadata=KERNEL | metadata), path)
    return path


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """What `python -m helpers run -p seed=7` does with the good and the failing notebook."""
    tmp_path = tmp_path_factory.mktemp("whole_run")
    return run_command(write_notebooks(tmp_path / "notebooks"), tmp_path / "runs", "run", "-p", "seed=7")


def run_command(folder: Path, runs: Path, *arguments: str, code: str = COMMAND) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, str(folder), str(runs), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def code_cells(path: Path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_good_notebook_runs_headless_with_parameters(folder, tmp_path):
    source = (folder / "01_good.ipynb").read_bytes()
    outcome = run_headless(folder / "01_good.ipynb", {"seed": 3}, runs=tmp_path / "runs")
    assert (outcome.notebook, outcome.error) == ("01_good", None)
    assert outcome.record == {"notebook": "01_good", "model": "tiny", "accuracy": 0.75, "f1_macro": 0.5, "seed": 3}
    assert outcome.executed == tmp_path / "runs" / "01_good" / "01_good.ipynb"
    cells = code_cells(outcome.executed)
    assert [cell.execution_count for cell in cells] == [1, 2, 3]  # papermill adds a cell with the parameters
    assert cells[-1].outputs[0].text == "printed by a cell\n"
    assert (folder / "01_good.ipynb").read_bytes() == source


def test_failing_notebook_is_an_outcome_with_the_error_in_one_line(folder, tmp_path):
    outcome = run_headless(folder / "02_failing.ipynb", runs=tmp_path / "runs")
    assert outcome.error == "ValueError: the first line"
    assert outcome.record is None
    outputs = [output for cell in code_cells(outcome.executed) for output in cell.outputs]
    assert any("the second line" in "\n".join(output.get("traceback", [])) for output in outputs)
    assert code_cells(outcome.executed)[-1].execution_count is None


def test_metrics_of_an_earlier_run_are_not_taken_for_this_one(folder, tmp_path):
    earlier = tmp_path / "runs" / "02_failing" / "old" / "metrics.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text('{"accuracy": 1.0}')
    os.utime(earlier, (time.time() - 60, time.time() - 60))
    assert run_headless(folder / "02_failing.ipynb", runs=tmp_path / "runs").record is None


def make_record(accuracy: float) -> dict:
    settings = {"notebook": "01_good", "model": "tiny", "dataset": "moments", "sizes": {"test": 100}, "seed": 0}
    return settings | {"epochs": 1, "learning_rate": 0.1, "batch_size": 8, "accuracy": accuracy, "f1_macro": 0.5}


@pytest.mark.parametrize(
    "record, error, verdict, scores",
    [
        (make_record(0.8), None, "inside", ["0.800", "0.500"]),
        (make_record(0.6), None, "OUTSIDE", ["0.600", "0.500"]),
        (make_record(0.8) | {"model": "other"}, None, "no band", ["0.800", "0.500"]),
        (None, None, "no band", ["-", "-"]),
        (None, "ValueError: broken", "FAILED", ["-", "-"]),
        (make_record(0.8), "ValueError: broken", "FAILED", ["0.800", "0.500"]),
    ],
)
def test_summary_line_gives_scores_and_verdict(record, error, verdict, scores, tmp_path, monkeypatch):
    write_bands([make_record(0.8)], ("accuracy",), tmp_path / "expected.json")
    monkeypatch.setattr(notebooks, "judge", lambda record: judge(record, tmp_path / "expected.json"))
    lines = summary_lines([Outcome("01_good", 12.3, record, ROOT / "runs" / "01_good" / "01_good.ipynb", error)])
    assert [line.strip() for line in lines[2:]] == ([error] if error else [])
    assert lines[1].split() == ["01_good", "12", "s", *scores, *verdict.split(), "runs/01_good/01_good.ipynb"]


def test_summary_line_shows_the_time_beside_the_one_foretold(tmp_path):
    outcome = Outcome("01_good", 12.3, make_record(0.8), tmp_path / "01_good.ipynb", None)
    head, line = summary_lines([outcome], {"01_good": 9.6})
    assert head.split()[:4] == ["notebook", "time", "foretold", "accuracy"]
    assert line.split()[:6] == ["01_good", "12", "s", "10", "s", "0.800"]


def test_a_follower_hears_of_each_cell_and_takes_the_output(folder, tmp_path):
    follower = SimpleNamespace(output=io.StringIO(), heard=[])
    follower.note = lambda cell, **_: follower.heard.append(cell.id)
    outcome = run_headless(folder / "01_good.ipynb", {"seed": 3}, tmp_path / "runs", follower)
    first, with_parameters, last = (cell.id for cell in code_cells(outcome.executed))
    assert follower.heard == [first, with_parameters, last]
    assert [first, last] == [cell.id for cell in code_cells(folder / "01_good.ipynb")]
    assert follower.output.getvalue() == "printed by a cell\n"


def test_run_says_how_long_it_will_take_and_how_long_it_took(folder, tmp_path):
    cells = {cell.id: [1.0, 0.5] for cell in code_cells(folder / "01_good.ipynb")}
    probe = {"training": 1.0, "python": 1.0}
    (tmp_path / "work.json").write_text(json.dumps({"01_good": {"laptop": {"probe": probe, "cells": cells}}}))
    own = "from helpers.course import timing\ntiming.ask_probe = lambda: {'profile': 'laptop', 'training': 4, 'python': 2}\n"
    own += f"timing.foretell.__defaults__ = (Path({str(tmp_path / 'work.json')!r}),)\n"
    done = run_command(
        folder, tmp_path / "runs", "run", "01", code=COMMAND.replace("from helpers.cli", own + "from helpers.cli")
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "This takes about 10 s on this machine."
    assert done.stdout.splitlines()[-1].split()[3:5] == ["10", "s"]


def test_parameters_are_listed_with_default_and_meaning(folder):
    assert list_parameters("01_good") == {
        "seed": {"default": "0, 7 (model large)", "kind": "seed", "meaning": "of the random numbers"},
        "model": {"default": "small (laptop), large (gpu)", "kind": "model", "meaning": "which one, here"},
    }
    assert list_parameters("02_failing") == {}


def test_the_outcome_itself_knows_the_verdict():
    assert Outcome("01_good", 1.0, None, Path(), "ValueError: broken").verdict == "FAILED"
    assert Outcome("01_good", 1.0, {"notebook": "01_good", "accuracy": 0.5}, Path(), None).verdict == "no band"


def test_numbered_notebooks_are_found_in_order(folder):
    assert [path.name for path in find_notebooks()] == ["01_good.ipynb", "02_failing.ipynb"]
    assert [path.name for path in find_notebooks("02")] == ["02_failing.ipynb"]


def test_unknown_number_lists_the_known_ones(folder):
    with pytest.raises(ValueError, match=r"no notebook '99': use one of 01, 02\."):
        find_notebooks("99")


def test_refresh_stores_outputs_counts_and_only_the_course_s_metadata(folder):
    cells = [
        new_markdown_cell("# Title", metadata={"id": "x", "slideshow": {"slide_type": "slide"}}),
        new_code_cell(
            "1 + 1", execution_count=9, metadata={"tags": ["keep-me"], "alt": "Two.", "scrolled": True, "colab": {}}
        ),
        new_code_cell("print('new')", execution_count=4, outputs=[new_output("stream", text="old\n")]),
    ]
    foreign = {
        "kernelspec": {"display_name": "My env", "language": "python", "name": "conda-my-env"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}},
        "colab": {"provenance": []},
        "authors": [{"name": "me"}],
    }
    path = write(folder / "03_foreign.ipynb", *cells, **foreign)
    refresh(path)
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    assert content.metadata == KERNEL | {"language_info": {"name": "python"}}
    assert [cell.metadata for cell in content.cells] == [{}, {"tags": ["keep-me"], "alt": "Two."}, {}]
    assert [cell.execution_count for cell in content.cells[1:]] == [1, 2]
    assert content.cells[1].outputs[0].data == {"text/plain": "2"}
    assert [output.text for output in content.cells[2].outputs] == ["new\n"]


def test_refresh_twice_gives_the_same_bytes(folder):
    path = write(folder / "03_again.ipynb", new_code_cell("1 + 1"))
    refresh(path)
    once = path.read_bytes()
    refresh(path)
    assert path.read_bytes() == once


def test_refresh_stores_the_laptop_profile_s_outputs_though_there_is_a_gpu(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    there_is = "torch.cuda.is_available = lambda: os.environ.get('CUDA_VISIBLE_DEVICES') != ''"
    cell = f"import os, torch\nfrom helpers.device import pick_profile\n{there_is}\npick_profile()"
    path = write(folder / "03_profile.ipynb", new_code_cell(cell))
    refresh(path)
    assert code_cells(path)[0].outputs[0].data == {"text/plain": "'laptop'"}


def test_refresh_of_a_failing_notebook_leaves_it_as_it_was(folder):
    before = (folder / "02_failing.ipynb").read_bytes()
    with pytest.raises(CellExecutionError):
        refresh(folder / "02_failing.ipynb")
    assert (folder / "02_failing.ipynb").read_bytes() == before


def test_tagged_pictures_are_extracted(folder, tmp_path):
    picture = new_output("display_data", data={"image/png": base64.b64encode(PIXEL).decode(), "text/plain": "<Figure>"})
    printed = new_output("stream", text="a line before the picture\n")
    write(
        folder / "04_pictures.ipynb",
        new_markdown_cell("no outputs here", metadata={"tags": ["figure-none"]}),
        new_code_cell("plot()", outputs=[printed, picture], metadata={"tags": ["other", "figure-curve"]}),
        new_code_cell("plot()", outputs=[picture]),
    )
    written = extract_figures(tmp_path / "figures")
    assert written == [tmp_path / "figures" / "04_curve.png"]
    assert written[0].read_bytes() == PIXEL


def test_whole_run_goes_on_after_a_failure_and_then_fails(whole_run):
    assert whole_run.returncode == 1
    assert "Traceback" not in whole_run.stdout
    *_, head, good, failing, error = whole_run.stdout.splitlines()
    assert head.split()[:2] == ["notebook", "time"]
    assert good.startswith("01_good ") and "0.750" in good and "no band" in good
    assert failing.startswith("02_failing ") and "FAILED" in failing
    assert error.strip() == "ValueError: the first line"


def test_whole_run_shows_what_the_cells_print(whole_run):
    assert "printed by a cell" in whole_run.stdout + whole_run.stderr


def test_run_of_good_notebooks_succeeds(folder, tmp_path):
    done = run_command(folder, tmp_path / "runs", "run", "01", "-p", "seed=7")
    assert done.returncode == 0, done.stderr
    assert '"seed": 7' in (tmp_path / "runs" / "01_good" / "first" / "metrics.json").read_text()


SHOWING = """
import json, os
from pathlib import Path

folder = Path(os.environ["COURSE_RUNS"]) / "01_good" / "first"
folder.mkdir(parents=True, exist_ok=True)
record = {"notebook": "01_good", "model": model, "accuracy": 0.75, "f1_macro": 0.5, "seed": seed}
(folder / "metrics.json").write_text(json.dumps(record))
"""
# As COMMAND, but where runs go is left to COURSE_RUNS.
ELSEWHERE = "\n".join(line for line in COMMAND.splitlines() if "run_headless" not in line)


def test_paths_are_those_of_the_user_s_folder_and_course_runs_is_kept(folder, tmp_path):
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(SHOWING)]
    write(folder / "01_good.ipynb", *cells)
    (tmp_path / "here" / "my model").mkdir(parents=True)
    command = [sys.executable, "-c", ELSEWHERE, str(folder), "unused", "run", "01", "-p", "model=my model"]
    environment = os.environ | {"COURSE_RUNS": "own runs", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = read_json(tmp_path / "here" / "own runs" / "01_good" / "first" / "metrics.json")
    assert record["model"] == str(tmp_path / "here" / "my model")
    assert (tmp_path / "here" / "own runs" / "01_good" / "01_good.ipynb").exists()
    assert not (folder / "own runs").exists()


@pytest.mark.parametrize(
    "error, status",
    [("AssetError('there is no such file.')", 2), ("ValueError('of a library')", 1)],
)
def test_the_status_of_a_run_says_whose_the_fault_is(folder, tmp_path, error, status):
    write(folder / "01_good.ipynb", new_code_cell(f"from helpers.exceptions import AssetError\nraise {error}"))
    assert run_command(folder, tmp_path / "runs", "run", "01").returncode == status


def test_unknown_notebook_on_the_command_line_is_one_sentence():
    command = [sys.executable, "-m", "helpers", "parameters", "99"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: There is no notebook '99': use one of ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "pair, words",
    [
        ("seed", "Error: -p seed: write it as name=value."),
        pytest.param("seed=[1", "Error: -p seed=[1"),
        ("epochz=3", "Error: -p epochz: there is no such parameter"),
    ],
)
def test_malformed_parameter_on_the_command_line_is_one_sentence(pair, words, folder, tmp_path):
    done = run_command(folder, tmp_path / "runs", "run", "01", "-p", pair)
    assert done.returncode == 2
    assert done.stderr.startswith(words)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments, shown", [(["01"], ["seed", "of the random numbers [0, 7 (model large)]"]), (["02"], [])]
)
def test_parameters_command_prints_name_meaning_and_default(arguments, shown, folder, tmp_path):
    done = run_command(folder, tmp_path / "runs", "parameters", *arguments)
    assert done.returncode == 0, done.stderr
    first = next(iter(done.stdout.splitlines()), "")
    assert first.split(maxsplit=1) == shown


@pytest.mark.parametrize(
    "pair, value",
    [
        ("epochs=3", 3),
        ("learning_rate=0.0002", 0.0002),
        pytest.param("learning_rate=2e-4", 0.0002),
        ("model=None", None),
        ("model=null", None),
        ("resume=true", True),
        ("dataset=./my=data.csv", "./my=data.csv"),
        ("model=Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
    ],
)
def test_parameter_value_gets_its_type(pair, value):
    (found,) = _parse([pair]).values()
    assert found == value and type(found) is type(value)


def write_requirements(folder: Path, *lines: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "line, missing",
    [
        ("pyyaml", []),
        (f"pyyaml>={yaml.__version__}  # present", []),
        ("pyyaml>=9999", ["pyyaml>=9999"]),
        ("pyyaml<1", ["pyyaml<1"]),
        ("no-such-package-anywhere>=1", ["no-such-package-anywhere>=1"]),
        ("torch>=9999", []),
        ("numpy>=9999", []),
        ("jupyterlab>=9999", []),
        ("ipykernel>=9999", []),  # the running kernel
        ("# a comment", []),
        ("", []),
    ],
)
def test_requirement_is_missing_if_absent_or_out_of_range(line, missing, tmp_path):
    assert install.missing_requirements(write_requirements(tmp_path, line)) == missing


def test_all_missing_requirements_are_listed_in_order(tmp_path):
    path = write_requirements(tmp_path, "# course", "no-such-a>=1", "torch>=9999", "", "pyyaml", "no-such-b  # why")
    assert install.missing_requirements(path) == ["no-such-a>=1", "no-such-b"]


def test_nothing_is_missing_where_the_tests_run():
    assert install.missing_requirements() == []


def test_install_needs_neither_the_course_nor_its_libraries():
    script = "import runpy, sys; runpy.run_path('helpers/assets/install.py'); print(sorted(set(sys.modules) & {'helpers', 'numpy', 'torch'}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_install_says_what_it_left_alone_installed_and_made_newer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install, "missing_requirements", lambda: ["pyyaml>=9999", "nbformat>=9999"])
    monkeypatch.setattr(install, "install_missing", lambda: [])
    monkeypatch.setattr(install.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    install.main()
    kept, installed, newer = capsys.readouterr().out.splitlines()
    assert kept.startswith("left as they are: torch ") and ", numpy " in kept
    assert installed == f"installed: pyyaml {yaml.__version__}, nbformat {nbformat.__version__}"
    assert newer.startswith("newer now: pyyaml, nbformat.") and "restart the runtime" in newer


def test_install_without_a_package_index_ends_in_a_sentence(monkeypatch):
    monkeypatch.setattr(install, "missing_requirements", lambda: ["no-such-package-anywhere>=1"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        SystemExit, match=r"no-such-package-anywhere>=1 could not be installed: .* run this cell again\."
    ):
        install.install_missing()
