"""A run is one folder, `runs/<notebook>/<run name>/`, one process, and one record, `metrics.json`."""

import json
import os
import platform
import re
import shutil
import sys
import time
import unicodedata
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from helpers.evaluation.fingerprints import fingerprint_answers, fingerprint_rows, make_keys, seal_record
from helpers.evaluation.scores import incorrect_table, predictions_table
from helpers.exceptions import SettingError
from helpers.files import (
    DATA_FILE,
    ROOT,
    atomic_path,
    explain_disk_errors,
    make_folder,
    read_json,
    write_json,
    write_table,
)  # fmt: skip

RUNS = ROOT / "runs"
SCHEMA_VERSION = 2  # 1 had no test_set, answers and seal
# Settings that leave a run the same run: it may go on, or be done again, with other values of these.
WITHOUT_EFFECT = (
    "run_name", "resume", "save_model", "tracker", "tracker_project", "push_to", "show_texts", "precision", "max_tokens",
    "gradient_checkpointing",
)  # fmt: skip
SETTINGS = "parameters.json"
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
    if not re.fullmatch(r"[^\W_][\w.-]*", run_name):
        raise SettingError(
            f"run_name={run_name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit."
        )


def shorten_name(name: str) -> str:
    """Return what a run's name holds of a dataset or model: the last part of its path or Hub id, without a data file's
    suffix, in letters of any script, digits, "." and "-". What calls itself "model" is named by the folder it is in."""
    path = Path(os.path.abspath(os.path.expanduser(name)))
    last = path.parent.name if path.name == "model" else path.name
    last = re.sub(r"[^\w.]+|_+", "-", unicodedata.normalize("NFC", DATA_FILE.sub("", last)))
    last = last.encode()[:50].decode(errors="ignore")  # a name of several such parts has to fit into 255
    return last.strip("-.") or "data"


def find_runs() -> Path:
    """Return the folder of all runs: `COURSE_RUNS`, or `runs` in the course's folder."""
    return Path(os.environ.get("COURSE_RUNS") or RUNS)


def list_differences(folder: Path, settings: dict) -> list[str]:
    """Return in which `settings` the run differs that was done in `folder`; [] if none was, or nothing of it is left."""
    made = (path for path in folder.rglob("*") if path.is_file() and path.name not in (SETTINGS, ".lock"))
    if not any(made):
        return []
    if not (folder / SETTINGS).exists():
        return ["which are not known"]
    before, now = read_json(folder / SETTINGS), json.loads(json.dumps(settings))
    return [name for name in now if name not in WITHOUT_EFFECT and before.get(name, now[name]) != now[name]]


def number_name(notebook: str, name: str, settings: dict) -> tuple[str, str | None]:
    """Return `name`, or with the first number under which no run with other settings lies; and what to say of a number."""
    free, number, first = name, 1, []
    while differing := list_differences(find_runs() / notebook / free, settings):
        first, number = first or differing, number + 1
        free = f"{name}-{number}"
    said = f"{name} is a run with other settings ({', '.join(first[:4])}), which stays: this one is called {free}."
    return free, said if first else None


def open_run_folder(notebook: str, run_name: str, settings: dict | None = None, *, runs: Path | None = None) -> Path:
    """Create `runs/<notebook>/<run name>/` if need be and return it; it now belongs to this process.

    `run_name` may hold letters, digits, `.`, `_`, `-`. The run's `settings` are kept in the folder's `parameters.json`.
    The folder is given up by `finish_run`, or when the process ends, however it ends.
    Raises `SettingError` for another name, while another process has the folder, and where it holds a result of other
    settings, which would be lost. An unfinished run is left to `training.fit`, which knows whether it can go on.
    """
    check_run_name(run_name)
    folder = (runs or find_runs()) / notebook / run_name
    finished = (folder / "metrics.json").exists() or (folder / "model").exists()
    if settings is not None and finished and (differing := list_differences(folder, settings)):
        raise SettingError(
            f"{folder} holds a run with other settings ({', '.join(differing[:4])}), whose result would be lost: choose "
            "another run_name, or delete the folder."
        )
    make_folder(folder)
    make_folder(folder / "figures")
    claim_folder(folder)
    if settings is not None and is_main_process():
        write_json(folder / SETTINGS, settings)
    return folder


def claim_folder(folder: Path) -> None:
    """Take `folder` for this process. Taking it again is fine: a notebook's cells are run more than once.

    Of several processes of one run (torchrun) the first takes it for all. Where the file system knows no locks, as on
    some network drives, nobody is kept out. Raises `SettingError` while another process has it.
    """
    folder = folder.resolve()
    if folder in _claimed or not is_main_process():
        return
    lock = FileLock(folder / ".lock", blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        with explain_disk_errors(folder):
            lock.acquire()
    except Timeout:
        raise SettingError(
            f"{folder} is in use by another run: wait until it is finished, shut down its kernel, or choose another "
            "run_name."
        ) from None
    except NotImplementedError:
        return
    _claimed[folder] = lock


def complete_run(folder: Path, record: dict, texts, scores, result=None, wrong: pd.DataFrame | None = None) -> dict:
    """Write history, predictions, wrong predictions and at last the record of a run that scored `texts`; give its folder up.
    Return the record with fingerprints of the scored rows and the answers, and a seal (`evaluation.seal_record`).
    `wrong` stands for the plain table of the wrong ones, where a notebook knows more of them (`analysis.wrong_predictions`)."""
    if result is not None:
        write_table(folder / "history.csv", result.history)
    table = predictions_table(texts, scores)
    write_table(folder / "predictions.csv", table)
    write_table(folder / "incorrect_predictions.csv", incorrect_table(texts, scores) if wrong is None else wrong)
    answered = make_keys(table["text"]), table["true"], table["predicted"]
    known = {"test_set": fingerprint_rows(*answered[:2]), "answers": fingerprint_answers(*answered)}
    record = seal_record(json.loads(json.dumps(record | known)))  # as it will be read: tuples are lists
    finish_run(folder, record)
    return record


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
