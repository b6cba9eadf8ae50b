"""What must hold of the notebooks as they are committed, besides that their outputs can be reproduced."""

import ast
import contextlib
import inspect
import platform
import re
import shutil
from functools import reduce
from importlib import import_module

import nbformat
import numpy as np
import pytest

from helpers.assets.defaults import list_parameters
from helpers.assets.install import REPOSITORY
from helpers.course import choose
from helpers.course.notebooks import find_notebooks, move_repository
from helpers.files import ROOT
from helpers.models import find_defaults

SHARED_PARAMETERS = {"profile", "dataset", "text_column", "label_column", "max_train_examples", "seed", "run_name"}
each_notebook = pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def after_parameters(path) -> list:
    """Return the code cells that follow the parameters cell."""
    cells = code_cells(path)
    return cells[1 + next(i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", [])) :]


def whole_source(path) -> ast.Module:
    return ast.parse("\n".join(cell.source for cell in code_cells(path)))


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
        traces += [f"cell metadata {name!r}" for name in {*cell.metadata} - {"tags", "alt"}]
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
def test_parameters_cell_is_the_table_in_data_defaults(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    parameters = list_parameters(path.stem)
    assert cell.source.splitlines() == [f"{name} = None  # {found['meaning']}" for name, found in parameters.items()]
    assert set(parameters) >= SHARED_PARAMETERS
    assert all(found["meaning"] for found in parameters.values())


def names_bound_by(tree: ast.AST) -> list[str]:
    """Return the names that running `tree` at a notebook's top level leaves behind; functions keep theirs to themselves."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.alias):
            found.append((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.append(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.append(node.name)
        elif isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        found += [] if isinstance(node, ast.FunctionDef | ast.ClassDef) else names_bound_by(node)
    return found


def test_all_ways_to_bind_a_name_are_seen():
    source = """
import a.b, c as d
e, (f, *g) = h.i = 1, (2, 3)
for j in k: l: int = 1
with m() as n: o += 1
def p(q): r = 1
if (s := 1): del t
[u for u in v]; w = lambda x: x
try: pass
except E as y: pass
"""
    assert sorted(names_bound_by(ast.parse(source))) == sorted("adefgjlnopstwy")


@each_notebook
def test_no_parameter_s_name_is_used_again(path):
    # `choose` reads these names: run again, it would take what a later cell left in them for what the learner typed.
    bound = {name for cell in after_parameters(path) for name in names_bound_by(ast.parse(cell.source))}
    assert bound & set(list_parameters(path.stem)) == set()


@each_notebook
def test_plumbing_is_short(path):
    choosing, *rest = after_parameters(path)
    said = "".join(choosing.source.split())  # it may break into lines
    assert f'chosen=course.choose("{path.stem}",globals(),models.find_defaults)' in said
    (finishing,) = [cell for cell in rest if "course.finish(" in cell.source]
    lengths = [len(cell.source.splitlines()) for cell in (choosing, finishing)]
    assert max(lengths) <= 8, lengths
    source = "\n".join(cell.source for cell in code_cells(path))
    assert "if method in" not in source and 'in ("lora", "qlora")' not in source


@each_notebook
def test_what_is_asked_of_chosen_is_there_for_every_model(path, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    nodes = [node for node in ast.walk(whole_source(path)) if isinstance(node, ast.Attribute)]
    asked = {node.attr for node in nodes if ast.unparse(node.value) == "chosen"}
    for profile in ("laptop", "gpu"):
        given = dict.fromkeys(("model", "encoder", "decoder"), str(tmp_path)) | {"profile": profile}
        assert asked <= set(vars(choose(path.stem, given, find_defaults)))


def imported_from_helpers(path) -> dict[str, object]:
    """Return what a notebook imports from `helpers`, by the name that it goes by there."""
    found = {}
    for node in ast.walk(whole_source(path)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "helpers":
            for alias in node.names:
                home = import_module(node.module)
                thing = getattr(home, alias.name, None) or import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = thing
    return found


@each_notebook
def test_few_names_are_imported_from_helpers(path):
    assert len(imported_from_helpers(path)) <= 9


def find_misuse(tree: ast.Module, known: dict[str, object]) -> list[str]:
    """Return what a notebook asks of the rooms in `known` that their contents pages lack, and keywords that none takes."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and inspect.ismodule(known.get(node.value.id))
        ):
            room = known[node.value.id]
            if node.attr not in getattr(room, "__all__", vars(room)):
                found.append(f"{ast.unparse(node)} is not there")
        if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[0] not in known:
            continue
        first, *rest = ast.unparse(node.func).split(".")
        with contextlib.suppress(AttributeError, ValueError):  # said above; an exception has no signature
            parameters = inspect.signature(reduce(getattr, rest, known[first])).parameters.values()
            takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
            unknown = {keyword.arg for keyword in node.keywords if keyword.arg} - {p.name for p in parameters}
            found += [] if takes_any else [f"{ast.unparse(node.func)} knows no {name}" for name in sorted(unknown)]
    return found


@each_notebook
def test_what_is_asked_of_a_room_is_on_its_contents_page(path):
    # Seconds instead of the minutes that running the notebook takes, and the branches of the gpu profile are seen as well.
    assert find_misuse(whole_source(path), imported_from_helpers(path)) == []


def test_misuse_of_a_room_is_found():
    from helpers import models
    from helpers.files import write_table

    source = "models.load(a)\nmodels.lod(a)\nmodels.load_classifier(a, devise=1)\nwrite_table(b, tabel=c)\nother.x(y=1)"
    assert set(find_misuse(ast.parse(source), {"models": models, "write_table": write_table})) == {
        "models.lod is not there",
        "models.load_classifier knows no devise",
        "write_table knows no tabel",
    }


@each_notebook
def test_badge_and_first_cell_name_the_repository(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    assert f"colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{path.name}" in first
    assert f'"{REPOSITORY}"' in code_cells(path)[0].source


def test_the_first_cell_is_short_and_the_same_everywhere():
    (cell,) = {code_cells(path)[0].source for path in find_notebooks()}
    assert len(cell.splitlines()) <= 10


WIDTH, MOST, MEDIAN = 74, 15, 8  # characters of a line; lines of a cell. What is wider is cut off on paper and phones.
CELLS = {
    "03_sst2_error_analysis": 75,
    "04_multilabel_emotions": 60,
    "05_lora_multilabel": 60,
    "06_generative_labels": 60,
    "08_deploy": 55,
    "07_leaderboard": 50,
}


@each_notebook
def test_code_is_narrow_and_cells_are_short(path):
    cells = [cell for cell in code_cells(path)[1:] if "parameters" not in cell.metadata.get("tags", [])]
    lengths = [len(cell.source.splitlines()) for cell in cells]
    wide = [line for cell in code_cells(path) for line in cell.source.splitlines() if len(line) > WIDTH]
    assert not wide
    assert max(lengths) <= MOST and np.median(lengths) <= MEDIAN, lengths
    assert len(nbformat.read(path, as_version=4).cells) <= CELLS.get(path.stem, 100)


@each_notebook
def test_every_figure_says_what_it_shows_to_those_who_cannot_see_it(path):
    for cell in code_cells(path):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            assert 40 <= len(cell.metadata.get("alt", "")) <= 400, cell.source[:80]


MARKDOWN = re.compile(r"`[^`]+`|\]\(|(?<![\w*])\*{1,2}\w[^*\n]*\w\*{1,2}")


@each_notebook
def test_what_is_folded_away_is_marked_up_in_html(path):
    """Markdown on one line with <details> is shown as it was typed, by Jupyter as by GitHub."""
    folded = re.findall(r"<details>.*?</details>", "\n".join(read_prose(path)), re.DOTALL)
    assert not [found for text in folded for found in MARKDOWN.findall(text)]


def read_prose(path) -> list[str]:
    """Return the Markdown of a document: of a notebook a string per cell."""
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]


def test_a_link_names_a_notebook_by_its_title():
    titles = {path.name: read_prose(path)[0].lstrip("# ") for path in find_notebooks()}
    prose = "\n".join(text for path in [ROOT / "README.md", *find_notebooks()] for text in read_prose(path))
    named = re.findall(r"\[(\d\d · [^]]+)\]\((?:notebooks/)?(\w+\.ipynb)\)", prose)
    assert {file for _, file in named} == set(titles)
    assert not [name for name, file in named if not titles[file].startswith(name)]


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
    files = [*ROOT.glob("*.md"), ROOT / "CITATION.cff", *(ROOT / "notebooks").rglob("*.md"), *find_notebooks()]
    named = {path.name: addresses(path.read_text(encoding="utf-8")) for path in files}
    assert all(found <= {REPOSITORY} for found in named.values()), named
    assert all(named[path.name] == {REPOSITORY} for path in find_notebooks())


def test_one_command_moves_the_course(tmp_path):
    for name in ("helpers", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.md"), ROOT / "CITATION.cff"]:
        shutil.copy(path, tmp_path)
    changed = move_repository("new-owner/new.name", tmp_path)
    assert {path.name for path in changed} >= {"install.py", "CITATION.cff", *(path.name for path in find_notebooks())}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or REPOSITORY.encode() not in path.read_bytes(), path
    assert 'REPOSITORY = "new-owner/new.name"' in (tmp_path / "helpers" / "assets" / "install.py").read_text()
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
