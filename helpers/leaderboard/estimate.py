"""What a cell will cost, before it runs: seconds from the zoo's speeds and this machine's probe, memory from the course's
sum; and what cells of the same system took here, once there are some."""

import statistics
from functools import cache

import psutil

from helpers.assets.defaults import read_notebook
from helpers.assets.zoo import find_row
from helpers.course.parameters import fill_in
from helpers.course.probe import ROWS, ask_probe
from helpers.course.timing import add_up, foretell, list_changes
from helpers.exceptions import PlainError
from helpers.leaderboard.grid import Cell, Sweep, read_kept

# Python, the libraries and a kernel, before any model: what a run that counts words took here, in MB and seconds.
BASE_MB, BASE_SECONDS = 1100, 12.0
SMALLEST = "all-MiniLM-L6-v2"  # of its size is the model that the probe trains
SPARE = 1.25  # of memory: what is asked of a cluster must never be too little
MINUTES = 30  # of a cluster, for a cell of which nothing is known
LATE = 3  # times as long as foretold: then a cluster may end a cell


def complete_resources(sweep: Sweep) -> dict[str, dict]:
    """Return for each cell threads, gpus, memory_mb, minutes and foretold seconds (None: unknown): what `sweep.yaml` says,
    or an estimate."""
    measured, found = read_measured(sweep), {}
    most = psutil.virtual_memory().total // 2**20
    for cell in sweep.cells:
        own = cell.resources
        seconds = measured.get(cell.system, estimate_seconds(sweep, cell, own.get("threads", 1)))
        minutes = MINUTES if seconds is None else max(5, round(LATE * seconds / 60))
        gpus = 0 if cell.parameters.get("baseline") else min(1, count_cards())
        estimate = {
            "threads": 1,
            "gpus": gpus,
            "memory_mb": min(most, estimate_memory(sweep, cell)),
            "minutes": minutes,
        }
        found[cell.name] = estimate | own | {"seconds": seconds}
    return found


def count_cards() -> int:
    """Return how many NVIDIA cards this process may use."""
    import torch

    return torch.cuda.device_count() if torch.version.cuda else 0


def read_measured(sweep: Sweep) -> dict[str, float]:
    """Return the median seconds that the finished cells of each system took."""
    taken: dict[str, list[float]] = {}
    for cell in filter(sweep.is_done, sweep.cells):
        record = read_kept(sweep.find_folder(cell) / "metrics.json")
        if isinstance(seconds := record.get("seconds"), int | float):
            taken.setdefault(cell.system, []).append(seconds)
    return {system: statistics.median(values) for system, values in taken.items()}


def estimate_seconds(sweep: Sweep, cell: Cell, threads: int) -> float | None:
    """Return about how long `cell` will take here; None of what neither the zoo nor the notebook's own record knows.
    A transformer costs its training texts, and validation after every epoch, at the zoo's speed for the model; the zoo's
    machine is compared with this one by MiniLM, which both have trained."""
    if sweep.notebook.stem != "experiment":
        known = {} if list_changes(cell.parameters) else foretell([sweep.notebook.stem], {})
        return sum(add_up(known).values()) or None
    chosen = _fill_in(sweep, cell)
    if cell.parameters.get("baseline"):
        return BASE_SECONDS
    row, first = find_row(chosen.model) if chosen else None, find_row(SMALLEST)
    rows = _count_rows(chosen.dataset, chosen.text_column, _frozen(chosen.label_column)) if row else None
    if not rows or not row["train_texts_per_s"]:
        return None
    here = ROWS / _ask_probe(threads)["training"] / first["train_texts_per_s"]
    pool = rows["train"] + rows["validation"]
    scored = pool / chosen.folds if chosen.fold else rows["test"]
    tuning = 0.15 * (pool - scored) if chosen.fold else rows["validation"]
    train = pool - scored - tuning if chosen.fold else rows["train"]
    train = min(train, chosen.max_train_examples or train)
    learnt = chosen.epochs * train / row["train_texts_per_s"]
    if chosen.method == "probe":  # no way back through the model
        learnt = chosen.epochs * train / row["predict_texts_per_s"]
    read = ((chosen.epochs + 1) * tuning + scored) / row["predict_texts_per_s"]
    return BASE_SECONDS + (learnt + read) / here


def estimate_memory(sweep: Sweep, cell: Cell) -> int:
    """Return the megabytes that `cell` will need at most: those of Python and its libraries, and what training holds. The
    latter is the zoo's `memory_gib`, the course's own sum at the model's usual settings, or else by the weights."""
    chosen = _fill_in(sweep, cell)
    name = getattr(chosen, "model", None) or getattr(chosen, "encoder", None)
    if cell.parameters.get("baseline") or name is None:
        return round(SPARE * BASE_MB)
    row = find_row(name)
    if row and row["memory_gib"] and row["method"] == getattr(chosen, "method", row["method"]):
        held = row["memory_gib"] * 1024
    else:
        held = _count_by_weights(name, chosen)
    return round(SPARE * (BASE_MB + held))


def _count_by_weights(name: str, chosen) -> float:
    """Return the megabytes of weights, gradients and AdamW's state, and as much again for the passes of a small model."""
    from helpers.models import count_weights
    from helpers.training.memory import BYTES_PER_WEIGHT

    row = find_row(name)
    try:
        weights = row["parameters_millions"] * 1e6 if row else count_weights(name, revision=chosen.revision)
    except (PlainError, OSError, ValueError):
        return 4 * BASE_MB  # a model that only the cell can reach
    needed = BYTES_PER_WEIGHT.get(getattr(chosen, "method", "full"), 4) * weights
    return needed / 2**20 + 600


def _fill_in(sweep: Sweep, cell: Cell):
    """Return the cell's parameters and the defaults; None if they cannot be had, which the cell itself will explain, or
    are not known, of a notebook of one's own."""
    if not read_notebook(sweep.notebook.stem)["parameters"]:
        return None
    from helpers.models import find_defaults

    try:
        return fill_in(sweep.notebook.stem, cell.parameters, find_defaults)
    except PlainError:
        return None


def _frozen(columns):
    return tuple(columns) if isinstance(columns, list) else columns


@cache
def _ask_probe(threads: int) -> dict:
    """Return the probe's figures at so many threads; asked once."""
    return ask_probe(threads)


@cache
def _count_rows(dataset: str, text_column, label_column) -> dict[str, int] | None:
    from helpers.data import load_data

    try:
        return dict(load_data(dataset, text_column=text_column, label_column=label_column).splits.num_rows)
    except (PlainError, OSError):
        return None
