"""Cheap systems on the five folds of data/moments, with ever more training texts: the learning curves of notebook 07.

    python tests/benchmarks/bench_curves.py RUNS

Words counted, letters counted, and a logistic regression on the vectors of a frozen encoder, which are computed once. Leaves
a run folder for each system, fold, seed and number of texts below RUNS; about three minutes on two cores.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from helpers.assets.find import find_data_version
from helpers.data import load_data, take_examples
from helpers.device import find_device, peak_memory_bytes, reset_peak_memory
from helpers.evaluation import score, tune_thresholds
from helpers.models import backbone_of, collate, encode_texts, load_classifier, load_tokenizer, make_baseline, pool
from helpers.runs import complete_run, metrics_record
from helpers.training import take_fold

DATASET, ENCODER, FOLDS, SIZES, SEEDS = "moments", "all-MiniLM-L6-v2", 5, (100, 200, 400, 800, None), (0, 1)
EMOTIONS = "anger,anticipation,disgust,fear,joy,love,optimism,pessimism,sadness,surprise,trust"


@dataclass(frozen=True)
class System:
    """A way to predict labels: how it is called, what makes its classifier, and what the classifier reads of the texts."""

    name: str
    model: str
    method: str
    make: Callable
    read: Callable = list
    seconds_per_text: float = 0.0  # what reading a text costs, where it was done once for all runs


def make_vectors(texts: list[str], device) -> dict[str, np.ndarray]:
    """Return the encoder's mean vector of each text, by the text."""
    tokenizer = load_tokenizer(ENCODER)
    encoded = encode_texts(texts, tokenizer, 96)
    backbone = backbone_of(load_classifier(ENCODER, ["any", "other"], device=device)).eval()
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = collate(encoded, range(start, min(start + 64, len(texts))))
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            vectors.append(pool(backbone(**inputs).last_hidden_state, inputs["attention_mask"], "mean"))
    return dict(zip(texts, torch.cat(vectors).float().numpy(), strict=True))


def count_letters():
    """Return TF-IDF over runs of two to five letters within words, then logistic regression."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True)
    return make_pipeline(letters, LogisticRegression(C=5, class_weight="balanced", max_iter=1000))


def run(folder: Path, system: System, corpus, fold: int, seed: int, most: int | None, device) -> None:
    """Train a system on one fold, tune its threshold on the rows set aside, score it, and leave a run folder."""
    parts = take_examples(corpus, most, seed).splits
    truth = {part: np.array(parts[part]["labels"], int) for part in parts}
    reset_peak_memory(device)
    start, net = time.perf_counter(), OneVsRestClassifier(system.make())
    net.fit(system.read(parts["train"]["text"]), truth["train"])
    heads = [one[-1] if hasattr(one, "steps") else one for one in net.estimators_]
    weights = sum(head.coef_.size + head.intercept_.size for head in heads)
    seconds = time.perf_counter() - start + system.seconds_per_text * len(truth["train"])
    chance = {part: net.predict_proba(system.read(parts[part]["text"])) for part in ("validation", "test")}
    cuts = tune_thresholds("global", truth["validation"], chance["validation"])
    scores = score(truth["test"], chance["test"], corpus.label_names, thresholds=cuts, seed=seed)
    record = metrics_record(
        notebook="experiment", model=system.model, method=system.method, dataset=DATASET, sizes=parts.num_rows,
        metrics=scores.metrics, intervals=scores.intervals, seed=seed, device=device, system=system.name, fold=fold,
        folds=FOLDS, data=find_data_version(DATASET), max_train_examples=most, thresholds=cuts.tolist(),
        train_seconds=seconds, peak_memory_bytes=peak_memory_bytes(device), parameters_trainable=weights,
    )  # fmt: skip
    complete_run(folder, record, parts["test"]["text"], scores)


def run_all(runs: Path, system: System, whole, device) -> None:
    """Run a system on every fold, with every number of texts, with the seeds that the stored grid has."""
    for fold in range(1, FOLDS + 1):
        corpus = take_fold(whole, fold, FOLDS)
        for most in SIZES:
            for seed in SEEDS if most == 400 else SEEDS[:1]:
                folder = runs / f"{system.name.replace(' ', '-')}-{most or 'all'}-fold{fold}-seed{seed}"
                if not (folder / "metrics.json").exists():
                    run(folder, system, corpus, fold, seed, most, device)
    print(f"{system.name}: done", flush=True)


def main(runs: str) -> None:
    """Run every system; those that only count come first, before there is an encoder in memory."""
    device, whole = find_device(), load_data(DATASET, label_column=EMOTIONS, seed=0)
    run_all(Path(runs), System("TF-IDF", "tfidf-logistic-regression", "words counted", make_baseline), whole, device)
    run_all(Path(runs), System("letters", "tfidf-logistic-regression", "letters counted", count_letters), whole, device)
    texts, start = (
        sorted({text for part in ("train", "validation") for text in whole.splits[part]["text"]}),
        time.perf_counter(),
    )
    vectors = make_vectors(texts, device)
    per_text = (time.perf_counter() - start) / len(texts)
    own = {"read": lambda rows: np.stack([vectors[text] for text in rows]), "seconds_per_text": per_text}
    make = partial(LogisticRegression, C=5, class_weight="balanced", max_iter=1000)
    run_all(Path(runs), System("MiniLM vectors", ENCODER, "frozen, logistic regression", make, **own), whole, device)


if __name__ == "__main__":
    main(*sys.argv[1:])
