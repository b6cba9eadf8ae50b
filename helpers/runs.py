"""A run is one folder, `runs/<notebook>/<run name>/`, one process, and one record, `metrics.json`."""

import os
import platform
import re
import shutil
import sys
import time
from importlib.metadata import version
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from helpers.files import ROOT, atomic_path, write_json, write_table

RUNS = ROOT / "runs"
SCHEMA_VERSION = 1
LIBRARIES = ("torch", "transformers", "datasets", "accelerate", "scikit-learn", "numpy", "pandas")
_claimed: dict[Path, FileLock] = {}


def library_line() -> str:
    """Return Python's and the main libraries' versions in one line."""
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES[:5])


def is_main_process() -> bool:
    """Return whether this process is the one that prints and writes; it may be asked before the processes have met."""
    return int(os.environ.get("RANK", 0)) == 0


def check_run_name(run_name: str) -> None:
    """Refuse a name with anything in it that could lead out of the runs' folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_name):
        raise ValueError(
            f"run_name={run_name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit."
        )


def open_run_folder(notebook: str, run_name: str, parameters: dict | None = None, *, runs: Path | None = None) -> Path:
    """Create `runs/<notebook>/<run name>/` if need be and return it; it now belongs to this process.

    `run_name` may hold letters, digits, `.`, `_`, `-`. The notebook's `parameters` are kept in the folder's
    `parameters.json`. The folder is given up by `finish_run`, or when the process ends, however it ends.
    Raises `ValueError` for another name, and while another process has the folder.
    """
    check_run_name(run_name)
    folder = (runs or Path(os.environ.get("COURSE_RUNS", RUNS))) / notebook / run_name
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    claim_folder(folder)
    if parameters is not None:
        write_json(folder / "parameters.json", parameters)
    return folder


def claim_folder(folder: Path) -> None:
    """Take `folder` for this process. Taking it again is fine: a notebook's cells are run more than once.

    Of several processes of one run (torchrun) the first takes it for all. Where the file system knows no locks, as on
    some network drives, nobody is kept out. Raises `ValueError` while another process has it.
    """
    folder = folder.resolve()
    if folder in _claimed or not is_main_process():
        return
    lock = FileLock(folder / ".lock", blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{folder} is in use by another run: wait until it is finished, shut down its kernel, or choose another "
            "run_name."
        ) from None
    except NotImplementedError:
        return
    _claimed[folder] = lock


def complete_run(folder: Path, record: dict, texts, scores, result=None) -> None:
    """Write history, predictions and at last the record of a run that scored `texts`, and give its folder up."""
    if result is not None:
        write_table(folder / "history.csv", result.history)
    rows = (texts, scores.labels, scores.probability, scores.predictions)
    write_table(folder / "predictions.csv", predictions_table(*rows, scores.label_names))
    finish_run(folder, record)


def finish_run(folder: Path, record: dict) -> None:
    """Write `metrics.json`, with which a run is complete, and give the folder up: an open notebook keeps nobody out."""
    write_json(folder / "metrics.json", record)
    for checkpoint in list(folder.rglob("checkpoint")):  # all is written: nothing will be gone on with
        shutil.rmtree(checkpoint, ignore_errors=True)
    if lock := _claimed.pop(folder.resolve(), None):
        lock.release(force=True)


def metrics_record(
    *, notebook: str, model: str, method: str, dataset: str, sizes: dict[str, int], metrics: dict, intervals: dict,
    seed: int, device, revision: str | None = None, result=None, **extra,
) -> dict:  # fmt: skip
    """Return the content of `metrics.json`: one flat schema for every notebook. `extra` adds keys of the notebook's own.
    `result` is what `training.fit` returned; a baseline has none."""
    record = {
        "schema_version": SCHEMA_VERSION,
        "notebook": notebook,
        "model": model,
        "revision": revision,
        "method": method,
        "dataset": dataset,
        "sizes": sizes,
        "seed": seed,
        "device": device.name,
        "precision": device.precision,
        **metrics,
        "intervals": {name: list(bounds) for name, bounds in intervals.items()},
        "train_seconds": result.train_seconds if result else None,
        "samples_per_second": result.samples_per_second if result else None,
        "peak_memory_bytes": result.peak_memory_bytes if result else None,
        "parameters_total": result.parameters.total if result else None,
        "parameters_trainable": result.parameters.trainable if result else None,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    if result:
        record |= {name: getattr(result.config, name) for name in ("epochs", "learning_rate", "batch_size")}
        record["best_epoch"] = result.best_epoch
    return record | extra


def predictions_table(texts, labels, probabilities: np.ndarray, predictions, label_names: list[str]) -> pd.DataFrame:
    """Return text, true, predicted, confidence and one probability column per label, a row per text.

    For several labels per text, true and predicted are joined by commas, and confidence is that of the least sure label.
    """

    def words(row) -> str:
        return ",".join(compress(label_names, row)) if np.ndim(row) else label_names[row]

    several = np.ndim(labels) == 2
    table = pd.DataFrame({"text": list(texts), "true": map(words, labels), "predicted": map(words, predictions)})
    table["confidence"] = (np.maximum(probabilities, 1 - probabilities).min if several else probabilities.max)(axis=1)
    for i, name in enumerate(label_names):
        table[f"p({name})" if name in table else name] = probabilities[:, i]  # a label may be called "true"
    return table


def save_figure(figure, run_folder: Path, name: str) -> Path:
    """Write `figure` to `run_folder/figures/<name>.png` at screen resolution; return the path."""
    path = Path(run_folder) / "figures" / f"{name}.png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, bbox_inches="tight", metadata={"Software": None})
    return path


class ProgressBar:
    """Counts steps. `COURSE_PROGRESS` says how it shows: "bar" (the default), "lines" or "off"; `silent` shows nothing."""

    def __init__(self, total: int, start: int = 0, every_seconds: float = 5.0, *, silent: bool = False):
        self.mode = "off" if silent else os.environ.get("COURSE_PROGRESS", "bar")
        self.total, self.count, self.every_seconds = total, start, every_seconds
        self.last_line = time.monotonic()
        hidden = self.mode != "bar"
        self.bar = tqdm(total=total, initial=start, file=sys.stdout, leave=False, disable=hidden, dynamic_ncols=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()

    def advance(self, text: str) -> None:
        """Count one step; `text` says where we are."""
        self.count += 1
        self.bar.set_description_str(text, refresh=False)
        self.bar.update()
        if self.mode == "lines" and time.monotonic() - self.last_line > self.every_seconds:
            self.show(f"step {self.count}/{self.total}, {text}")

    def show(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self.mode == "lines":
            print(text, flush=True)
            self.last_line = time.monotonic()
        elif self.mode == "bar":
            self.bar.write(text, file=sys.stdout)
