"""The choice of how OpenMP's threads wait: by load, before PyTorch is there, and never against the user's own."""

import subprocess
import sys

import pytest

import helpers


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without settings, PyTorch not loaded, on which as many threads run as `machine(n)` says."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(helpers, "RUNNING", tmp_path / "loadavg")
    monkeypatch.setattr(helpers, "THREADS", tmp_path / "task")

    def run(threads: int) -> dict:
        (tmp_path / "loadavg").write_text(f"0.52 0.58 0.59 {threads}/467 31415\n")
        environment = {}
        monkeypatch.setattr(helpers.os, "environ", environment)
        helpers.choose_spinning()
        return environment

    return run


def test_a_quiet_machine_is_left_as_it_is(machine):
    assert machine(1) == {}


def test_beside_others_threads_spin_shortly(machine):
    assert machine(2) == {"GOMP_SPINCOUNT": helpers.SHORT_SPIN}


def test_the_own_threads_are_no_neighbours(machine, tmp_path):
    for number, state in enumerate("RRS"):  # this one, one that spins, one that sleeps
        (tmp_path / "task" / str(number)).mkdir(parents=True)
        (tmp_path / "task" / str(number) / "stat").write_text(f"{number} (python (3)) {state} 1 2 3")
    assert machine(2) == {}
    assert machine(3) == {"GOMP_SPINCOUNT": helpers.SHORT_SPIN}


def test_who_says_that_others_will_compute_is_believed(machine):
    assert machine(1) == {}
    helpers.choose_spinning(busy=True)
    assert helpers.os.environ == {"GOMP_SPINCOUNT": helpers.SHORT_SPIN}


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"])
def test_what_the_user_set_stays(machine, monkeypatch, name):
    machine(3)
    monkeypatch.setattr(helpers.os, "environ", {name: "7"})
    helpers.choose_spinning()
    assert helpers.os.environ == {name: "7"}


def test_where_pytorch_is_loaded_nothing_is_set(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    assert machine(3) == {}


def test_without_the_file_the_machine_counts_as_quiet(machine, tmp_path, monkeypatch):
    machine(3)
    monkeypatch.setattr(helpers, "RUNNING", tmp_path / "nowhere")
    assert helpers.count_running() == 1


def test_helpers_are_there_before_anything_loads_pytorch():
    asked = "import sys, helpers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
