"""Run a sweep: write its plan, let Snakemake run the cells that are missing, follow them, and say what failed and why."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from helpers.course.timing import say_duration
from helpers.exceptions import LONGEST, AssetError, SettingError, shorten
from helpers.files import ROOT, make_folder, write_json
from helpers.leaderboard.estimate import complete_resources, count_cards
from helpers.leaderboard.grid import ERROR, FINISHED, Cell, Sweep, list_changed

WORKFLOW = ROOT / "workflow"
LOOK = 1.0  # seconds between two looks at what is done
Say = Callable[[str], None]


def find_snakemake() -> Path:
    """Return Snakemake's program: of `.venv-sweep`, beside this Python, or on the path. Raises `AssetError`."""
    name = "snakemake.exe" if os.name == "nt" else "snakemake"
    own = ROOT / ".venv-sweep" / ("Scripts" if os.name == "nt" else "bin") / name
    places = [own, Path(sys.executable).with_name(name), shutil.which(name)]
    found = next((Path(place) for place in places if place and Path(place).exists()), None)
    if found is None:
        raise AssetError(
            "Snakemake is not installed: `make sweep` does it, into .venv-sweep; or `pip install -r "
            "requirements-sweep.txt` into an environment of its own, which stands on the PATH."
        )
    return found


def dry_run_lines(sweep: Sweep, cores: int) -> list[str]:
    """Return the cells as a table: done or to do, foretold time and memory, threads, cards; and what all of it takes."""
    resources, width = complete_resources(sweep), max(len(cell.name) for cell in sweep.cells)
    lines = [f"{'cell':<{width}}  {'state':<5}  {'time':>8}  {'memory':>8}  threads  cards"]
    for cell in sweep.cells:
        own = resources[cell.name]
        length = "?" if own["seconds"] is None else say_duration(own["seconds"])
        state = "done" if sweep.is_done(cell) else "to do"
        memory = f"{own['memory_mb'] / 1024:.1f} GiB"
        lines.append(
            f"{cell.name:<{width}}  {state:<5}  {length:>8}  {memory:>8}  {own['threads']:>7}  {own['gpus']:>5}"
        )
    left = [cell for cell in sweep.cells if not sweep.is_done(cell)]
    return [*lines, f"{len(sweep.cells)} cells, {len(left)} to do; {_say_left(left, resources, cores)}."]


def run_sweep(sweep: Sweep, *, cores: int | None = None, profile: str | None = None, say: Say = print) -> list[Cell]:
    """Run the cells of `sweep` that have no record yet; return those that failed. `say` hears of the progress.

    `cores` are shared by the cells, by default all of this machine's; `profile`, one of `workflow/profiles` or a folder,
    sends them to a cluster instead. Whatever was stopped, by `kill -9` too, goes on: Snakemake's lock is opened, cells
    that were begun are begun again, and each goes on from its last checkpoint. Raises `SettingError` where another
    process runs the same sweep, or a finished cell had other parameters.
    """
    if changed := list_changed(sweep):
        raise SettingError(
            f"{changed[0]} was finished with other parameters ({len(changed)} such cells): give the sweep another name, or "
            f"delete these cells' folders in {shorten(sweep.folder)}."
        )
    make_folder(sweep.folder)
    lock = FileLock(sweep.folder / ".lock", blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise SettingError(f"{shorten(sweep.folder)} is in use by another `sweep`: wait for it, or end it.") from None
    with lock:
        snakemake, resources = find_snakemake(), complete_resources(sweep)
        plan = write_plan(sweep, resources)
        for cell in sweep.cells:
            (sweep.find_folder(cell) / ERROR).unlink(missing_ok=True)  # of the last time
            if not sweep.is_done(cell):  # somebody removed its record
                (sweep.find_folder(cell) / FINISHED).unlink(missing_ok=True)
        command = [str(snakemake), *make_options(sweep, plan, cores, profile)]
        with open(sweep.folder / "snakemake.log", "a", encoding="utf-8") as log:
            quiet = {"cwd": sweep.folder, "stdout": log, "stderr": subprocess.STDOUT}
            subprocess.run([*command, "--unlock"], **quiet)
            process = subprocess.Popen(command, **quiet)
            try:
                _follow(process, sweep, resources, cores or os.cpu_count() or 1, say)
            except BaseException:
                process.terminate()  # it ends its cells
                process.wait()
                raise
    return [cell for cell in sweep.cells if not sweep.is_done(cell)]


def write_plan(sweep: Sweep, resources: dict[str, dict]) -> Path:
    """Write what the Snakefile and the cells read, `plan.json`, into the sweep's folder; return its path."""
    cells = {cell.name: asdict(cell) | {"resources": resources[cell.name]} for cell in sweep.cells}
    plan = {"notebook": str(sweep.notebook), "folder": str(sweep.folder), "python": sys.executable, "cells": cells}
    return write_json(sweep.folder / "plan.json", plan)


def make_options(sweep: Sweep, plan: Path, cores: int | None, profile: str | None) -> list[str]:
    """Return Snakemake's options: here, the machine's cores, memory and cards limit what runs at once."""
    options = ["--snakefile", str(WORKFLOW / "Snakefile"), "--directory", str(sweep.folder)]
    options += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--nocolor"]
    if profile:
        known = WORKFLOW / "profiles" / profile
        options += [
            "--workflow-profile",
            "none",
            "--profile",
            str(known if known.is_dir() else Path(profile).resolve()),
        ]
        options += ["--jobs", str(cores)] if cores else []
        return [*options, "--config", f"plan={plan}", f"parent={os.getpid()}", "where=cluster"]
    memory = psutil.virtual_memory().total // 2**20
    options += ["--cores", str(cores or os.cpu_count() or 1), "--scheduler", "greedy"]
    options += ["--resources", f"mem_mb={memory}", f"gpu={count_cards()}"]
    return [*options, "--config", f"plan={plan}", f"parent={os.getpid()}", "where=here"]


def _follow(process: subprocess.Popen, sweep: Sweep, resources: dict, cores: int, say: Say) -> None:
    """Say how far the cells are, whenever one has ended, until `process` has; how long the rest takes, at the pace so far."""
    seen, ended, start = None, False, time.monotonic()
    missing = [cell for cell in sweep.cells if not sweep.is_done(cell)]
    while not ended:
        ended = process.poll() is not None  # looked at before the cells: the last one is not missed
        left = [cell for cell in sweep.cells if not sweep.is_done(cell)]
        failed = [cell for cell in left if (sweep.find_folder(cell) / ERROR).exists()]
        if seen != (len(left), len(failed)):
            seen = len(left), len(failed)
            wrong = f", {len(failed)} failed" if failed else ""
            todo = [cell for cell in left if cell not in failed]
            done = [cell for cell in missing if cell not in todo]
            expected = sum(resources[cell.name]["seconds"] or 0 for cell in done) / cores
            pace = (time.monotonic() - start) / expected if expected else 1.0
            rest = f"; {_say_left(todo, resources, cores, pace)}" if todo else ""
            say(f"{len(sweep.cells) - len(left)} of {len(sweep.cells)} cells done{wrong}{rest}")
        if not ended:
            time.sleep(LOOK)


def _say_left(cells: list[Cell], resources: dict[str, dict], cores: int, pace: float = 1.0) -> str:
    """Return in words how long `cells` will take on `cores`, `pace` times as long as foretold, as far as it is known."""
    known = [resources[cell.name] for cell in cells if resources[cell.name]["seconds"] is not None]
    if not known:
        return "how long that takes is not known" if cells else "nothing is left"
    work = sum(min(own["threads"], cores) * own["seconds"] for own in known) / cores
    longest = max(own["seconds"] for own in known)
    unknown = f" and {len(cells) - len(known)} cells of unknown length" if len(cells) > len(known) else ""
    return f"about {say_duration(pace * max(work, longest))}{unknown} on {cores} cores"


def failure_lines(sweep: Sweep, failed: list[Cell]) -> list[str]:
    """Return per cell of `failed` why, in a sentence, and where its log is."""
    lines = []
    for cell in failed:
        folder = sweep.find_folder(cell)
        error = folder / ERROR
        text = error.read_text(encoding="utf-8").strip() if error.exists() else _read_last_line(folder / "cell.log")
        lines.append(f"{cell.name}: {shorten(text, LONGEST)}\n    {folder / 'cell.log'}")
    return lines


def _read_last_line(log: Path) -> str:
    """Return what a cell said last that had no time to say why it failed."""
    if not log.exists():
        return "it did not begin; see snakemake.log in the sweep's folder."
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"it was ended from outside (by lack of memory, a time limit?); at last: {lines[-1] if lines else 'nothing'}"
