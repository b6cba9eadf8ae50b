"""For the tests: a notebook server rehearsed. One notebook alone in an empty folder, an environment with what the server
brings, and *Run all*. GitHub is a local repository with the working tree in it, the Hub is the stand-in."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import nbformat
import pytest

from helpers.assets.install import REPOSITORY
from helpers.files import ROOT

# Of requirements.txt, what a Colab runtime did not have when this was written, and the course itself.
LACKING = (
    "iterative-stratification", "gguf", "bitsandbytes", "captum", "cleanlab", "onnx", "onnxscript", "onnxruntime",
    "papermill", "nbval", "pytest-xdist", "ruff", "import-linter",
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
    NotebookClient(content, timeout=1800, kernel_name="python3").execute()
finally:
    nbformat.write(content, notebook)
"""


def link_environment(target: Path) -> Path:
    """Make an environment in `target` into which the tests' own packages are linked, but those that Colab lacks and the
    course; return its site-packages, where only what is installed later lies."""
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    (site,) = (target / "lib").glob("python*/site-packages")
    linked = site.parent / "dist-packages"  # where Colab has them
    linked.mkdir()
    for package in distributions():
        if package.metadata["Name"].lower().replace("_", "-") in {*LACKING, COURSE}:
            continue
        for top in {file.parts[0] for file in package.files or []} - {"..", "google", "__pycache__"}:
            source = Path(package.locate_file(top))
            if source.exists() and not (linked / top).exists():
                (linked / top).symlink_to(source)
    (linked / "google").mkdir()
    for part in Path(Distribution.from_name("protobuf").locate_file("google")).iterdir():
        (linked / "google" / part.name).symlink_to(part)
    (site / "colab.pth").write_text("../dist-packages")
    return site


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


def github_at(repository: Path) -> dict[str, str]:
    """Return the variables with which git takes the folder `repository` for the course's address."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{REPOSITORY}",
    }


def with_gpu(folder: Path) -> dict[str, str]:
    """Return a PATH on which there is an `nvidia-smi`."""
    folder.mkdir()
    (folder / "nvidia-smi").write_text("#!/bin/sh\n")
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


class Server:
    """A server with the packages in `site`, in which notebooks run one after the other."""

    def __init__(self, site: Path, repository: Path):
        self.site, self.python = site, site.parents[2] / "bin" / "python"
        (site / "google" / "colab").mkdir(parents=True)
        (site / "google" / "colab" / "__init__.py").write_text('"""A stub."""\n')
        of_tests = ("PYT", "HF_", "COURSE_", "GIT_", "JUPYTER", "COLAB_", "KAGGLE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(of_tests)}
        self.environment = kept | github_at(repository)
        self.run("-m", "ipykernel", "install", "--sys-prefix")
        self.brought = self.installed()

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
        command, environment = [str(self.python), *arguments], self.environment | variables
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done

    def run_all(
        self, notebook: Path, folder: Path, parameters: dict, *, first_cells: int = 0, **variables: str
    ) -> list[str]:
        """Copy `notebook` into `folder` and run it there; return the text that each code cell printed."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebook, folder)
        script = folder.parent / "run_all.py"
        script.write_text(RUN_ALL)
        self.run(str(script), notebook.name, json.dumps(parameters), str(first_cells), cwd=folder, **variables)
        cells = [cell for cell in nbformat.read(folder / notebook.name, 4).cells if cell.cell_type == "code"]
        return ["".join(o.get("text", "") for o in cell.outputs) for cell in cells]

    def installed(self) -> dict[str, str]:
        """Return what lies in the environment itself, with versions."""
        listed = self.run("-m", "pip", "list", "--format", "json", "--path", str(self.site)).stdout
        return {entry["name"].lower(): entry["version"] for entry in json.loads(listed)}
