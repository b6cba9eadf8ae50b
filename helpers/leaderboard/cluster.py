"""One cell on several machines: a script for SLURM that starts `helpers train` by torchrun, a process per GPU."""

import shlex
import sys

from helpers.assets.defaults import read_notebook
from helpers.exceptions import SettingError
from helpers.leaderboard.estimate import complete_resources
from helpers.leaderboard.grid import Cell, Sweep

SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={threads}
#SBATCH --mem={memory_mb}M
#SBATCH --time={minutes}
{cards}#SBATCH --output={folder}/%x-%j.log
# One torchrun per node, which starts {per_node} processes; they meet at the first node. All nodes share the disk with the runs.
# Outside SLURM (bash this-script) it runs on this machine alone.
set -eu
export COURSE_RUNS={runs} COURSE_PROGRESS=lines OMP_NUM_THREADS={threads_each}
first=localhost
if [ -n "${{SLURM_JOB_NODELIST:-}}" ]; then first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1); fi
${{SLURM_JOB_ID:+srun}} {python} -m torch.distributed.run \\
    --nnodes="${{SLURM_NNODES:-1}}" --nproc-per-node={per_node} \\
    --rdzv-id="${{SLURM_JOB_ID:-sweep}}" --rdzv-backend=c10d --rdzv-endpoint="$first:{port}" \\
    -m helpers {command}
"""
PORT = 29500  # torchrun's own
# Of a cell's parameters, these say how the notebook does it, and have no meaning for `helpers train`.
OF_THE_NOTEBOOK = ("profile", "system")


def write_script(sweep: Sweep, name: str, *, nodes: int = 2, per_node: int = 1, port: int = PORT) -> str:
    """Return a script for `sbatch` that trains the cell `name` of `sweep` on `nodes` machines by torchrun.
    Raises `SettingError` for a cell that only the notebook can run, such as a fold."""
    cell = sweep.find_cell(name)
    own = complete_resources(sweep)[cell.name]
    cards = f"#SBATCH --gpus-per-node={per_node}\n" if own["gpus"] else ""
    return SCRIPT.format(
        name=cell.name, nodes=nodes, per_node=per_node, port=port, cards=cards, command=shlex.join(train_options(cell)),
        threads=own["threads"] * per_node, threads_each=own["threads"], memory_mb=own["memory_mb"] * per_node,
        minutes=own["minutes"], folder=sweep.folder, runs=shlex.quote(str(sweep.folder)),
        python=shlex.quote(sys.executable),
    )  # fmt: skip


def train_options(cell: Cell) -> list[str]:
    """Return the options of `helpers train` that do what `cell` does."""
    known = read_notebook("cli")["parameters"]
    given = {k: v for k, v in cell.parameters.items() if k not in OF_THE_NOTEBOOK and v is not None}
    if strange := [name for name in given if name not in known and given[name] is not False]:
        raise SettingError(f"{cell.name}: `helpers train` has no {strange[0]}, so that only the notebook can do it.")
    for name in ("model", "dataset"):
        if name not in given:
            raise SettingError(f"{cell.name}: name its {name} in sweep.yaml: `helpers train` has no default for it.")
    options = ["train"]
    for name, value in given.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            options += [flag if value else "--no-" + name.replace("_", "-")] if name in known else []
        else:
            options += [flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return options
