"""The work behind `python -m helpers train`, `evaluate` and `predict`: lines to print, and errors in one sentence."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from datasets import concatenate_datasets

from helpers.data.load import LoadedData, load_data, take_examples
from helpers.data.tables import SPLITS, DataError
from helpers.deploy.bulk import predict_file
from helpers.deploy.predictor import Predictor
from helpers.device import find_device
from helpers.evaluation.metrics import bootstrap_intervals, compute_metrics, decide, per_class_table
from helpers.models.classifier import load_tokenizer
from helpers.runs import open_run_folder, read_json
from helpers.training.experiment import Recipe, train_run
from helpers.training.loop import TrainingConfig, TrainingError
from helpers.training.processes import main_process_first


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
    config = read_json(own) if own.exists() else {}
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


def train_from_command_line(
    config: TrainingConfig,
    *,
    model: str,
    dataset: str,
    text_column: str | None,
    label_column: str | None,
    method: str,
    pooling: str,
    max_length: int,
    max_train_examples: int | None,
    run_name: str | None,
) -> Iterator[str]:
    """Train as `python -m helpers train` asks for; yield what it prints. Nothing is written before all input was checked."""
    recipe = Recipe(model, config, method, pooling=pooling, max_length=max_length)
    device, columns = find_device(), {"text_column": text_column, "label_column": label_column}
    slug = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-") for name in (dataset, model))
    with main_process_first(device):
        corpus = take_examples(load_data(dataset, seed=config.seed, **columns), max_train_examples, config.seed)
        load_tokenizer(model)  # a model that cannot be had is found out now
        folder = open_run_folder("cli", run_name or f"{slug}-seed{config.seed}")
    yield from corpus.notes
    names = ", ".join(corpus.label_names)
    yield f"{', '.join(f'{name} {len(split):,}' for name, split in corpus.splits.items())} · {names}"
    try:
        run = train_run(corpus, recipe, folder, dataset=dataset, notebook="cli", device=device, **columns)
    except TrainingError as error:
        raise ValueError(str(error)) from error  # said in one sentence
    yield f"trained in {run.result.train_seconds:.0f} s, best epoch {run.result.best_epoch} of {config.epochs}"
    yield from score_lines(run.record, run.record["intervals"], [])
    yield f"run folder: {folder}"


def score_lines(metrics: dict, intervals: dict, notes: list[str]) -> list[str]:
    """Return notes, headline scores with intervals, and a table by label, as lines of text."""
    lines = [*notes]
    for name in ("accuracy", "f1_macro"):
        low, high = intervals[name]
        lines.append(f"{name:<10} {metrics[name]:.3f}   (95 % interval {low:.3f} to {high:.3f})")
    table = per_class_table(metrics)
    return lines + table.to_string(float_format="{:.3f}".format).splitlines()


def predict_file_lines(predictor: Predictor, source: Path, target: Path, text_column: str | None) -> list[str]:
    """Predict the rows of `source` into `target`; return what there is to say of it, as lines of text."""
    report = predict_file(predictor, source, target, text_column=text_column)
    lines = []
    if report.blank_rows:
        lines.append(f"Note: {report.blank_rows:,} blank rows were left out.")
    if report.truncated:
        lines.append(f"Warning: of {report.truncated:,} texts only the first {predictor.max_length} tokens were read.")
    speed = f"{report.seconds:.0f} s, {report.rows / report.seconds:,.0f} per second"
    return [*lines, f"{report.rows:,} texts predicted ({speed}): {target}"]


def answer_lines(predictor: Predictor, texts: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield per text `label, confidence, text`, separated by tabs, and a warning if its end was cut off.

    An empty text yields an empty line, so that lines in and lines out correspond.
    """
    for text in texts:
        text = " ".join(text.split())
        if not text:
            yield "", None
            continue
        found = predictor.predict_one(text)
        cut = (
            f"Warning: only the first {predictor.max_length} tokens of this text were read."
            if found.truncated
            else None
        )
        yield f"{found.label}\t{found.confidence:.3f}\t{text}", cut
