"""LoRA on a small decoder, time and accuracy: a plain peft loop, `fit`, `fit` on the first layers, `fit` of the last ones.

    python tests/benchmarks/bench_decoders.py FOLDER [--examples 4000] [--first 15] [--last 8] [--epochs 2]
                                              [--last-epochs 2] [--seeds 0 1 2] [--ways speed fit first last]

FOLDER holds train and validation files of dair-ai/emotion. (p) is what a first program does: peft's LoRA beside all linear
layers, texts in random order, each batch padded to its longest, fp32, AdamW; (b) is the same in bf16 where the hardware has
it. Both are timed on some batches, by turns with a few of (f), `fit` with the same LoRA, and of (h), the same on the first
layers alone (`helpers/models/shorten.py`), and judged by speed: what they learn is what (f) learns. (f), (h) and (l), the
last layers alone with what is below computed once per text (`helpers/models/frozen.py`), are trained whole, and scored
after their last epoch on the published validation split.

The limit: the first k of n layers cost k / n of all (the token table is only looked up). Of n layers of which the last k
are trained, E epochs cost (n - k) + 2 k E forward passes of a layer in place of 2 n E (a backward pass beside frozen
weights costs about a forward one).
"""

import argparse
import os
import tempfile
import time

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from helpers import data, evaluation, models, training
from helpers.device import autocast, find_device

MODEL, LENGTH, RATE, BATCH = "SmolLM2-135M-Instruct", 96, 1e-3, 16
WAYS = ["speed", "fit", "first", "last"]
FEW = 8  # rows of a validation that chooses nothing
SIZES = {"examples": 4000, "first": 15, "last": 8, "epochs": 2, "last-epochs": 2, "batches": 10, "repeats": 5}


def make_classifier(corpus: data.LoadedData, device, seed: int, model: str = MODEL, last: int | None = None):
    """Return `model` with LoRA beside all linear layers, of all layers or of the `last`, which reads the mean vector."""
    how = {"method": "lora", "pooling": "mean", "device": device, "seed": seed, "last_layers": last}
    return models.load_classifier(model, corpus.label_names, **how)


def time_plain_loop(classifier, train, device, batches: int) -> float:
    """Return texts per second of the loop that a first program writes; the first two batches warm up."""
    classifier.train().to(device.kind)
    trained = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).numpy()
    for step in range(batches + 2):
        if step == 2:
            began = time.perf_counter()
        batch = models.collate(train, order[step * BATCH : (step + 1) * BATCH], device.kind)
        with autocast(device):
            logits = classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        cross_entropy(logits.float(), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return batches * BATCH / (time.perf_counter() - began)


def train_whole(
    corpus, encoded, device, seed: int, *, epochs: int, model: str = MODEL, last: int | None = None
) -> dict:
    """Return accuracy and macro F1 on validation after the last epoch, and the seconds of all training steps."""
    classifier = make_classifier(corpus, device, seed, model, last)
    few = models.select_rows(encoded["validation"], np.arange(FEW))
    config = training.TrainingConfig(epochs=epochs, batch_size=BATCH, learning_rate=RATE, metric="epoch", seed=seed)
    result = training.fit(classifier, encoded["train"], few, config, device=device)
    found = models.predict_logits(classifier, encoded["validation"], device).argmax(axis=1)
    scores = evaluation.compute_metrics(encoded["validation"].labels, found, corpus.label_names)
    return {"seed": seed, **{name: scores[name] for name in ("accuracy", "f1_macro")}, "seconds": result.train_seconds}


def compare_speed(corpus, encoded, device, short: str, batches: int, repeats: int) -> pd.DataFrame:
    """Return median and maximum of the texts per second of (p), (b), (f) and (h), which take turns."""
    rates: dict[str, list[float]] = {}
    part = models.select_rows(encoded["train"], np.arange((batches + 2) * BATCH))
    few = models.select_rows(encoded["validation"], np.arange(FEW))
    config = training.TrainingConfig(epochs=1, batch_size=BATCH, learning_rate=RATE, metric="epoch")
    for _ in range(repeats):
        for name, where in {"(p) plain peft loop, fp32": find_device("no"), "(b) the same, bf16": device}.items():
            rate = time_plain_loop(make_classifier(corpus, where, 0), part, where, batches)
            rates.setdefault(name, []).append(rate)
        for name, model in {"(f) fit, all layers": MODEL, "(h) fit, the first layers": short}.items():
            result = training.fit(make_classifier(corpus, device, 0, model), part, few, config, device=device)
            rates.setdefault(name, []).append(result.samples_per_second)
    return pd.DataFrame(rates).agg(["median", "max"]).T


def main() -> None:
    """Print the rates, then scores and seconds of whole trainings, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    for name, default in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    arguments = parser.parse_args()
    corpus = data.take_examples(data.load_data(arguments.folder), arguments.examples)
    tokenizer, device = models.load_tokenizer(MODEL), find_device()
    encoded = {name: models.encode_split(corpus.splits[name], tokenizer, LENGTH) for name in ("train", "validation")}
    print(device, f"{torch.get_num_threads()} threads; {len(encoded['train']):,} texts", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        short = str(models.keep_first_layers(MODEL, arguments.first, f"{folder}/short"))
        if "speed" in arguments.ways:
            rates = compare_speed(corpus, encoded, device, short, arguments.batches, arguments.repeats)
            print(rates.round(1).to_string(), flush=True)
        ways = {
            "fit": {"epochs": arguments.epochs},
            "first": {"epochs": arguments.epochs, "model": short},
            "last": {"epochs": arguments.last_epochs, "last": arguments.last},
        }
        for seed in arguments.seeds:
            for name in [way for way in ways if way in arguments.ways]:
                found = train_whole(corpus, encoded, device, seed, **ways[name])
                row = {name: round(value, 4) for name, value in found.items()}
                print(f"{name}, {getattr(arguments, name, 'all')} layers: {row}", flush=True)


if __name__ == "__main__":
    main()
