"""What does each shortcut of helpers/models/shortcuts.py gain? The same batches by turns, in one process; paired ratios.

    python tests/benchmarks/bench_shortcuts.py [--dataset FOLDER] [--steps 40]

The step is that of notebook 01: forward pass, backward pass, clipping, AdamW. The order of the four classifiers is drawn
anew for every batch, so that whatever else the machine does meets all of them alike.
"""

import argparse
import contextlib
import os
import random
import time

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import torch
from bench_training import MAX_LENGTH, REAL_DATA

from helpers import data, models, training
from helpers.device import autocast, find_device
from helpers.models.shortcuts import first_token_only, occurring_words_only

NAMES = {
    "none": (),
    "first token only": ("first",),
    "occurring words only": ("words",),
    "both": ("first", "words"),
}
MODEL, BATCH, WARM_UP = "all-MiniLM-L6-v2", 64, 4


def main() -> None:
    """Print per set of shortcuts the milliseconds of a step and how many times as fast it is as without."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default=str(REAL_DATA) if REAL_DATA.exists() else "moments")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    device = find_device()
    corpus = data.load_data(arguments.dataset, label_column="emotion" if arguments.dataset == "moments" else None)
    encoded = models.encode_split(corpus.splits["train"], models.load_tokenizer(MODEL), MAX_LENGTH)
    config = training.TrainingConfig(epochs=1, batch_size=BATCH)
    plan = training.plan_steps(encoded.lengths, config)[0][: arguments.steps + WARM_UP]
    words = np.concatenate([*encoded.input_ids, [encoded.pad_id]])
    with contextlib.ExitStack() as stack:
        steps = {}
        for name, chosen in NAMES.items():
            classifier = models.load_classifier(MODEL, corpus.label_names, device=device).train()
            if "words" in chosen:
                stack.enter_context(occurring_words_only(classifier, words))
            if "first" in chosen:
                stack.enter_context(first_token_only(classifier))
            steps[name] = make_step(classifier, training.make_optimizer(classifier, config), encoded, device)
        seconds = {name: [] for name in NAMES}
        for rows in plan:
            for name in random.sample(list(NAMES), len(NAMES)):
                start = time.perf_counter()
                steps[name](rows)
                seconds[name].append(time.perf_counter() - start)
    taken = {name: np.array(values[WARM_UP:]) for name, values in seconds.items()}
    print(f"{device}; {MODEL}, {arguments.steps} batches of {BATCH}, {len(np.unique(words)):,} words occur")
    for name, values in taken.items():
        low, middle, high = np.quantile(taken["none"] / values, [0.25, 0.5, 0.75])
        print(
            f"{name:<22} {1000 * values.min():>6.0f} ms at least, {1000 * np.median(values):>6.0f} in the middle; "
            f"{middle:.2f} x as fast ({low:.2f} to {high:.2f})"
        )


def make_step(classifier, optimizer, encoded, device):
    """Return a function that takes one training step on the given rows."""
    clip_norm = training.TrainingConfig().clip_norm

    def step(rows: np.ndarray) -> None:
        batch = models.collate(encoded, rows)
        with autocast(device):
            logits = classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        torch.nn.functional.cross_entropy(logits.float(), batch["labels"]).backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
