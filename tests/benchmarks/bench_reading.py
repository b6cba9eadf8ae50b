"""How fast are well-formed files read, against an earlier revision in the same run, and how much memory do pieces take?

    python tests/benchmarks/bench_reading.py [--rows 1000000] [--against REVISION] [--rounds 3]

Makes a .csv file of which two thirds of the texts are quoted, and reads it whole and in pieces of 10,000 rows, the two
revisions in turn, each time in a process of its own; prints the medians and their ratio. The peak of memory in pieces is
measured for a tenth of the rows as well: it should not grow with them.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from helpers.data.tables import read_chunks, read_table
how, path = sys.argv[1], Path(sys.argv[2])
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
rows = len(read_table(path).rows) if how == "whole" else sum(len(piece.rows) for piece in read_chunks(path, 10_000))
seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": rows, "seconds": seconds, "megabytes": (peak - before) / 1024}))
"""


def write_file(path: Path, rows: int) -> Path:
    """Write id, text and label; two texts of three have commas and quotation marks."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for i in range(rows):
            text = (
                f'this is, text number {i} about "things" and more' if i % 3 else f"plain text number {i} of some words"
            )
            writer.writerow([i, text, "ab"[i % 2]])
    return path


def check_out(revision: str, folder: Path) -> Path:
    """Unpack `helpers` and `data` of an earlier revision; return the folder to import them from."""
    archive = folder / "earlier.tar"
    subprocess.run(["git", "archive", "-o", archive, revision, "helpers", "data"], cwd=ROOT, check=True)
    with tarfile.open(archive) as files:
        files.extractall(folder / "earlier", filter="data")
    return folder / "earlier"


def measure(code: Path, how: str, path: Path) -> dict:
    """Return rows, seconds and memory of reading `path` by the `helpers` in the folder `code`."""
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, how, str(path)]
    done = subprocess.run(command, env=environment, cwd=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print seconds, ratio and memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--against", help="a revision of git; by default only this one is measured")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path, few = write_file(folder / "many.csv", given.rows), write_file(folder / "few.csv", given.rows // 10)
        codes = {"now": ROOT} | ({"earlier": check_out(given.against, folder)} if given.against else {})
        for how in ("whole", "pieces"):
            found = {name: [] for name in codes}
            for _ in range(given.rounds):
                for name, code in codes.items():
                    found[name].append(measure(code, how, path))
                    assert found[name][-1]["rows"] == given.rows
            seconds = {name: statistics.median(one["seconds"] for one in each) for name, each in found.items()}
            ratio = f", ratio {seconds['now'] / seconds['earlier']:.2f}" if given.against else ""
            print(f"{how}: " + ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()) + ratio)
        memory = {path.name: measure(ROOT, "pieces", path)["megabytes"] for path in (few, path)}
        print("memory of pieces: " + ", ".join(f"{name} {value:.0f} MB" for name, value in memory.items()))


if __name__ == "__main__":
    main()
