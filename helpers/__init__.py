"""The course's rooms, in reading order: data → models → generation → training → evaluation → analysis → deploy.

`plots` draws, `course` holds exercises, defaults and expected bands, `assets` knows where models and data come from, and
`cli` is the command line. Beneath them lie `device`, `runs`, `files` and `exceptions`. Start at `training/loop.py`.
"""

import logging
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

__version__ = "0.1.0"

# The libraries' own bars ask for widgets, which a stored notebook cannot show; the course brings its own bar.
warnings.filterwarnings("ignore", message="IProgress not found")

# bitsandbytes, which peft imports, recommends an optional kernel for 4-bit weights on CPUs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

RUNNING = Path("/proc/loadavg")  # its fourth field: how many threads of this machine run or wait for a core now
THREADS = Path("/proc/self/task")  # a folder per thread of this process; in its file `stat`, R means that it runs
SHORT_SPIN = "1000"


def choose_spinning(busy: bool = False) -> None:
    """Let OpenMP's threads spin shortly if others compute already, or will (`busy`), and nobody has chosen otherwise; on
    Linux alone.

    It stands here because OpenMP reads its settings once, when PyTorch is imported. A thread that waits for another spins
    on its core for 3 ms; a busy neighbour does not get the core meanwhile, nor does the thread that all wait for. On a
    quiet machine the short spin costs 5 %. Measured by `tests/benchmarks/bench_busy.py`; the table is in the README.
    """
    chosen = any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"))
    if not chosen and "torch" not in sys.modules and (busy or count_running() > 1):
        os.environ["GOMP_SPINCOUNT"] = SHORT_SPIN


def count_running(samples: int = 5, seconds: float = 0.004) -> float:
    """Return how many threads of this machine are running, this one included: the median of several looks; 1 if unknown.
    This process's own others are left out: NumPy's spin for a while after its import, and nobody else needs that core."""
    looks = []
    for _ in range(samples):
        try:
            states = [file.read_text().rpartition(")")[2].split()[0] for file in THREADS.glob("*/stat")]
            running = int(RUNNING.read_text().split()[3].split("/")[0])
            looks.append(running - max(0, states.count("R") - 1))
        except (OSError, ValueError, IndexError):
            return 1
        time.sleep(seconds)
    return statistics.median(looks)


choose_spinning()
