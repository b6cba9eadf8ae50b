"""How good is a small model on real data, seed by seed? One emotion per text or several; the words counted beside it.

    python tests/benchmarks/bench_accuracy.py semeval2018_ec                  # all-MiniLM-L6-v2, all weights, 3 epochs
    python tests/benchmarks/bench_accuracy.py semeval2018_ec --model SmolLM2-135M-Instruct --method lora --pooling last \\
        --rate 1e-3 --batch 16 --epochs 2
    python tests/benchmarks/bench_accuracy.py semeval2018_ec --method lora --rate 1e-3      # the same model with LoRA
    python tests/benchmarks/bench_accuracy.py dair_emotion
    python tests/benchmarks/bench_accuracy.py dair_emotion --soup --epochs 5 --batch 64 --rate 3e-4 --smoothing 0.1

The folder holds files of train and validation: SemEval-2018 E-c (eleven 0/1 columns), dair-ai/emotion (text, label). The
model trains on every row of train for a fixed number of epochs, and validation is scored once. Of several labels, it chooses
the thresholds as well, by cross-fitting: no row had a say in the threshold that it is called by. Three seeds of MiniLM on
SemEval take 8 minutes on two cores with AVX-512 BF16. The last row is the mean of the seeds' probabilities; with `--soup`,
all seeds begin with the same head, and another row is the mean of their weights (`models.average_models`). At rate 2e-3
the decoder learnt nothing with seed 0: every text got the same answer.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import pandas as pd
import torch
from datasets import concatenate_datasets
from sklearn.multiclass import OneVsRestClassifier

from helpers import data, evaluation, models, training
from helpers.data.layouts import find_files
from helpers.device import find_device

LENGTH = 96  # tokens, as in notebook 04
DEFAULTS = {
    "model": "all-MiniLM-L6-v2", "method": "full", "pooling": "mean", "loss": "sqrt_pos_weight", "epochs": 3, "batch": 32,
    "rate": 2e-4, "smoothing": 0.0,
}  # fmt: skip


def read(folder: str) -> tuple:
    """Return the corpus, and its rows of train: what was set aside as a test, where the folder has none, goes back."""
    corpus = data.load_data(folder)
    train, test = corpus.splits["train"], corpus.splits["test"]
    return corpus, train if "test" in find_files(Path(folder))[0] else concatenate_datasets([train, test])


def judge(truth: np.ndarray, p: np.ndarray, corpus: data.LoadedData) -> dict[str, float]:
    """Return what the probabilities score: accuracy and macro F1, or macro F1 by kind of threshold, cross-fitted."""
    if corpus.multilabel:
        return evaluation.compare_kinds(truth, p)["cross-fitted"].to_dict()
    found = evaluation.compute_metrics(truth, p.argmax(axis=1), corpus.label_names)
    return {name: found[name] for name in ("accuracy", "f1_macro")}


def train_once(corpus: data.LoadedData, encoded: dict, arguments, seed: int):
    """Return the classifier after its last epoch, and the seconds of the training's steps."""
    device, several = find_device(), corpus.multilabel
    how = {"method": arguments.method, "pooling": arguments.pooling, "multilabel": several, "device": device}
    classifier = models.load_classifier(arguments.model, corpus.label_names, seed=0 if arguments.soup else seed, **how)
    own = {"epochs": arguments.epochs, "learning_rate": arguments.rate, "batch_size": arguments.batch}
    config = training.TrainingConfig(**own, metric="epoch", seed=seed)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=arguments.smoothing)
    loss = training.make_loss(arguments.loss, encoded["train"].labels) if several else loss
    part = encoded["train"], encoded["validation"]
    result = training.fit(classifier, *part, config, device=device, loss_function=loss)
    return classifier, result.train_seconds


def train_or_load(corpus: data.LoadedData, encoded: dict, tokenizer, arguments, seed: int, folder: Path):
    """Return what `train_once` does; a classifier that an earlier call left in `folder` is read from there."""
    if folder.exists():
        return models.load(folder)[0], float("nan")
    classifier, seconds = train_once(corpus, encoded, arguments, seed)
    if arguments.soup or arguments.keep:
        models.save(classifier, tokenizer, folder)
    return classifier, seconds


def answer(classifier, encoded: dict) -> np.ndarray:
    """Return the probabilities of the validation rows."""
    logits = models.predict_logits(classifier, encoded["validation"], find_device())
    return evaluation.probabilities(logits, multilabel=models.is_multilabel(classifier))


def count_words(corpus: data.LoadedData, train) -> np.ndarray:
    """Return the probabilities of a classifier that counts words."""
    words = models.make_baseline()
    if not corpus.multilabel:
        return words.fit(train["text"], train["label"]).predict_proba(corpus.splits["validation"]["text"])
    words = OneVsRestClassifier(words).fit(train["text"], np.array(train["labels"], int))
    return words.predict_proba(corpus.splits["validation"]["text"])


def main() -> None:
    """Train with every seed; print a row for each as it comes, then all, their mean and their spread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    for name, default in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--soup", action="store_true", help="the same first weights for all seeds, and the mean of their last"
    )
    parser.add_argument("--keep", help="a folder for the trained models: a seed that is there is not trained again")
    arguments = parser.parse_args()
    corpus, train = read(arguments.folder)
    tokenizer = models.load_tokenizer(arguments.model)
    parts = {"train": train, "validation": corpus.splits["validation"]}
    encoded = {name: models.encode_split(part, tokenizer, LENGTH) for name, part in parts.items()}
    truth, rows, found, saved = encoded["validation"].labels, {}, [], []
    print(f"{len(train):,} rows of train, {len(truth):,} of validation; {find_device()}")
    rows["words counted"] = judge(truth, count_words(corpus, train), corpus)
    temporary = tempfile.TemporaryDirectory()
    folder = Path(arguments.keep or temporary.name)
    for seed in arguments.seeds:
        start = time.perf_counter()
        saved.append(folder / str(seed))
        classifier, seconds = train_or_load(corpus, encoded, tokenizer, arguments, seed, saved[-1])
        p = answer(classifier, encoded)
        row = judge(truth, p, corpus) | {"training s": seconds, "all s": time.perf_counter() - start}
        print(f"seed {seed}:", pd.Series(row).round(4).to_dict(), flush=True)
        rows[f"seed {seed}"] = row
        found.append(p)
    seeds = pd.DataFrame(rows).T.iloc[1:]
    rows |= {"mean": seeds.mean(), "sd": seeds.std()}
    rows["the seeds' mean answer"] = judge(truth, np.mean(found, axis=0), corpus)
    if arguments.soup:
        mean = models.average_models(saved, f"{temporary.name}/mean")
        rows["the seeds' mean weights"] = judge(truth, answer(models.load(mean)[0], encoded), corpus)
    print(pd.DataFrame(rows).T.round(4).to_string())


if __name__ == "__main__":
    main()
