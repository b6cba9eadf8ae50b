"""What must hold of the notebooks as they are committed, besides that their outputs can be reproduced."""

import ast
import platform
import re
import shutil

import nbformat
import pytest

from helpers.assets.find import ROOT
from helpers.assets.install import REPOSITORY
from helpers.course.notebooks import find_notebooks, list_parameters, move_repository

SHARED_PARAMETERS = {"profile", "dataset", "text_column", "label_column", "max_train_examples", "seed", "run_name"}
each_notebook = pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@each_notebook
def test_executed_top_to_bottom_without_errors_or_noise(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


# Where a home, a temporary or a working folder begins, and what else belongs to one machine: its addresses, its name.
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|var|mnt|opt|usr|work|workspace|content|private)/|[A-Za-z]:\\+\w|file://|~/"
    r"|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[\w-]+@[\w-]+"
)


def find_traces(content) -> list[str]:
    """Return what a notebook would tell about the machine and the editor it was executed with."""
    traces = [f"metadata {name!r}" for name in {*content.metadata} - {"kernelspec", "language_info"}]
    own = platform.node()
    names = [own] if re.search(r"[\d.-]", own) and own != "localhost" else []  # a name like "laptop" is a word as well
    for cell in content.cells:
        traces += [f"cell metadata {name!r}" for name in {*cell.metadata} - {"tags"}]
        for output in cell.get("outputs", []):
            shown = {"text": output.get("text", ""), **output.get("data", {})}
            traces += [f"output metadata {name!r}" for name in output.get("metadata", {})]
            traces += [f"{kind!r}" for kind in shown if "widget" in kind]
            for text in (str(value) for kind, value in shown.items() if not kind.startswith("image/")):
                traces += [text[max(0, m.start() - 20) :][:80] for m in MACHINE.finditer(text)]
                traces += [name for name in names if name in text]
    return traces


@each_notebook
def test_nothing_tells_of_the_machine_it_ran_on(path):
    content = nbformat.read(path, as_version=4)
    assert (content.metadata.kernelspec.name, content.metadata.language_info.name) == ("python3", "python")
    assert find_traces(content) == []
    assert path.stat().st_size < 1.5e6


@pytest.mark.parametrize(
    "text",
    [
        "saved to /home/ada/course/runs", "see /tmp/x.png", "C:\\Users\\ada", "<a href='file:///x'>", "~/course",
        "ada@engine", "http://localhost:8888", "192.168.1.7", "kernel of engine-1.local",
    ],
)  # fmt: skip
def test_a_trace_is_found(text, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "engine-1.local")
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=text)])
    assert find_traces(nbformat.v4.new_notebook(cells=[cell]))


def test_widget_state_is_found_and_ordinary_output_is_not():
    shown = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox()"}
    widget = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data=shown)])
    plain = [nbformat.v4.new_output("stream", text="runs/01/laptop/metrics.json, 1/2, torch 2.13.0, and/or, a: b\n")]
    assert find_traces(nbformat.v4.new_notebook(cells=[widget], metadata={"widgets": {}})) == [
        "metadata 'widgets'",
        "'application/vnd.jupyter.widget-view+json'",
    ]
    assert find_traces(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=plain)])) == []


@each_notebook
def test_parameters_are_flat_literals_with_a_meaning(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    for statement in ast.parse(cell.source).body:
        ast.literal_eval(statement.value)
    parameters = list_parameters(path)
    assert set(parameters) >= SHARED_PARAMETERS
    assert all(found["meaning"] for found in parameters.values())


@each_notebook
def test_badge_and_first_cell_name_the_repository(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    assert f"colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{path.name}" in first
    assert f"https://github.com/{REPOSITORY}" in code_cells(path)[0].source


@each_notebook
def test_few_cells_are_left_uncompared(path):
    # Numbers of trained weights differ between processors; everything else is compared with what is stored.
    cells = code_cells(path)
    uncompared = [cell for cell in cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(uncompared) <= len(cells) / 4


def test_readme_lists_every_notebook():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{path.name}" in readme for path in find_notebooks())


def addresses(text):
    """Return every repository of this name, or on Colab, that `text` links to."""
    on_github = re.findall(r"github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?(?=[/\"')#\s]|$)", text)
    return {name.removeprefix("github/") for name in on_github if name.endswith(REPOSITORY.split("/")[1])} | set(
        re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)", text)
    )


def test_everything_names_one_repository():
    files = [*ROOT.glob("*.md"), *(ROOT / "notebooks").rglob("*.md"), *find_notebooks()]
    named = {path.name: addresses(path.read_text(encoding="utf-8")) for path in files}
    assert all(found <= {REPOSITORY} for found in named.values()), named
    assert all(named[path.name] == {REPOSITORY} for path in find_notebooks())


def test_one_command_moves_the_course(tmp_path):
    for name in ("helpers", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.md"):
        shutil.copy(path, tmp_path)
    changed = move_repository("new-owner/new.name", tmp_path)
    assert {path.name for path in changed} >= {"bootstrap.py", *(path.name for path in find_notebooks())}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or REPOSITORY.encode() not in path.read_bytes(), path
    assert 'REPOSITORY = "new-owner/new.name"' in (tmp_path / "helpers" / "bootstrap.py").read_text()
    for path in find_notebooks():
        before, after = nbformat.read(path, 4), nbformat.read(tmp_path / "notebooks" / path.name, 4)
        assert [c.get("outputs") for c in after.cells] == [c.get("outputs") for c in before.cells]
        assert "colab.research.google.com/github/new-owner/new.name/blob/main" in after.cells[0].source
    assert move_repository(REPOSITORY, tmp_path) == changed  # and back
    assert (tmp_path / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()


@pytest.mark.parametrize("address", ["", "owner", "a/b/c", "https://github.com/a/b", "a b/c", "../x"])
def test_an_address_that_is_none_changes_nothing(address, tmp_path):
    with pytest.raises(ValueError, match="owner/name"):
        move_repository(address, tmp_path)
