"""One training run, from a loaded dataset to a finished run folder: what notebook 02 and the command line share.

Every step of it is taught in notebook 01.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import concatenate_datasets

from helpers.adapters import add_lora, merge_lora
from helpers.assets import find_dataset, find_model
from helpers.batching import encode_split
from helpers.data import SPLITS, DataError, LoadedData, load_data
from helpers.device import Device, peak_memory_bytes, reset_peak_memory
from helpers.evaluation import bootstrap_intervals, compute_metrics, decide, predict_logits, probabilities
from helpers.inference import Predictor
from helpers.models import (
    POOLINGS,
    TextClassifier,
    count_parameters,
    load_classifier,
    load_tokenizer,
    save_classifier,
)
from helpers.runs import metrics_record, predictions_table, write_json, write_table
from helpers.training import TrainingConfig, TrainingResult, fit

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

    `extra` goes into `config.json`: what `evaluate_run` needs to find the same rows again (text_column, label_column).
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
    probability = probabilities(predict_logits(classifier, encoded["test"], device), multilabel=corpus.multilabel)
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
        train_seconds=result.train_seconds,
        samples_per_second=result.samples_per_second,
        peak_memory_bytes=peak,
        parameters_total=counts.total,
        parameters_trainable=counts.trainable,
        pooling=recipe.pooling,
        epochs=recipe.training.epochs,
        learning_rate=recipe.training.learning_rate,
        batch_size=recipe.training.batch_size,
        max_length=recipe.max_length,
        best_epoch=result.best_epoch,
        truncated=encoded["test"].truncated,
    )
    run = FinishedRun(recipe, classifier, tokenizer, encoded, result, probability, predictions, record)
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


def evaluate_run(
    folder: str | Path,
    *,
    dataset: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    split: str = "test",
) -> tuple[dict, dict, list[str]]:
    """Return metrics, intervals and notes of a saved run on `split` of its own dataset, or of another one.

    `split` may be "all". Another dataset may have fewer labels than the model, but none that the model does not know.
    Raises `FileNotFoundError` for a folder without a model, `DataError` for data that do not fit.
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split={split!r} is unknown: use one of {', '.join(SPLITS)}, all.")
    folder = Path(folder)
    predictor = Predictor.load(folder)
    own = folder / "config.json"
    config = json.loads(own.read_text(encoding="utf-8")) if own.exists() else {}
    if dataset is None:
        if "dataset_location" not in config:
            raise FileNotFoundError(f"{folder} does not say on which data it was trained: name some with --dataset.")
        dataset = config["dataset_location"]
        text_column, label_column = text_column or config.get("text_column"), label_column or config.get("label_column")
    corpus = load_data(
        dataset, text_column=text_column, label_column=label_column, seed=config.get("training", {}).get("seed", 0)
    )
    rows = concatenate_datasets([corpus.splits[name] for name in SPLITS]) if split == "all" else corpus.splits[split]
    labels = _in_the_models_order(rows, corpus, predictor)
    probability = predictor.predict_probabilities(rows["text"])
    predictions = decide(probability, multilabel=corpus.multilabel, thresholds=predictor.thresholds)
    metrics = compute_metrics(labels, predictions, predictor.label_names)
    return metrics, bootstrap_intervals(labels, predictions), corpus.notes


def _in_the_models_order(rows, corpus: LoadedData, predictor: Predictor) -> np.ndarray:
    """Return the labels of `rows` as the model numbers them."""
    if corpus.multilabel != predictor.classifier.multilabel:
        kinds = ("one label per text", "several labels per text")
        raise DataError(
            f"The model gives {kinds[predictor.classifier.multilabel]}, the data have {kinds[corpus.multilabel]}."
        )
    unknown = [name for name in corpus.label_names if name not in predictor.label_names]
    if unknown:
        raise DataError(f"The model knows no label {unknown[0]!r}: it has {', '.join(predictor.label_names)}.")
    place = np.array([predictor.label_names.index(name) for name in corpus.label_names])
    if not corpus.multilabel:
        return place[np.asarray(rows["label"])]
    labels = np.zeros((len(rows), len(predictor.label_names)), dtype=np.int64)
    labels[:, place] = np.asarray(rows["labels"])
    return labels
