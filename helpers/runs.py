"""The run folder `runs/<notebook>/<run name>/`: every file appears whole or not at all, and nothing is pickled."""

import contextlib
import errno
import json
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from helpers.assets.find import ROOT, PlainError
from helpers.course.parameters import check_parameters, check_run_name
from helpers.locks import claim_folder, release_folder

RUNS = ROOT / "runs"
SCHEMA_VERSION = 1
LIBRARIES = ("torch", "transformers", "datasets", "accelerate", "scikit-learn", "numpy", "pandas")


def library_line() -> str:
    """Return Python's and the main libraries' versions in one line."""
    names = ("torch", "transformers", "datasets", "accelerate", "scikit-learn")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def fill_in(defaults: dict, **given) -> SimpleNamespace:
    """Return the parameters of a notebook: what is `given`, and the profile's default where that is None.

    `label_column` belongs to the default dataset: another dataset's label column is found when it is loaded.
    Raises `ValueError` or `AssetError` for a value that cannot work, before any of the work is done.
    """
    if given.get("dataset") is not None:
        defaults = {**defaults, "label_column": None}
    chosen = {name: defaults.get(name) if value is None else value for name, value in given.items()}
    check_parameters(chosen)
    return SimpleNamespace(**chosen)


def open_run_folder(
    notebook: str, run_name: str, parameters: SimpleNamespace | None = None, *, runs: Path | None = None
) -> Path:
    """Create `runs/<notebook>/<run name>/` if need be and return it; it now belongs to this process.

    `run_name` may hold letters, digits, `.`, `_`, `-`. The notebook's `parameters`, as `fill_in` returned them, are kept
    in the folder's `parameters.json`. The folder is given up when its `metrics.json` is written, or when the process ends.
    Raises `ValueError` for another name, and while another process has the folder.
    """
    check_run_name(run_name)
    folder = (runs or Path(os.environ.get("COURSE_RUNS", RUNS))) / notebook / run_name
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    claim_folder(folder)
    if parameters is not None:
        write_json(folder / "parameters.json", vars(parameters))
    return folder


class DiskError(PlainError, OSError):
    """A file of a run could not be written for lack of space; the message says where, and that nothing is lost."""


@contextlib.contextmanager
def _explain_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # safetensors raises an error of its own, which holds the number in its text
        numbers = [errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)]
        if getattr(error, "errno", None) not in numbers and not any(f"os error {n})" in str(error) for n in numbers):
            raise
        raise DiskError(
            f"The disk is full: {path} could not be written, and what was there before is unharmed. Free some space "
            "(or set COURSE_RUNS to a folder on another disk) and run again: a run goes on from its last checkpoint."
        ) from error


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, delete it otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        with _explain_full_disk(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # a rename must not overtake the content when the power fails
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `folder`; it takes `folder`'s place when the block ends well, else it goes."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        with _explain_full_disk(folder):
            yield work
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_json(path: str | Path, content: dict) -> Path:
    """Write `content` atomically as indented JSON; return the path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    if path.name == "metrics.json":  # the run is over: an open notebook need not keep others out
        release_folder(path.parent)
    return path


def read_json(path: str | Path) -> dict:
    """Return the content of a JSON file, a `metrics.json` for example."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | Path, table: pd.DataFrame) -> Path:
    """Write `table` atomically as UTF-8 CSV without its index; return the path."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)


def save_figure(figure, run_folder: Path, name: str) -> Path:
    """Write `figure` to `run_folder/figures/<name>.png` at screen resolution; return the path."""
    path = Path(run_folder) / "figures" / f"{name}.png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, bbox_inches="tight", metadata={"Software": None})
    return path


def predictions_table(texts, labels, probabilities: np.ndarray, predictions, label_names: list[str]) -> pd.DataFrame:
    """Return text, true, predicted, confidence and one probability column per label, a row per text.

    For several labels per text, true and predicted are joined by commas, and confidence is that of the least sure label.
    """
    table = pd.DataFrame({"text": list(texts)})
    if probabilities.ndim == 2 and np.ndim(labels) == 2:
        joined = [
            [",".join(n for n, on in zip(label_names, row, strict=True) if on) for row in np.asarray(rows)]
            for rows in (labels, predictions)
        ]
        table["true"], table["predicted"] = joined
        table["confidence"] = np.maximum(probabilities, 1 - probabilities).min(axis=1)
    else:
        table["true"] = [label_names[i] for i in labels]
        table["predicted"] = [label_names[i] for i in predictions]
        table["confidence"] = probabilities.max(axis=1)
    for i, name in enumerate(label_names):
        table[f"p({name})" if name in table else name] = probabilities[:, i]  # a label may be called "true"
    return table


def metrics_record(
    *,
    notebook: str,
    model: str,
    method: str,
    dataset: str,
    sizes: dict[str, int],
    metrics: dict,
    intervals: dict,
    seed: int,
    device,
    revision: str | None = None,
    config=None,
    result=None,
    counts=None,
    peak_memory_bytes: int | None = None,
    **extra,
) -> dict:
    """Return the content of `metrics.json`: one flat schema for every notebook. `extra` adds keys of the notebook's own.

    Of a training run: `config` is the `TrainingConfig` it followed, `result` what `fit` returned, and `counts` what
    `count_parameters` returned; a baseline has none of them.
    """
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
        "peak_memory_bytes": peak_memory_bytes,
        "parameters_total": counts.total if counts else None,
        "parameters_trainable": counts.trainable if counts else None,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    if config:
        record |= {name: getattr(config, name) for name in ("epochs", "learning_rate", "batch_size")}
    if result:
        record["best_epoch"] = result.best_epoch
    return record | extra
