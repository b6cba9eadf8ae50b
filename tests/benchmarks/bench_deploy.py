"""How fast is a saved model at work: one text, many at once, and as a service under 64 clients at a time? One table.

    python tests/benchmarks/bench_deploy.py                                             # 6 minutes on two quiet cores
    python tests/benchmarks/bench_deploy.py --texts 100 --requests 200 --repeats 1      # a rehearsal

all-MiniLM-L6-v2 with a head for six labels (untrained: speed does not depend on it, give a trained one by --run), in PyTorch
fp32, and exported, in onnxruntime fp32 and int8; the sentences of data/moments. Beside them what is often seen:
transformers' `pipeline`, one text after the other. Every figure comes from a process of its own, in turn, and is the
median of the repeats. The clients of the service compute on the same cores.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from helpers.files import DATA, ROOT

sys.path.insert(0, str(ROOT / "tests"))
from standin_service import serving

WAYS = {"PyTorch fp32": (), "ONNX fp32": (), "ONNX int8": ("--int8",)}
NAIVE = "pipeline, one by one"
LABELS = ["sadness", "joy", "love", "anger", "fear", "surprise"]


def prepare(folder: Path, run: str | None) -> dict[str, Path]:
    """Write the model and its export below `folder`; return which folder each way of computing takes."""
    from helpers import models
    from helpers.deploy.export import export_onnx

    if run is None:
        run = folder / "run"
        classifier = models.load_classifier("all-MiniLM-L6-v2", LABELS)
        models.save(classifier, models.load_tokenizer("all-MiniLM-L6-v2"), run / "model", max_length=96)
    export_onnx(run, folder / "export", int8=True)
    return {name: Path(run) if name.startswith("PyTorch") else folder / "export" for name in WAYS} | {NAIVE: Path(run)}


def measure_alone(way: str, folder: Path, texts: list[str]) -> dict:
    """Return the latency of one text at a time, and texts per second of all at once; called in a process of its own."""
    from helpers.deploy.latency import measure_latency
    from helpers.deploy.onnx_predictor import load_predictor

    if way == NAIVE:
        from transformers import pipeline

        model = folder / "model" if (folder / "model").is_dir() else folder
        predict_one = pipeline("text-classification", model=str(model), top_k=None, truncation=True, max_length=96)
        predict = lambda texts: [predict_one(text) for text in texts]  # noqa: E731
    else:
        predictor = load_predictor(folder, int8=way.endswith("int8") or None)
        predict_one, predict = predictor.predict_one, predictor.predict
    found = measure_latency(predict_one, texts[:200], repeats=5)
    predict(texts[:64])
    start = time.perf_counter()
    predict(texts)
    return {"p50_ms": found.p50_ms, "p95_ms": found.p95_ms, "bulk": len(texts) / (time.perf_counter() - start)}


def put_under_load(url: str, texts: list[str], clients: int, requests: int) -> dict:
    """Return what `tests/load_client.py` says of the service at `url`, after a warm-up."""
    for count in (max(64, requests // 10), requests):
        command = [sys.executable, ROOT / "tests/load_client.py", url, "--clients", clients, "--requests", count]
        done = subprocess.run([*map(str, command)], input=json.dumps(texts), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if found["statuses"] != {"200": requests}:
        raise SystemExit(f"not all were answered: {found['statuses']}")
    return found


def measure_once(way: str, folder: Path, texts: list[str], requests: int) -> dict:
    """Return all figures of one way of computing, once."""
    command = [sys.executable, __file__, "--alone", way, "--run", str(folder)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    if way == NAIVE:
        return found
    with serving(folder, *WAYS[way], "--timeout-seconds", "300", threads=None) as (_, url):
        one, many = put_under_load(url, texts, 1, max(64, requests // 20)), put_under_load(url, texts, 64, requests)
    return found | {
        "one_client_ms": one["p50_ms"], "service": many["per_second"], "share": many["per_second"] / found["bulk"],
        "p50_load_ms": many["p50_ms"], "p99_load_ms": many["p99_ms"],
    }  # fmt: skip


def table(results: dict[str, list[dict]]) -> str:
    """Return the medians as a table, a way of computing a line."""
    rows = {}
    for way, found in results.items():
        rows[way] = {name: statistics.median(one[name] for one in found) for name in found[0]}
    names = {
        "p50_ms": "one text, p50 ms", "p95_ms": "p95 ms", "bulk": "at once, texts/s", "one_client_ms": "one client, p50 ms",
        "service": "64 clients, texts/s", "share": "of at once", "p50_load_ms": "p50 ms ", "p99_load_ms": "p99 ms",
    }  # fmt: skip
    shown = pd.DataFrame(rows).T.rename(columns=names)
    share = shown["of at once"].map("{:.0%}".format)
    return shown.round(1).assign(**{"of at once": share}).to_string(na_rep="-")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", help="a trained classifier's folder")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(measure_alone(arguments.alone, Path(arguments.run), json.load(sys.stdin))))
        return
    from helpers.device import find_device

    texts = pd.read_csv(DATA / "moments" / "train.csv")["text"].tolist()[: arguments.texts]
    with tempfile.TemporaryDirectory() as folder:
        folders = prepare(Path(folder), arguments.run)
        results = {way: [] for way in folders}
        for _ in range(arguments.repeats):
            for way, where in folders.items():
                results[way].append(measure_once(way, where, texts, arguments.requests))
                print(way, {name: round(value, 2) for name, value in results[way][-1].items()}, flush=True)
    print(f"{find_device().name}; {arguments.requests:,} requests, median of {arguments.repeats}\n{table(results)}")


if __name__ == "__main__":
    main()
