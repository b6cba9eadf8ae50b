"""The contest of notebook 02: an encoder and a decoder, all training rows of data/moments, recorded in data/contest.csv.

    python tests/benchmarks/bench_contest.py          # whatever is not yet in the table, one training after the other
    python tests/benchmarks/bench_contest.py --one    # only the next training: call it again until it says "complete"
    python tests/benchmarks/bench_contest.py --fresh  # the table anew

Each system tries the same number of settings, with seed 0, and what scores best on *validation* is trained with the other
seeds. Only the setting that was chosen answers the test split; its answers are kept, one digit per row, so that any
paired test can be computed from the table. What is stopped goes on where it was. On two cores with AVX-512 BF16 a training
of the encoder takes half a minute, of the decoder four: 35 minutes in all.
"""

import argparse
import os
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"

import pandas as pd

from helpers import data, evaluation, models, training
from helpers.device import find_device
from helpers.files import DATA, write_table
from helpers.models.adapters import merge_lora

TABLE = DATA / "contest.csv"
EPOCHS, BATCH, SEEDS = 3, 16, range(5)
SYSTEMS = {  # what it is, how it is trained, and the rates that it tries, each twice the one before
    "decoder": ("SmolLM2-135M-Instruct", "lora", (5e-4, 1e-3, 2e-3)),
    "encoder": ("all-MiniLM-L6-v2", "full", (1e-4, 2e-4, 4e-4)),
}


def read_table(path: Path = TABLE) -> pd.DataFrame:
    """Return what has been recorded: a row per training. The test answers are digits, so they are read as text."""
    return pd.read_csv(path, dtype={"predictions": str}) if path.exists() else pd.DataFrame()


def list_trainings(table: pd.DataFrame) -> list[tuple[str, float, int]]:
    """Return the trainings that `table` lacks: system, rate, seed. The further seeds follow once the rates are tried."""
    done = set(zip(table["system"], table["learning_rate"], table["seed"], strict=True)) if len(table) else set()
    wanted = []
    for system, (_, _, rates) in SYSTEMS.items():
        tried = [(system, rate, SEEDS[0]) for rate in rates]
        wanted += tried
        if done >= set(tried):
            wanted += [(system, choose_rate(table, system), seed) for seed in SEEDS[1:]]
    return [training for training in wanted if training not in done]


def choose_rate(table: pd.DataFrame, system: str) -> float:
    """Return the rate with the best macro F1 on validation, of those that `system` tried with the first seed."""
    tried = table[(table["system"] == system) & (table["seed"] == SEEDS[0])]
    return float(tried.loc[tried["validation_f1_macro"].idxmax(), "learning_rate"])


def train_one(corpus, system: str, rate: float, seed: int) -> dict:
    """Return the row of one training, with its answers to the test split."""
    model, method, _ = SYSTEMS[system]
    device, tokenizer = find_device(), models.load_tokenizer(model)
    encoded = {name: models.encode_split(split, tokenizer, 128) for name, split in corpus.splits.items()}
    how = {"method": method, "pooling": "mean", "device": device, "seed": seed}
    classifier = models.load_classifier(model, corpus.label_names, **how)
    config = training.TrainingConfig(epochs=EPOCHS, learning_rate=rate, batch_size=BATCH, seed=seed)
    result = training.fit(classifier, encoded["train"], encoded["validation"], config, device=device)
    best = result.history.iloc[result.best_epoch - 1]
    if method == "lora":  # as it is saved and used, and as `training.train_run` scores it
        classifier = merge_lora(classifier).eval()
    called = models.predict_logits(classifier, encoded["test"], device).argmax(axis=1)
    return {
        "system": system, "model": model, "method": method, "epochs": EPOCHS, "batch_size": BATCH, "learning_rate": rate,
        "seed": seed, "best_epoch": result.best_epoch, "validation_accuracy": round(best["accuracy"], 4),
        "validation_f1_macro": round(best["f1_macro"], 4),
        "f1_by_epoch": " ".join(f"{f1:.4f}" for f1 in result.history["f1_macro"]),
        "train_seconds": round(result.train_seconds, 1), "peak_memory_mb": round(result.peak_memory_bytes / 1e6),
        "predictions": "".join(map(str, called)),
    }  # fmt: skip


def record(table: pd.DataFrame, row: dict) -> pd.DataFrame:
    """Return `table` with `row`, and write it; test answers of settings that were not chosen are left out."""
    table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
    for system, (_, _, rates) in SYSTEMS.items():
        mine = table["system"] == system
        if set(table.loc[mine, "learning_rate"]) >= set(rates):
            table.loc[mine & (table["learning_rate"] != choose_rate(table, system)), "predictions"] = None
    table = table.sort_values(["system", "learning_rate", "seed"], ascending=[False, True, True], ignore_index=True)
    write_table(TABLE, table)
    return table


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", action="store_true", help="only the next training")
    parser.add_argument("--fresh", action="store_true", help="forget what has been recorded")
    arguments = parser.parse_args()
    table = pd.DataFrame() if arguments.fresh else read_table()
    corpus = data.load_data("moments", label_column="emotion")
    while left := list_trainings(table):
        row = train_one(corpus, *left[0])
        table = record(table, row)
        said = {name: row[name] for name in ("system", "learning_rate", "seed", "validation_f1_macro", "train_seconds")}
        print(said, flush=True)
        if arguments.one:
            return
    chosen = table.dropna(subset="predictions").groupby("system")["predictions"]
    runs = {name: [[int(digit) for digit in run] for run in texts] for name, texts in chosen}
    names = ("encoder", "decoder")
    compared = evaluation.compare_models(corpus.splits["test"]["label"], *(runs[name] for name in names), names)
    print("complete:", evaluation.verdict(compared))


if __name__ == "__main__":
    main()
