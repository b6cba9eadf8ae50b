"""What a machine and its shell bring along, and what must not reach the tests: a GPU, and settings for the Hub's libraries."""

import os
import subprocess
import sys

import nbformat
import pytest

from helpers.files import ROOT

# What torch would say on a machine with a GPU: that there is one, unless the variable hides it.
FAKE = "import os, torch\ntorch.cuda.is_available = lambda: os.environ.get('CUDA_VISIBLE_DEVICES') != ''\n"
PICK = "from helpers.device import pick_profile\n"
MARKED = f"{FAKE}{PICK}import pytest\n@pytest.mark.gpu\ndef test_it(): assert pick_profile() == 'gpu'\n"
UNMARKED = f"{FAKE}{PICK}def test_it(): assert pick_profile() == 'laptop'\n"
HOSTILE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "debug",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "HF_TOKEN": "hf_of_somebody",
    "HUGGING_FACE_HUB_TOKEN": "hf_of_somebody",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_CACHE": "no/such/folder",
    "HF_DATASETS_CACHE": "no/such/folder",
}
# One of each kind that failed in such a shell: in this process, in another one, with a token, without a network.
FAILED_THEN = (
    "tests/assets/test_standin_hub.py::test_files_revisions_and_folders_are_served",
    "tests/assets/test_standin_hub.py::test_push_to_hub_of_transformers_comes_back_the_same",
    "tests/assets/test_assets.py::test_what_is_on_this_machine_asks_for_no_network",
    "tests/assets/test_prefetch.py::test_a_token_opens_a_gated_model",
    "tests/assets/test_prefetch.py::test_a_gated_model_that_is_loaded_by_a_short_name_names_its_page",
    "tests/deploy/test_hub.py::test_model_or_adapter_and_card_arrive[lora]",
    "tests/test_offline.py::test_without_a_network_the_hub_is_tried_twice_and_not_for_a_minute[model]",
)


def run_pytest(*arguments, **variables) -> subprocess.CompletedProcess:
    """Run pytest in a process of its own, as from a shell that hides nothing and sets `variables`."""
    ours = ("CUDA_VISIBLE_DEVICES", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS")
    shell = {name: value for name, value in os.environ.items() if name not in ours}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", *map(str, arguments)]
    environment = shell | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "in a worker"])
def test_a_notebook_is_compared_in_the_laptop_profile_though_there_is_a_gpu(workers, tmp_path):
    """pytest --nbval on one small notebook. 8 s each."""
    output = nbformat.v4.new_output("stream", name="stdout", text="laptop\n")
    cell = nbformat.v4.new_code_cell(f"{FAKE}{PICK}print(pick_profile())", execution_count=1, outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
    arguments = ["--nbval", "--nbval-current-env", tmp_path / "x.ipynb", "--rootdir", tmp_path, *workers]
    done = run_pytest(*arguments, CUDA_VISIBLE_DEVICES="0")
    assert "1 passed" in done.stdout and done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "content, how",
    [(UNMARKED, []), (UNMARKED, ["-n", "1"]), (MARKED, ["-m", "gpu"])],
    ids=["others", "others in a worker", "about a GPU"],
)
def test_only_a_session_about_gpus_sees_one(content, how, tmp_path):
    """5 s each."""
    (tmp_path / "test_x.py").write_text(content)
    done = run_pytest(tmp_path, "--rootdir", tmp_path, *how)
    assert "1 passed" in done.stdout and done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "in a worker"])
def test_what_the_shell_tells_the_hubs_libraries_does_not_reach_the_tests(workers, tmp_path):
    names = [*HOSTILE]
    (tmp_path / "test_x.py").write_text(f"import os\ndef test_it(): assert not {{*os.environ}} & {{*{names}}}\n")
    done = run_pytest(tmp_path, "--rootdir", tmp_path, *workers, **HOSTILE)
    assert "1 passed" in done.stdout and done.returncode == 0, done.stdout + done.stderr


def test_what_talks_to_the_hub_passes_in_a_shell_that_is_offline_and_logged_in():
    """Seven tests in a process of their own. 35 s."""
    done = run_pytest(*FAILED_THEN, **HOSTILE)
    assert f"{len(FAILED_THEN)} passed" in done.stdout, done.stdout + done.stderr
