"""A small decoder that writes the labels of real data: how good are its answers and its scores, and what do they cost?

    python tests/benchmarks/bench_writing.py semeval FOLDER --seeds 0 1 2
    python tests/benchmarks/bench_writing.py emotion FOLDER --seeds 0 1 2

FOLDER holds train and validation files of SemEval-2018 E-c (eleven 0/1 columns) or of dair-ai/emotion (text, label). A
tenth of train is set aside, and chooses the epoch and the threshold; the published validation split is scored once. One
epoch of single labels leaves nothing to choose: 256 of the rows set aside are read then. Small rehearsal: --rows 64
--scored 32. One training of SemEval's rows is meant to stay below 30 minutes on two cores.
"""

import argparse
import os
import time

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import pandas as pd

from helpers import data, evaluation, generation, models, training
from helpers.device import find_device

MODEL, LENGTH = "SmolLM2-135M-Instruct", 96
FEW = 256  # rows
TASKS = {
    "semeval": {"multilabel": True, "epochs": 1, "learning_rate": 1e-3, "batch_size": 16},
    "emotion": {"multilabel": False, "epochs": 1, "learning_rate": 1e-3, "batch_size": 16},
}


def read_answers(answers: list, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what was written as labels like `labels`, and the share of valid answers; an invalid one says no label, or -1."""
    nothing = np.zeros(labels.shape[1], int) if labels.ndim == 2 else -1
    rows = [nothing if answer.labels is None else answer.labels for answer in answers]
    return np.array(rows), float(np.mean([answer.labels is not None for answer in answers]))


def judge(labels: np.ndarray, called: np.ndarray, names: list[str]) -> dict[str, float]:
    """Return macro F1 and accuracy (of several labels: every one right)."""
    found = evaluation.compute_metrics(labels, called, names)
    return {"f1_macro": found["f1_macro"], "accuracy": found["accuracy"]}


def run(task: str, corpus: data.LoadedData, arguments, seed: int) -> dict:
    """Return what came of one training: scores of the written answers and of the scores with a threshold, and the times."""
    own, device, names = dict(TASKS[task]), find_device(), corpus.label_names
    several = own.pop("multilabel")
    own |= {"epochs": arguments.epochs or own["epochs"], "learning_rate": arguments.rate or own["learning_rate"]}
    tokenizer = generation.read_as_text(models.load_tokenizer(MODEL))
    encoded = {name: models.encode_split(split, tokenizer, LENGTH) for name, split in corpus.splits.items()}
    aside, scored = encoded["test"], encoded["validation"]  # what load_data set aside from train; the published split
    if not several and own["epochs"] == 1:
        aside = models.select_rows(aside, np.arange(min(FEW, len(aside))))  # there is nothing to choose with it
    writer = generation.load_writer(MODEL, names, method="generate", multilabel=several, device=device, seed=seed)
    start = time.perf_counter()
    metric = "f1_macro" if several else "accuracy"
    training.fit(
        writer, encoded["train"], aside, training.TrainingConfig(**own, metric=metric, seed=seed), device=device
    )
    found = {"seed": seed, "training s": time.perf_counter() - start}
    logits = {}
    for name, part in {"aside": aside, "scored": scored}.items():
        start = time.perf_counter()
        logits[name] = models.predict_logits(writer, part, device)
        found["scores, texts/s"] = len(part) / (time.perf_counter() - start)
    p = {name: evaluation.probabilities(found, multilabel=several) for name, found in logits.items()}
    labels = scored.labels.astype(int)
    cuts = evaluation.tune_thresholds("global", aside.labels.astype(int), p["aside"]) if several else 0.5
    called = evaluation.decide(p["scored"], multilabel=several, thresholds=cuts)
    found |= {f"scores, {name}": value for name, value in judge(labels, called, names).items()}
    start, texts = time.perf_counter(), list(corpus.splits["validation"]["text"])
    answers = generation.write_answers(writer, texts, tokenizer, max_length=LENGTH, device=device)
    found["written, texts/s"] = len(texts) / (time.perf_counter() - start)
    written, found["valid"] = read_answers(answers, labels)
    return found | {f"written, {name}": value for name, value in judge(labels, written, names).items()}


def main() -> None:
    """Train with every seed and print what came of it, and the mean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, help="fewer training rows")
    parser.add_argument("--scored", type=int, help="score fewer rows: to rehearse")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float)
    arguments = parser.parse_args()
    corpus = data.load_data(arguments.folder)
    if arguments.rows:
        corpus = data.take_examples(corpus, arguments.rows, 0)
    if arguments.scored:
        for name in ("validation", "test"):
            split = corpus.splits[name]
            corpus.splits[name] = split.select(range(min(arguments.scored, len(split))))
    print(find_device(), corpus.splits.num_rows, flush=True)
    rows = []
    for seed in arguments.seeds:
        rows.append(run(arguments.task, corpus, arguments, seed))
        print(pd.Series(rows[-1]).round(3).to_string(), flush=True)
    table = pd.DataFrame(rows)
    print(pd.DataFrame({"mean": table.mean(), "min": table.min(), "max": table.max()}).round(3).to_string())


if __name__ == "__main__":
    main()
