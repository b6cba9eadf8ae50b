"""What the first cell does on a notebook server besides installing: tell the servers apart, remove what peft refuses."""

import os
import subprocess

import pytest
from colab_environment import VERSIONS

from helpers.assets import install

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def nowhere(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("COLAB_", "KAGGLE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def torchao(tmp_path, monkeypatch):
    """Return a function that puts a torchao on the path, as far as anybody looks at it."""

    def put(number: str) -> None:
        (tmp_path / "torchao").mkdir()
        (tmp_path / "torchao" / "__init__.py").touch()
        info = tmp_path / f"torchao-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torchao\nVersion: {number}\n")
        (info / "RECORD").write_text("torchao/__init__.py,,\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    return put


@pytest.fixture
def uninstalled(monkeypatch):
    """Return what pip is asked to uninstall; nothing is."""
    asked, run = [], subprocess.run

    def note(command, **options):
        if "uninstall" in command:
            asked.append(command[-1])
            return subprocess.CompletedProcess(command, 0)
        return run(command, **options)

    monkeypatch.setattr(install.subprocess, "run", note)
    return asked


@pytest.mark.parametrize(
    "variables, host",
    [
        ({}, None),
        ({"COLAB_GPU": "0"}, "Colab"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, "Kaggle"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "COLAB_RELEASE_TAG": "x"}, "Kaggle"),  # an image built on Colab's
    ],
)
def test_the_server_is_known_by_its_variables(variables, host, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert install.find_host() == host


def test_colab_lacks_eight_packages_and_has_none_that_is_too_old(monkeypatch):
    lines = VERSIONS.read_text(encoding="utf-8").splitlines()
    brought = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    monkeypatch.setattr(install, "_version", brought.get)
    lacked = {requirement.split(">=")[0].split("<")[0] for requirement in install.missing_requirements()}
    course, files = (
        {"gguf", "iterative-stratification", "bitsandbytes", "captum", "cleanlab"},
        {"onnx", "onnxscript", "onnxruntime"},
    )
    assert lacked == course | files


def test_a_torchao_that_peft_refuses_is_removed_on_a_server(torchao, uninstalled, monkeypatch):
    monkeypatch.setenv("COLAB_GPU", "1")
    torchao("0.1.0")
    sentence = install.remove_refused_torchao()
    assert uninstalled == ["torchao"] and "\n" not in sentence
    assert sentence.startswith("removed: torchao 0.1.0, which the course does not use: peft ")


def test_in_an_environment_of_ones_own_it_is_only_said(torchao, uninstalled):
    torchao("0.1.0")
    assert install.remove_refused_torchao().startswith("LoRA will fail: torchao 0.1.0 is here, and peft ")
    assert uninstalled == []


def test_a_torchao_that_peft_takes_is_left_alone(torchao, uninstalled, monkeypatch):
    monkeypatch.setenv("COLAB_GPU", "1")
    torchao("999.0")
    assert install.remove_refused_torchao() is None
    assert uninstalled == []


def test_kaggle_without_internet_names_the_switch(monkeypatch):
    monkeypatch.setattr(install, "missing_requirements", lambda: ["no-such-package-anywhere>=1"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    with pytest.raises(SystemExit, match="could not be installed: turn internet on in Settings, then run this cell"):
        install.install_missing()


def test_kaggle_says_where_runs_and_data_lie(monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr(install, "missing_requirements", lambda: [])
    monkeypatch.setattr(install.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    install.main()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"runs are kept in {install.ROOT / 'runs'}") and last.endswith("/kaggle/input")
