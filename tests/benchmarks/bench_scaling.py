"""What does a second process bring? Measured, with one thread per process. How time grows with the rows: bench_growth.py.

    python tests/benchmarks/bench_scaling.py [--rows 2000] [--epochs 1] [--batch-size 32]

Trains all-MiniLM-L6-v2 on texts of data/moments, repeated in turn where there are too few, in one process and in two
(torchrun), one thread each. After each step the processes exchange a gradient for every weight, 90 MB, however few texts
the step had: larger batches scale better.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np

from helpers import data, models, runs, training
from helpers.device import find_device
from helpers.training import processes

MODEL, LABEL_COLUMN = "all-MiniLM-L6-v2", "emotion"


def train(rows: int, epochs: int, batch_size: int) -> dict:
    """Return training seconds (without loading and evaluation), final loss and macro F1 of a run on `rows` rows."""
    device = find_device()
    corpus = data.load_data("moments", label_column=LABEL_COLUMN)
    tokenizer = models.load_tokenizer(MODEL)
    texts, validation = (models.encode_split(corpus.splits[name], tokenizer, 128) for name in ("train", "validation"))
    texts = models.select_rows(texts, np.arange(rows) % len(texts))
    classifier = models.load_classifier(MODEL, corpus.label_names, device=device)
    config = training.TrainingConfig(epochs=epochs, batch_size=batch_size)
    result = training.fit(classifier, texts, validation, config, device=device)
    last = result.history.iloc[-1]
    return {"seconds": result.train_seconds, "loss": float(last["loss"]), "f1_macro": float(last["f1_macro"])}


def measure(rows: int, epochs: int, batch_size: int, count: int = 1) -> dict:
    """Return what `train` found in `count` processes of one thread each."""
    start = [sys.executable]
    if count > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [*start, __file__, "--rows", str(rows), "--epochs", str(epochs)]
        command += ["--batch-size", str(batch_size), "--write", str(file)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{rows} rows in {count} processes failed:\n{done.stderr[-3000:]}")
        return json.loads(file.read_text())


def main() -> None:
    """Print a line for one process and for two, and the speed-up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = (arguments.rows, arguments.epochs, arguments.batch_size)
    if arguments.write:
        found = train(*size)
        if runs.is_main_process():
            arguments.write.write_text(json.dumps(found))
        processes.leave_processes()
        return
    print(f"{find_device()}; {MODEL}, moments, {arguments.rows} rows, {arguments.epochs} epoch(s), ", end="")
    print(f"batches of {arguments.batch_size}, one thread per process")
    one, two = (measure(*size, count=count) for count in (1, 2))
    for words, found in (("1 process", one), ("2 processes", two)):
        print(f"{words:<12} {found['seconds']:>6.1f} s {describe(found)}", flush=True)
    print(f"two processes are {one['seconds'] / two['seconds']:.2f} x as fast as one")


def describe(found: dict) -> str:
    return f"  validation loss {found['loss']:.3f}, macro F1 {found['f1_macro']:.3f}"


if __name__ == "__main__":
    main()
