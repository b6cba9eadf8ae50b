"""How long do 10,000 run folders take, and how much memory? `python tests/benchmarks/bench_leaderboard.py`

Writes run folders of 306 texts and six labels, with their texts and probabilities, as notebooks leave them (that takes some minutes),
then reads, checks and ranks them in a process of its own.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "leaderboard"))

SYSTEMS, FOLDS = 20, 5


def write_runs(folder: Path, count: int) -> None:
    """Write `count` different runs: of each system, 306 texts per fold, all answers drawn anew."""
    from made_runs import make_run

    texts = {
        fold: [f"sentence {i} of fold {fold}, of a usual length: {'so and so ' * 6}" for i in range(306)]
        for fold in range(1, FOLDS + 1)
    }
    for number in range(count):
        system, fold, seed = number % SYSTEMS, number // SYSTEMS % FOLDS + 1, number // SYSTEMS // FOLDS
        own = {"fold": fold, "folds": FOLDS, "seed": seed, "rows": 306, "texts": texts[fold], "fast": True}
        make_run(folder / f"run-{number:05d}", model=f"model-{system}", accuracy=0.6 + system / 100, **own)


def measure(folder: Path) -> None:
    """Print what reading and ranking took, as JSON."""
    from helpers.leaderboard import make_leaderboard, read_runs

    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    runs = read_runs([folder])
    read = time.perf_counter() - start
    board = make_leaderboard(runs)
    found = {
        "runs": len(runs.table),
        "read": read,
        "rank": time.perf_counter() - start - read,
        "systems": len(board.table),
    }
    found |= {"memory_before_mb": before / 1e3, "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}
    print(json.dumps(found))


def main(count: int = 10_000) -> None:
    """Write, measure, print one line."""
    folder = Path(tempfile.mkdtemp(prefix="bench-leaderboard-"))
    try:
        write_runs(folder, count)
        done = subprocess.run(
            [sys.executable, __file__, "--measure", folder], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        print(
            f"{found['runs']:,} run folders of 306 texts: read and checked in {found['read']:.1f} s, ranked in "
            f"{found['rank']:.1f} s ({found['systems']} systems, 5 folds); peak memory {found['memory_mb']:.0f} MB, "
            f"of which {found['memory_before_mb']:.0f} MB are Python and the libraries"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
