"""The command that runs a grid of cells: here, on a cluster, or as a dry run."""

import os
from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="the sweep: workflow/sweep.yaml is one")]


def sweep(
    file: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list the cells with time and memory; run none")] = False,
    cores: Annotated[
        int | None, typer.Option(min=1, help="of this machine, for all cells together; on a cluster, jobs at once")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="slurm, another one of workflow/profiles, or a profile's folder")
    ] = None,
    sbatch: Annotated[str | None, typer.Option(help="a cell: print the script that trains it on several nodes")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="of the script")] = 2,
    per_node: Annotated[int, typer.Option(min=1, help="processes of the script on each node, one per GPU")] = 1,
):
    """Run every cell of a sweep that has no record yet, each in a process of its own; list what failed.
    Stopped by whatever means, it goes on where it was."""
    from helpers.leaderboard.cluster import write_script
    from helpers.leaderboard.grid import read_sweep
    from helpers.leaderboard.sweep import dry_run_lines, failure_lines, run_sweep

    found = read_sweep(file)
    if sbatch:
        print(write_script(found, sbatch, nodes=nodes, per_node=per_node), end="")
        return
    if dry_run:
        print("\n".join(dry_run_lines(found, cores or os.cpu_count() or 1)))
        return
    print(f"{len(found.cells)} cells, in {found.folder}", flush=True)
    failed = run_sweep(found, cores=cores, profile=profile, say=lambda line: print(line, flush=True))
    if failed:
        print(f"{len(failed)} cells failed; run the same command again for these alone:")
        print("\n".join(failure_lines(found, failed)))
        raise typer.Exit(2)
