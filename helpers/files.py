"""Files and folders that appear whole or not at all; JSON, TOML and CSV. Nothing is pickled."""

import contextlib
import errno
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from helpers.exceptions import DiskError

_CHECKOUT = Path(__file__).resolve().parents[1]
_IS_CHECKOUT = (_CHECKOUT / "data" / "assets.toml").exists()
# The course's folder, which holds its runs and caches; where only the package is installed, the folder one stands in.
ROOT = _CHECKOUT if _IS_CHECKOUT else Path.cwd()
# What the course knows: defaults, assets, exercises, bands. A wheel brings these files along.
DATA = _CHECKOUT / "data" if _IS_CHECKOUT else Path(sys.prefix) / "share" / "transformers-for-emotion"


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
    return path


def read_json(path: str | Path) -> dict:
    """Return the content of a JSON file, a `metrics.json` for example."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_toml(path: Path) -> dict:
    """Return a TOML file, such as those of `data/`, as nested dictionaries; {} where there is none (a bare package)."""
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_table(path: str | Path, table) -> Path:
    """Write a pandas `table` atomically as UTF-8 CSV without its index; return the path."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)
