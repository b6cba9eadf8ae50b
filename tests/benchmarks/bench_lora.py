"""The sweep of notebook 05: LoRA's rate, rank, alpha and targets beside full training, recorded in data/lora.csv.

    python tests/benchmarks/bench_lora.py               # what is not yet in the table
    python tests/benchmarks/bench_lora.py --seconds 240  # the same, but begin no training after so many seconds
    python tests/benchmarks/bench_lora.py --fresh       # the table anew

One small encoder, 400 training rows of data/moments with eleven labels, the same epochs and batches for all, three seeds;
only validation is looked at. The best rates are tried again with four times the epochs: does LoRA catch up? What is stopped
goes on where it was. Ten seconds per training of 3 epochs on two cores.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import pandas as pd

from helpers import data, evaluation, models, training
from helpers.device import find_device
from helpers.files import DATA, write_table
from helpers.models.adapters import add_lora

TABLE = DATA / "lora.csv"
MODEL, ROWS, BATCH, SEEDS = "all-MiniLM-L6-v2", 400, 8, range(3)
FULL = {"method": "full", "rank": 0, "alpha": 0, "targets": "", "learning_rate": 2e-4, "epochs": 3}
LORA = {"method": "lora", "rank": 16, "alpha": 32, "targets": "all", "learning_rate": 1e-3, "epochs": 3}
SETTINGS = [
    *(FULL | {"learning_rate": rate} for rate in (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)),
    *(LORA | {"learning_rate": rate} for rate in (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    *(LORA | {"rank": rank, "alpha": 2 * rank} for rank in (1, 4, 64)),
    *(LORA | {"alpha": alpha} for alpha in (8, 128)),
    LORA | {"targets": "query value"},
    *(FULL | {"learning_rate": rate, "epochs": 12} for rate in (1e-4, 3e-4)),
    *(LORA | {"learning_rate": rate, "epochs": 12} for rate in (3e-4, 1e-3)),
]
ASKED = [*FULL, "seed"]


def read_table(path: Path = TABLE) -> pd.DataFrame:
    """Return what has been recorded, a row per training; a setting that full training does not have is 0 or empty."""
    return pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame(columns=ASKED)


def list_trainings(table: pd.DataFrame) -> list[dict]:
    """Return the trainings that `table` lacks, those of the first seed before those of the second."""
    done = {tuple(row) for row in table[ASKED].astype(str).to_numpy()}
    wanted = [setting | {"seed": seed} for seed in SEEDS for setting in SETTINGS]
    return [one for one in wanted if tuple(str(one[name]) for name in ASKED) not in done]


def train_one(corpus: data.LoadedData, one: dict) -> dict:
    """Return `one` with its scores on validation after the last epoch, its trained parameters, and its seconds."""
    device, tokenizer, seed = find_device(), models.load_tokenizer(MODEL), one["seed"]
    encoded = {name: models.encode_split(corpus.splits[name], tokenizer, 96) for name in ("train", "validation")}
    rows = np.random.default_rng(seed).permutation(len(encoded["train"]))[:ROWS]
    part, few = models.select_rows(encoded["train"], rows), models.select_rows(encoded["validation"], range(8))
    how = {"multilabel": True, "pooling": "mean", "device": device, "seed": seed}
    classifier = models.load_classifier(MODEL, corpus.label_names, **how)
    if one["method"] == "lora":
        targets = None if one["targets"] == "all" else one["targets"].split()
        classifier = add_lora(classifier, rank=one["rank"], alpha=one["alpha"], targets=targets, seed=seed)
    settings = {"epochs": one["epochs"], "batch_size": BATCH, "learning_rate": one["learning_rate"], "seed": seed}
    config = training.TrainingConfig(**settings, metric="epoch")
    loss = training.make_loss("sqrt_pos_weight", np.asarray(part.labels))
    result = training.fit(classifier, part, few, config, device=device, loss_function=loss)
    truth = np.asarray(encoded["validation"].labels).astype(int)
    found = evaluation.probabilities(models.predict_logits(classifier, encoded["validation"], device), multilabel=True)
    scores = evaluation.compute_multilabel_metrics(truth, found >= 0.5, found, corpus.label_names)
    kept = {name: round(scores[name], 4) for name in ("f1_macro", "average_precision")}
    return one | kept | {"trained": result.parameters.trainable, "train_seconds": round(result.train_seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no training after so many seconds")
    parser.add_argument("--fresh", action="store_true", help="begin the table anew")
    arguments = parser.parse_args()
    if arguments.fresh:
        TABLE.unlink(missing_ok=True)
    start, corpus = time.monotonic(), data.load_data("moments", label_column=",".join(data.ELEVEN_EMOTIONS), seed=0)
    while (todo := list_trainings(read_table())) and time.monotonic() - start < arguments.seconds:
        row = train_one(corpus, todo[0])
        print(row, f"· {len(todo) - 1} to come", flush=True)
        write_table(TABLE, pd.concat([read_table(), pd.DataFrame([row])]).astype({"trained": int}))
    print("complete" if not todo else f"{len(todo)} to come")


if __name__ == "__main__":
    main()
