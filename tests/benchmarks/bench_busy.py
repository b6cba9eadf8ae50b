"""What does a busy neighbour cost a training step, and which setting of OpenMP loses least? One table.

    python tests/benchmarks/bench_busy.py [--neighbours 0 1 2 4] [--steps 12]

OpenMP's threads spin while they wait for each other; a thread that waits on a core keeps the neighbour off it, and the
neighbour keeps off the thread that all wait for. Each figure is the median step of MiniLM's size (32 texts of 24 tokens)
in a process of its own, beside so many processes that compute without end. The settings are repeated in turn.
"""

import argparse
import os
import statistics
import subprocess
import sys

SETTINGS = {
    "as it comes": {"GOMP_SPINCOUNT": "300000"},  # what libgomp does where nothing is set
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 0": {"GOMP_SPINCOUNT": "0"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
STEP = """
import sys, statistics, time
from helpers.course.probe import prepare_step
from helpers.device import find_device
step = prepare_step(find_device())
times = []
for _ in range(int(sys.argv[1]) + 2):
    start = time.perf_counter()
    step()
    times.append(time.perf_counter() - start)
print(statistics.median(times[2:]))
"""


def measure(settings: dict[str, str], steps: int) -> float:
    """Return the median seconds of a step in a process with these environment variables."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(steps)], env=plain | settings, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout)


def main() -> None:
    """Print a line per setting, a column per number of neighbours: milliseconds, and the ratio to the best there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    found = {name: [] for name in SETTINGS}
    for count in arguments.neighbours:
        neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        try:
            runs = [
                {name: measure(s, arguments.steps) for name, s in SETTINGS.items()} for _ in range(arguments.repeats)
            ]
        finally:
            for neighbour in neighbours:
                neighbour.kill()
        for name in SETTINGS:
            found[name].append(statistics.median(run[name] for run in runs))
    best = [min(found[name][i] for name in SETTINGS) for i in range(len(arguments.neighbours))]
    print(f"{os.cpu_count()} cores; milliseconds per step, and times the best setting, beside busy processes")
    print(f"{'':<14}" + "".join(f"{count:>16}" for count in arguments.neighbours))
    for name, values in found.items():
        cells = (f"{1000 * value:>8,.0f} ({value / low:.2f}x)" for value, low in zip(values, best, strict=True))
        print(f"{name:<14}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
