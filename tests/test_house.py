"""The house keeps its order: who imports whom, what a room loads, how long a file and a function may be."""

import ast
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from helpers.files import ROOT

HELPERS = ROOT / "helpers"
SOURCES = sorted(HELPERS.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in HELPERS.glob("*/__init__.py"))
LINT_IMPORTS = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([*LINT_IMPORTS, "--no-logo"], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(HELPERS, tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_contracts_are_kept(copy):
    """2 s."""
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "file, line, named",
    [
        ("data/corpus.py", "from helpers.models import pool", "helpers.data.corpus -> helpers.models"),
        ("evaluation/scores.py", "from helpers import files", "helpers.evaluation.scores -> helpers.files"),
        ("training/loop.py", "from helpers.cli import main", "helpers.training.loop -> helpers.cli"),
        ("data/load.py", "import torch", "helpers.data.load -> torch"),
        ("attic.py", "", "attic"),  # a new room must be given its floor
    ],
    ids=["data to models", "evaluation to files", "upwards", "data to torch", "new room"],
)
def test_a_broken_contract_is_named(file, line, named, copy):
    """2 s each."""
    with open(copy / "helpers" / file, "a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    assert named in done.stdout


@pytest.mark.parametrize(
    "room, absent",
    [
        ("evaluation", ("torch", "transformers", "datasets")),
        ("plots", ("torch", "transformers", "datasets")),
        ("data", ("torch", "transformers")),
        ("deploy", ("datasets", "accelerate")),
        ("cli", ("torch", "pandas", "numpy", "transformers", "datasets")),
    ],
)
def test_a_room_loads_only_what_it_promises(room, absent):
    """2 s each. (datasets 4 brings torch itself: that is not the room's doing.)"""
    before = "datasets" if room == "data" else "sys"
    code = f"import sys, {before}; before = set(sys.modules); import helpers.{room}\n"
    code += f"print([name for name in {absent} if name in set(sys.modules) - before])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_waits_for_no_library(arguments):
    code = "import atexit, runpy, sys; sys.argv[0] = 'helpers'\n"
    code += "atexit.register(lambda: print({'torch', 'pandas', 'transformers', 'matplotlib'} & set(sys.modules)))\n"
    code += "runpy.run_module('helpers', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_house_can_be_surveyed():
    files = [path.name for path in HELPERS.iterdir() if path.is_file()]
    folders = [path.name for path in HELPERS.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(files) <= 6 and len(folders) <= 12
    assert folders and sorted(folders) == ROOMS, "every folder is a room"


@pytest.mark.parametrize("room", ROOMS)
def test_contents_page_tells_what_a_room_has(room):
    page = import_module(f"helpers.{room}")
    assert page.__doc__
    for name in getattr(page, "__all__", []):
        assert hasattr(page, name), name
    assert len(set(getattr(page, "__all__", []))) == len(getattr(page, "__all__", []))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(HELPERS)))
def test_files_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 250
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    lengths = {function.name: function.end_lineno - function.lineno + 1 for function in functions}
    assert not {name: length for name, length in lengths.items() if length > 40}


def test_one_door_saves_and_loads_whatever_the_method():
    # Which method is an adapter, and which a whole model, is the business of models/saving alone.
    for path in (HELPERS / "cli").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "if method in" not in source and 'in ("lora", "qlora")' not in source, path.name
