"""One run folder, one process: a lock that the operating system frees when its process ends, however it ends."""

import errno
import os
from pathlib import Path
from typing import IO

_claimed: dict[Path, IO] = {}  # folder → its open lock file


def is_main_process() -> bool:
    """Return whether this process is the one that prints and writes; it may be asked before the processes have met."""
    return int(os.environ.get("RANK", 0)) == 0


def claim_folder(folder: Path) -> None:
    """Take `folder` for this process. Taking it again is fine: a notebook's cells are run more than once.

    Of several processes of one run (torchrun) the first takes it for all. Where the file system knows no locks, as on
    some network drives, nobody is kept out. Raises `ValueError` while another process has it.
    """
    folder = folder.resolve()
    if folder in _claimed or not is_main_process():
        return
    file = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (it stays open on purpose)
    try:
        _lock(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            file.close()
            raise ValueError(
                f"{folder} is in use by another run: wait until it is finished, shut down its kernel, or choose another "
                "run_name."
            ) from None
    _claimed[folder] = file


def release_folder(folder: Path) -> None:
    """Give `folder` up, if this process has it."""
    if file := _claimed.pop(folder.resolve(), None):
        file.close()  # and with it goes the lock


def _lock(file: IO) -> None:
    """Lock `file` without waiting; raise `OSError` if another process has it."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not shared with forked children
