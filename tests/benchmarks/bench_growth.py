"""How do time and memory grow with the rows, from 10^3 to 10^6, for three sizes of model? Measured on one or two cores.

    python tests/benchmarks/bench_growth.py [--figure figures/growth.png] [--quick]

Three curves, each point in a process of its own with one thread, two processes at a time:

- preparing: a .csv file read and split (`load_data`), tokenised (`encode_split`), and all steps of an epoch planned;
- training: the same, and then `fit` for one epoch;
- predicting: `predict_file` on a .csv file of so many rows, with a head as it is before training.

A random BERT of 2 layers, width 128, all-MiniLM-L6-v2 with all its weights, and SmolLM2-135M-Instruct with LoRA. The two
larger ones are trained on as many rows as a few minutes allow; nothing beyond the last measured point is claimed. An
exponent is the slope of a line through log(seconds), or log(bytes), over log(rows): 1 means that twice the rows take twice
as much, 0 that they take no more. Memory is the process's peak, Python and all libraries included.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from helpers import data, models, training
from helpers.device import find_device, peak_memory_bytes
from helpers.files import ROOT
from helpers.plots.style import COLOURS, MARKERS, new_figure, styled

SMALL, MIDDLE, LARGE = "BERT of 2 layers", "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"
SIZES = {SMALL: "4.4 M", MIDDLE: "22.7 M", LARGE: "135 M, LoRA"}
POINTS = {
    ("preparing", SMALL): (1_000, 10_000, 100_000, 1_000_000),
    ("preparing", LARGE): (1_000, 10_000, 100_000),
    ("training", SMALL): (1_000, 10_000, 50_000),
    ("training", MIDDLE): (1_000, 3_000, 10_000),
    ("training", LARGE): (100, 300, 800),
    ("predicting", SMALL): (1_000, 10_000, 50_000),
    ("predicting", MIDDLE): (300, 1_000, 3_000),
    ("predicting", LARGE): (50, 150, 500),
}
TOKENIZERS = {SMALL: "BERT's tokenizer", LARGE: "SmolLM2's tokenizer"}
ROOM = {"preparing": 4, "training": 12, "predicting": 12, "memory": 6}  # times the highest point: place for a legend
MAX_LENGTH, VALIDATION_ROWS, LABELS = 128, 100, ["anger", "fear", "joy", "love", "sadness", "surprise"]


def write_rows(path: Path, rows: int) -> Path:
    """Write `rows` different texts with an emotion each: sentences of data/moments in turn, numbered."""
    moments = pd.read_csv(ROOT / "data" / "moments" / "train.csv")[["text", "emotion"]].to_numpy()
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(rows):
            text, emotion = moments[number % len(moments)]
            writer.writerow([f"{text} {number}", emotion])
    return path


def build_small(folder: Path) -> Path:
    """Write a random BERT of 2 layers and width 128 with the vocabulary of all-MiniLM-L6-v2 to `folder`; return it."""
    from transformers import BertConfig, BertModel

    tokenizer = models.load_tokenizer(MIDDLE)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_model(name: str, small: Path, device):
    """Return the classifier of `name`, with a new head."""
    method = "lora" if name == LARGE else "full"
    return models.load_classifier(str(small) if name == SMALL else name, LABELS, method=method, device=device)


def prepare(path: Path, tokenizer) -> tuple[dict, training.TrainingConfig]:
    """Return the encoded splits of a file, and a configuration of one epoch whose steps have been planned once."""
    corpus = data.load_data(str(path))
    encoded = {
        name: models.encode_split(corpus.splits[name], tokenizer, MAX_LENGTH) for name in ("train", "validation")
    }
    config = training.TrainingConfig(epochs=1)
    training.plan_steps(encoded["train"].lengths, config)
    return encoded, config


def measure(what: str, name: str, path: Path, small: Path) -> dict:
    """Return seconds and peak memory in bytes of one point; models are loaded before the clock starts."""
    device = find_device()
    tokenizer = models.load_tokenizer(str(small) if name == SMALL else name)
    classifier = None if what == "preparing" else load_model(name, small, device)
    start = time.perf_counter()
    if what == "predicting":
        from helpers.deploy import Predictor
        from helpers.deploy.bulk import predict_file

        predictor = Predictor(classifier, tokenizer, {"max_length": MAX_LENGTH})
        predict_file(predictor, path, path.with_name(f"predicted-{os.getpid()}.csv"), text_column="text")
    else:
        encoded, config = prepare(path, tokenizer)
    peak, seconds = peak_memory_bytes(device), time.perf_counter() - start
    if what == "training":
        rows = np.arange(min(VALIDATION_ROWS, len(encoded["validation"])))
        result = training.fit(
            classifier, encoded["train"], models.select_rows(encoded["validation"], rows), config, device=device
        )
        seconds, peak = time.perf_counter() - start, max(peak, result.peak_memory_bytes)
    return {"seconds": seconds, "bytes": peak}


def start_process(what: str, name: str, rows: int, folder: Path) -> dict:
    """Return a point, measured in a process of its own with one thread."""
    command = [sys.executable, __file__, "--point", what, name, str(rows), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{what}, {name}, {rows} rows failed:\n{done.stderr[-2000:]}")
    found = {"what": what, "model": name, "rows": rows} | json.loads(done.stdout.splitlines()[-1])
    print(
        f"{what:<11} {name:<22} {rows:>9,} rows {found['seconds']:>7.1f} s {found['bytes'] / 1e6:>7,.0f} MB", flush=True
    )
    return found


def find_growth(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each curve the rows it was measured on, the exponents of its time and of its peak of memory, and between
    its two largest points what a row costs: milliseconds and bytes."""
    curves = []
    for curve in POINTS:
        points = table[(table["what"] == curve[0]) & (table["model"] == curve[1])].sort_values("rows")
        rows, logs = points["rows"].to_numpy(), np.log(points["rows"])
        time_exponent, memory_exponent = (np.polyfit(logs, np.log(points[name]), 1)[0] for name in ("seconds", "bytes"))
        milliseconds, size = (np.diff(points[name])[-1] / np.diff(rows)[-1] for name in ("seconds", "bytes"))
        curves.append((*curve, rows[0], rows[-1], time_exponent, memory_exponent, 1e3 * milliseconds, size))
    names = ["what", "model", "from", "to", "time_exponent", "memory_exponent", "ms_per_row", "bytes_per_row"]
    return pd.DataFrame(curves, columns=names).set_index(["what", "model"])


@styled
def plot_growth(table: pd.DataFrame, growth: pd.DataFrame) -> Figure:
    """Return three panels of time over rows, one for each kind of work, and one of memory, all with logarithmic axes."""
    titles = {
        "preparing": "Preparing: read, tokenise, plan the steps",
        "training": "Preparing and one epoch of training",
        "predicting": "Predicting a file",
        "memory": "Peak memory of the process",
    }
    figure, axes = new_figure(10.5, 8, 2, 2, grid="both", xscale="log", yscale="log", xlabel="rows", xlim=(40, 1.5e6))
    panels = dict(zip(titles, axes, strict=True))
    styles = {"preparing": ":", "training": "-", "predicting": "--"}
    looks = {name: (COLOURS[i], MARKERS[i]) for i, name in enumerate(SIZES)}
    for (what, model), row in growth.iterrows():
        points = table[(table["what"] == what) & (table["model"] == model)].sort_values("rows")
        look = dict(zip(("color", "marker"), looks[model], strict=True)) | {"linestyle": styles[what]}
        name = TOKENIZERS[model] if what == "preparing" else f"{model.removesuffix('-Instruct')}, {SIZES[model]}"
        label = f"{name}: rows^{row['time_exponent']:.2f}"
        panels[what].plot(points["rows"], points["seconds"], **look, label=label)
        name = TOKENIZERS[model] if what == "preparing" else f"{what}, {SIZES[model].split(',')[0]}"
        label = f"{name}: rows^{row['memory_exponent']:.2f}"
        panels["memory"].plot(points["rows"], points["bytes"] / 1e6, **look, label=label)
    for name, ax in panels.items():
        low, high = ax.get_ylim()
        ax.set(title=titles[name], ylabel="MB" if name == "memory" else "seconds", ylim=(low, high * ROOM[name]))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="upper left", fontsize=8 if name == "memory" else 10, ncols=2 if name == "memory" else 1)
    return figure


def main() -> None:
    """Print a line per point and a table of exponents; draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, help="where to draw the curves")
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each curve")
    parser.add_argument("--point", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        what, name, rows, folder = given.point
        print(json.dumps(measure(what, name, Path(folder) / f"{rows}.csv", Path(folder) / "small")))
        return
    print(f"{find_device()}; one thread per process, two processes at a time")
    start = time.perf_counter()
    todo = [(*curve, rows) for curve, sizes in POINTS.items() for rows in (sizes[:2] if given.quick else sizes)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        build_small(folder / "small")
        for rows in {rows for *_, rows in todo}:
            write_rows(folder / f"{rows}.csv", rows)
        with ThreadPoolExecutor(2) as pool:
            longest_first = sorted(todo, key=lambda point: POINTS[point[:2]].index(point[2]), reverse=True)
            table = pd.DataFrame(pool.map(lambda point: start_process(*point, folder), longest_first))
    growth = find_growth(table)
    print(growth.to_string(float_format="{:.3g}".format), f"\n{time.perf_counter() - start:.0f} s in all")
    if given.figure:
        plot_growth(table, growth).savefig(given.figure, dpi=100, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    main()
