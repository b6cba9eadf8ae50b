"""One training run, from a loaded dataset to a finished run folder: what notebook 02 and the command line share.

Every step of it is taught in notebook 01.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.assets.find import find_dataset, find_model
from helpers.data.load import LoadedData
from helpers.data.tables import SPLITS
from helpers.device import Device, peak_memory_bytes, reset_peak_memory
from helpers.evaluation.metrics import bootstrap_intervals, compute_metrics, decide, probabilities
from helpers.locks import is_main_process
from helpers.models.adapters import add_lora, merge_lora
from helpers.models.batches import encode_split
from helpers.models.classifier import (
    POOLINGS,
    TextClassifier,
    count_parameters,
    load_classifier,
    load_tokenizer,
    save_classifier,
)
from helpers.runs import metrics_record, predictions_table, write_json, write_table
from helpers.training.loop import TrainingConfig, TrainingResult, fit
from helpers.training.processes import count_processes, predict_logits_together

METHODS = ("full", "lora")


@dataclass(frozen=True)
class Recipe:
    """What to train, and how; the same recipe on the same data is the same experiment."""

    model: str  # a name in data/assets.toml, a Hub id, or a folder
    training: TrainingConfig
    method: str = "full"  # or "lora": thin matrices beside the linear layers, merged into them afterwards
    pooling: str = "mean"
    max_length: int = 128

    def __post_init__(self):
        """Refuse what cannot work, before any work is done."""
        for name, allowed in (("method", METHODS), ("pooling", POOLINGS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown: use one of {', '.join(allowed)}.")
        if not isinstance(self.max_length, int) or self.max_length < 4:
            raise ValueError(f"max_length={self.max_length!r}: it must be a whole number of at least 4 tokens.")


@dataclass(frozen=True)
class FinishedRun:
    """A trained model and what it said of the test split."""

    recipe: Recipe
    classifier: TextClassifier
    tokenizer: object
    encoded: dict  # the three splits, tokenised
    result: TrainingResult
    probabilities: np.ndarray  # (test rows, labels)
    predictions: np.ndarray  # (test rows,), or (test rows, labels) where several may be true
    record: dict  # the content of metrics.json


def train_run(
    corpus: LoadedData,
    recipe: Recipe,
    run_folder: Path,
    *,
    dataset: str,
    notebook: str,
    device: Device,
    save_model: bool = True,
    resume: bool = True,
    tracker: str | None = None,
    **extra,
) -> FinishedRun:
    """Train by `recipe`, keep the epoch that validation prefers, score it once on test; fill `run_folder`; return it all.

    Of several processes (torchrun) the main one alone writes. `extra` goes into `config.json`: what `evaluate_run` needs
    to find the same rows again (text_column, label_column).
    """
    tokenizer = load_tokenizer(recipe.model)
    encoded = {name: encode_split(corpus.splits[name], tokenizer, recipe.max_length) for name in SPLITS}
    classifier = load_classifier(
        recipe.model,
        corpus.label_names,
        multilabel=corpus.multilabel,
        pooling=recipe.pooling,
        attention=device.attention,
        seed=recipe.training.seed,
    )
    if recipe.method == "lora":
        classifier = add_lora(classifier, seed=recipe.training.seed)
    counts = count_parameters(classifier)
    reset_peak_memory(device)
    result = fit(
        classifier,
        encoded["train"],
        encoded["validation"],
        recipe.training,
        device=device,
        run_folder=run_folder,
        resume=resume,
        tracker=tracker,
    )
    peak = peak_memory_bytes(device)
    if recipe.method == "lora":
        classifier = merge_lora(classifier).eval()
    logits = predict_logits_together(classifier, encoded["test"], device)
    probability = probabilities(logits, multilabel=corpus.multilabel)
    predictions = decide(probability, multilabel=corpus.multilabel)
    truth = encoded["test"].labels
    record = metrics_record(
        notebook=notebook,
        model=recipe.model,
        revision=find_model(recipe.model).revision,
        method={"full": "full fine-tuning", "lora": "LoRA, merged"}[recipe.method],
        dataset=dataset,
        sizes={name: len(split) for name, split in corpus.splits.items()},
        metrics=compute_metrics(truth, predictions, corpus.label_names),
        intervals=bootstrap_intervals(truth, predictions, ("accuracy", "f1_macro", "f1_weighted")),
        seed=recipe.training.seed,
        device=device,
        config=recipe.training,
        result=result,
        counts=counts,
        peak_memory_bytes=peak,
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        truncated=encoded["test"].truncated,
        processes=count_processes(),
    )
    run = FinishedRun(recipe, classifier, tokenizer, encoded, result, probability, predictions, record)
    if is_main_process():
        _write_run(run, corpus, run_folder, dataset, save_model, extra)
    return run


def _write_run(run: FinishedRun, corpus: LoadedData, folder: Path, dataset: str, save_model: bool, extra: dict) -> None:
    """Fill the run folder; `metrics.json` comes last, so that a run with one is complete."""
    if save_model:
        save_classifier(run.classifier, run.tokenizer, folder / "model", max_length=run.recipe.max_length)
    location = find_dataset(dataset).location
    config = dataclasses.asdict(run.recipe) | {"dataset": dataset, "dataset_location": location} | extra
    write_json(folder / "config.json", config)
    write_table(folder / "history.csv", run.result.history)
    rows = (corpus.splits["test"]["text"], run.encoded["test"].labels, run.probabilities, run.predictions)
    write_table(folder / "predictions.csv", predictions_table(*rows, corpus.label_names))
    write_json(folder / "metrics.json", run.record)
