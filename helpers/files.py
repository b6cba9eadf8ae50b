"""Files and folders that appear whole or not at all; JSON, TOML and CSV. Nothing is pickled."""

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

from helpers.exceptions import DiskError, SettingError, shorten

_CHECKOUT = Path(__file__).resolve().parents[1]
_IS_CHECKOUT = (_CHECKOUT / "data" / "assets.toml").exists()
# The course's folder, which holds its runs and caches; where only the package is installed, the folder one stands in.
ROOT = _CHECKOUT if _IS_CHECKOUT else Path.cwd()
# What the course knows: defaults, assets, exercises, bands. A wheel brings these files along.
DATA = _CHECKOUT / "data" if _IS_CHECKOUT else Path(sys.prefix) / "share" / "transformers-for-emotion"


# A file of data, packed or not, by its name.
DATA_FILE = re.compile(r"\.((csv|tsv|jsonl?|parquet|arrow|xlsx|txt)(\.gz)?|gz)$", re.IGNORECASE)
# What systems and Jupyter leave in folders, unasked.
LEFT_BEHIND = {".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints"}
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
ELSEWHERE = "choose another folder, for runs by setting COURSE_RUNS."


def find_disk_sentence(error: BaseException, path: str | Path) -> str | None:
    """Return what to say of an `error` that kept `path` from being written; None if it is not about disk or permission."""
    number = getattr(error, "errno", None)
    if found := re.search(r"os error (\d+)\)", str(error)):  # safetensors raises an error of its own
        number = int(found[1])
    if number in FULL:
        return (
            f"The disk is full: {path} could not be written, and what was there before is unharmed. Free some space "
            "(or set COURSE_RUNS to a folder on another disk) and run again: a run goes on from its last checkpoint."
        )
    if number in CLOSED:
        return f"{path} may not be written or read (no permission, or a read-only disk): {ELSEWHERE}"
    if number in (errno.EEXIST, errno.ENOTDIR):
        return f"{path} cannot be a folder, because a part of its path is a file: {ELSEWHERE}"
    if number == errno.ENAMETOOLONG:
        return f"{path} is too long a name for this disk: choose a shorter one."
    return None


@contextlib.contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Turn what the system says when `path` cannot be written into one sentence, a `DiskError`."""
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        sentence = find_disk_sentence(error, path)
        if sentence is None:
            raise
        raise DiskError(sentence) from error


def make_folder(folder: Path) -> Path:
    """Make `folder`, and those that it is in, if need be; return it. Raises `DiskError` where that is not possible."""
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, delete it otherwise."""
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        with explain_disk_errors(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # a rename must not overtake the content when the power fails
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk, not even what is not there can be removed
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `folder`; it takes `folder`'s place when the block ends well, else it goes."""
    folder = Path(folder)
    make_folder(folder.parent)
    work = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        with explain_disk_errors(folder):
            work.mkdir()
            yield work
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def require_own(folder: str | Path, names: Iterable[str]) -> None:
    """Raise `SettingError` for a `folder` that may not be replaced, because it holds other files than its writer writes:
    `names` are the patterns of those, from the folder on ("onnx/*.onnx"). One that is empty or not there may be."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"{shorten(folder, 120)} is a file: name a new folder.")
    own = {file for name in names for file in folder.glob(name)}
    files = (file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir())
    others = sorted(file for file in files if file not in own and not LEFT_BEHIND & {*file.relative_to(folder).parts})
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        found = shorten(others[0].relative_to(folder), 60) + more
        raise SettingError(
            f"{shorten(folder, 120)} holds other things ({found}), which would be deleted: name a new folder."
        )


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
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        write_rows(file, table)
    return Path(path)


def write_rows(file, table, **options) -> None:
    """Write a pandas `table` to the open text `file` as CSV without its index, from which the same cells are read.

    Python 3.11 quotes a line end only if it is part of what ends its rows, and a carriage return in a text would cut the
    row in two: so rows are made to end in both characters, and get the one that they shall have as they are written."""
    rows = SimpleNamespace(write=lambda row: file.write(row.removesuffix("\r\n") + "\n"))
    table.to_csv(rows, index=False, lineterminator="\r\n", **options)
