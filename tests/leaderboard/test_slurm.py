"""A real SLURM of one node, on loopback, started from Debian's packages (slurm-wlm, munge): the sweep, and torchrun's script.

It needs root and an /etc/slurm without slurm.conf, which it writes and removes: it is for a container."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cell import wait_for
from test_cluster import write_toy_sweep
from test_sweep import read_records, run, start, write_sweep

from helpers.files import ROOT

pytestmark = pytest.mark.long
CONFIGURATION = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
# Neither systemd nor cgroups nor accounting: what a container has.
TEXT = """
ClusterName=course
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=course Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM that takes jobs; ended afterwards."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f"no SLURM here: {', '.join(missing)} missing (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid() != 0 or CONFIGURATION.exists():
        pytest.skip(f"SLURM is started by root alone, and where there is no {CONFIGURATION} yet")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host, memory = socket.gethostname().split(".")[0], os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    CONFIGURATION.write_text(TEXT.format(host=host, folder=folder, cpus=os.cpu_count(), memory=memory - 500))
    programs = [["munged", "--force", "--foreground"], ["slurmctld", "-D"], ["slurmd", "-D"]]
    Path("/run/munge").mkdir(exist_ok=True)
    running = []
    try:
        for command in programs:
            log = open(folder / f"{command[0]}.out", "w")  # noqa: SIM115 - it is the program's, until it ends
            program = shutil.which(command[0], path=path)
            running.append(subprocess.Popen([program, *command[1:]], stdout=log, stderr=subprocess.STDOUT))
            time.sleep(2)
        _wait_until_idle()
        yield folder
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)
        CONFIGURATION.unlink()


def _wait_until_idle() -> None:
    for _ in range(60):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
        if done.stdout.strip() == "idle":
            return
        time.sleep(1)
    pytest.fail(f"the node is not ready: {done.stdout}{done.stderr}")


def test_a_sweep_is_submitted_cell_by_cell(slurm, tmp_path):
    """About 2 minutes: Snakemake asks the queue every 40 s."""
    write_sweep(tmp_path, fail=True)
    status, terminal = run(tmp_path, "--profile", "slurm")
    print(terminal)
    assert status == 2
    assert set(read_records(tmp_path)) == {"A-seed1", "A-seed2"}
    assert terminal.count("ValueError: this cell fails") == 2
    log = (tmp_path / "runs" / "sweeps" / "mine" / "snakemake.log").read_text()
    print(*[line for line in log.splitlines() if "SLURM" in line or "sbatch" in line], sep="\n")
    assert log.count("submitted with SLURM jobid") == 4
    write_sweep(tmp_path)
    assert run(tmp_path, "--profile", "slurm")[0] == 0
    assert len(read_records(tmp_path)) == 4


def test_killed_on_a_cluster_it_goes_on_and_nothing_is_done_twice(slurm, tmp_path):
    """About 2 minutes."""
    write_sweep(tmp_path, seconds=8)
    process = start(tmp_path, "--profile", "slurm")
    begun = tmp_path / "runs" / "sweeps" / "mine" / "own" / "A-seed1" / "begun.txt"
    wait_for(begun, 120)
    process.kill()
    process.communicate(timeout=600)
    status, terminal = run(tmp_path, "--profile", "slurm")
    assert status == 0, terminal
    assert len(read_records(tmp_path)) == 4
    assert begun.read_text().count("\n") == 1, "what a job was at was waited for, or found done"


def test_the_script_for_several_processes_is_submitted(slurm, tmp_path):
    """About 1 minute: one node, two processes."""
    file = write_toy_sweep(tmp_path)
    command = [sys.executable, "-m", "helpers", "sweep", str(file), "--sbatch", "A-toy-seed0", "--nodes", "1"]
    own = os.environ | {"PYTHONPATH": str(ROOT), "COURSE_RUNS": str(tmp_path / "runs"), "CUDA_VISIBLE_DEVICES": ""}
    script = tmp_path / "train.sh"
    made = subprocess.run([*command, "--per-node", "2"], capture_output=True, text=True, env=own)
    assert made.returncode == 0, made.stderr
    script.write_text(made.stdout)
    (tmp_path / "runs" / "sweeps" / "toy").mkdir(parents=True)
    done = subprocess.run(["sbatch", "--wait", str(script)], capture_output=True, text=True, env=own, timeout=1200)
    logs = "\n".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert done.returncode == 0, done.stderr + logs
    (record,) = (tmp_path / "runs").rglob("metrics.json")
    assert json.loads(record.read_text())["processes"] == 2
    print(done.stdout, logs)
