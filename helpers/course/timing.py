"""How long the notebooks take on this machine: foretold at the start, and followed by a progress over all of them.

`data/work.json` holds what every cell cost on a machine whose probe is stored beside it, in two parts: seconds of
training, which all cores share, and seconds of plain Python, which are one core's. Here each part takes longer or
shorter as the probe of the same kind does.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import psutil
from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile

from helpers.course.probe import ask_probe
from helpers.files import DATA, read_json, write_json
from helpers.runs import WITHOUT_EFFECT

WORK = DATA / "work.json"
PARTS = ("training", "python")
# Parameters that leave the work what it is; with any other, what is foretold holds for the defaults.
SAME_WORK = {"profile", "seed", *WITHOUT_EFFECT} - {"precision", "max_tokens", "gradient_checkpointing"}


class Meter:
    """Notes what the cells of the notebook that runs cost: seconds, and seconds of processor time, by the cell's id."""

    def __init__(self):
        self.output = sys.stdout
        self.cells: dict[str, tuple[float, float]] = {}
        self._last = (time.perf_counter(), 0.0)

    def note(self, cell, **_) -> None:
        """Note that `cell` was executed; the start of the kernel counts to the first one."""
        kernels = psutil.Process().children(recursive=True)
        busy = 0.0
        for kernel in kernels:
            with contextlib.suppress(psutil.NoSuchProcess):  # a process that a cell started has just ended
                busy += sum(kernel.cpu_times()[:4])  # user and system, and the same of its children that ended
        now = (time.perf_counter(), busy)
        self.cells[cell.id] = (now[0] - self._last[0], now[1] - self._last[1])
        self._last = now


def split_seconds(seconds: float, busy: float, cores: float) -> tuple[float, float]:
    """Return the parts of `seconds` that are training and plain Python, of a cell with `busy` seconds of processor time.
    Training alone would keep `cores` cores busy, plain Python one."""
    share = (busy / seconds - 1) / (cores - 1) if seconds and cores > 1 else 0.0
    training = seconds * min(1.0, max(0.0, share))
    return training, seconds - training


def store_work(notebook: str, probe: dict, cells: dict[str, tuple[float, float]], path: Path = WORK) -> None:
    """Write what the cells of `notebook` cost, seconds and processor seconds, on the machine that `probe` measured."""
    parts = {name: [round(part, 3) for part in split_seconds(*cost, probe["cores"])] for name, cost in cells.items()}
    entry = {probe["profile"]: {"probe": probe, "cells": parts}}
    known = read_json(path) if path.exists() else {}
    write_json(path, dict(sorted((known | {notebook: known.get(notebook, {}) | entry}).items())))


def foretell(notebooks: list[str], given: dict, path: Path = WORK) -> dict[str, dict[str, float]]:
    """Return for each of `notebooks` the seconds that each of its cells will take here; {} if of any that is not known.
    `given` are the parameters that were set. Runs the probe unless nothing is stored for them."""
    known = read_json(path) if path.exists() else {}
    stored = set.intersection(*(set(known.get(notebook, {})) for notebook in notebooks))  # profiles known of them all
    asked = given.get("profile")
    if not stored or (asked in ("laptop", "gpu") and asked not in stored):
        return {}
    here = ask_probe()
    profile = asked if asked in stored else here["profile"]
    if profile not in stored:
        return {}
    return {notebook: scale(known[notebook][profile], here) for notebook in notebooks}


def scale(entry: dict, here: dict) -> dict[str, float]:
    """Return the seconds of each cell of a stored `entry` on a machine whose probe found `here`."""
    ratios = [here[part] / entry["probe"][part] for part in PARTS]
    return {name: sum(s * r for s, r in zip(parts, ratios, strict=True)) for name, parts in entry["cells"].items()}


def add_up(foretold: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the seconds of each notebook."""
    return {notebook: sum(cells.values()) for notebook, cells in foretold.items()}


def list_changes(given: dict) -> list[str]:
    """Return which of the parameters that were set make the notebooks' work another than with the defaults."""
    return sorted(set(given) - SAME_WORK)


def say_estimate(foretold: dict[str, dict[str, float]], given: dict, runs: Path) -> str:
    """Return the sentence on how long it will take; an unfinished run below `runs`, which goes on, makes it a limit."""
    seconds = add_up(foretold)
    each = ", ".join(f"{notebook[:2]}: {say_duration(value)}" for notebook, value in seconds.items())
    goes_on = any(path for notebook in foretold for path in (runs / notebook).glob("**/checkpoint/*.safetensors"))
    total = f"{'at most' if goes_on else 'about'} {say_duration(sum(seconds.values()))} on this machine"
    total += f" ({each})" if len(seconds) > 1 else ""
    if changed := list_changes(given):
        return f"With the defaults this takes {total}; {', '.join(changed)} may change that."
    return f"This takes {total}."


def say_duration(seconds: float) -> str:
    """Return a time in words, to two digits: "45 s", "2.5 min", "14 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"


class Progress:
    """Follows the cells of all notebooks: a bar on a terminal, else a line now and then, both with the time left."""

    def __init__(self, foretold: dict[str, dict[str, float]], every_seconds: float = 30.0):
        self.left = {notebook: dict(cells) for notebook, cells in foretold.items()}
        self.every_seconds = every_seconds
        self.total = sum(add_up(foretold).values())
        self.done, self.start = 0.0, time.monotonic()
        self.last_line, self.here = self.start, ""
        mode = os.environ.get("COURSE_PROGRESS", "")
        shown = bool(foretold) and sys.stderr.isatty() and mode != "off"
        self.lines = bool(foretold) and not shown and mode != "off"
        form = "{percentage:3.0f} %|{bar}| {elapsed}{postfix}"
        self.bar = tqdm(total=self.total, file=sys.stderr, disable=not shown, bar_format=form, dynamic_ncols=True)
        self.output = DummyTqdmFile(sys.stdout) if shown else sys.stdout  # prints above the bar

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def begin(self, notebook: str) -> None:
        """Note which notebook's cells come now; those that an earlier one did not reach will not come any more."""
        self.total -= sum(self.left.pop(self.here, {}).values())
        self.here, self.bar.total = notebook, self.total

    def note(self, cell, **_) -> None:
        """Note that `cell` was executed, and show how far we are."""
        seconds = self.left[self.here].pop(cell.id, 0.0)  # 0: a cell that is not known, as the one with parameters
        self.done += seconds
        text = f"{say_duration(self.find_seconds_left())} left"
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(seconds)
        if self.lines and time.monotonic() - self.last_line > self.every_seconds:
            print(f"--- {self.done / (self.total or 1):.0%} of all, about {text}", flush=True)
            self.last_line = time.monotonic()

    def find_seconds_left(self) -> float:
        """Return the seconds that are left, at the pace of what is done once that is a minute or a tenth of all."""
        elapsed, left = time.monotonic() - self.start, self.total - self.done
        known = self.done > min(60.0, self.total / 10)
        return left * elapsed / self.done if known else left
