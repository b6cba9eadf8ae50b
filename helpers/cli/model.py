"""Commands for a model on one's own texts: train, evaluate, predict."""

import contextlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helpers.assets.defaults import list_parameters

if TYPE_CHECKING:  # imported where they are used, so that `--help` waits for none of them
    from helpers.data import LoadedData
    from helpers.deploy import Predictor
    from helpers.evaluation import Scores

TYPES = {"count": int, "whole": int, "seed": int, "rate": float, "share": float, "size": float, "switch": bool}
Run = Annotated[
    str, typer.Option("--model", "--run", help="a trained classifier: a run's folder, one of another origin, a Hub id")
]


def make_signature(notebook: str) -> inspect.Signature:
    """Return the options that typer shall offer for the parameters of `notebook`; model and dataset must be given."""
    options = []
    for name, found in list_parameters(notebook).items():
        text = found["meaning"] if found["default"] == "None" else f"{found['meaning']}; by default {found['default']}"
        kind = Annotated[TYPES.get(found["kind"], str) | None, typer.Option(help=text)]
        default = inspect.Parameter.empty if name in ("model", "dataset") else None
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    return inspect.Signature(options)


def train(**given):
    """Train a classifier, score it on the test split, and leave a run folder. Under torchrun, on several GPUs."""
    from helpers.runs import is_main_process
    from helpers.training.processes import leave_processes

    for line in train_lines(given):
        if is_main_process():
            print(line, flush=True)
    leave_processes()


train.__signature__ = make_signature("cli")


def train_lines(given: dict) -> Iterator[str]:
    """Train as the options `given` say; yield what is to be printed. Nothing is written before all input was checked."""
    from helpers.course.parameters import fill_in
    from helpers.data import describe, load_data, relabel, take_examples
    from helpers.device import find_device
    from helpers.models import find_defaults, load_tokenizer, plan_labels
    from helpers.models.batches import require_length
    from helpers.runs import open_run_folder
    from helpers.training import Recipe, TrainingConfig, train_run
    from helpers.training.processes import main_process_first

    chosen = fill_in("cli", given, find_defaults)
    recipe = Recipe.of(chosen, TrainingConfig.of(chosen))
    device = find_device(chosen.precision)
    columns = {"text_column": chosen.text_column, "label_column": chosen.label_column}
    names = (Path(name).stem for name in (chosen.dataset, chosen.model))
    slug = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names)
    with main_process_first(device):
        corpus = load_data(chosen.dataset, seed=chosen.seed, **columns)
        corpus = take_examples(corpus, chosen.max_train_examples, chosen.seed)
        tokenizer = load_tokenizer(chosen.model, revision=recipe.revision)  # one that cannot be had is found out now
        require_length(tokenizer, recipe.max_length)
        where = {"pooling": recipe.pooling, "revision": recipe.revision}
        plan = plan_labels(chosen.model, corpus.label_names, multilabel=corpus.multilabel, **where)
        folder = open_run_folder("cli", chosen.run_name or f"{slug}-seed{chosen.seed}")
    yield describe(corpus)
    yield from corpus.notes
    if plan.kind != "new":
        yield plan.sentence
    corpus = relabel(corpus, plan.names)
    sizes = ", ".join(f"{name} {rows:,}" for name, rows in corpus.splits.num_rows.items())
    yield f"{sizes} · {', '.join(corpus.label_names)}"
    kept = {name: getattr(chosen, name) for name in ("save_model", "resume", "tracker", "tracker_project")}
    run = train_run(corpus, recipe, folder, dataset=chosen.dataset, notebook="cli", device=device, **kept, **columns)
    yield f"trained in {run.result.train_seconds:.0f} s, best epoch {run.result.best_epoch} of {chosen.epochs}"
    yield from score_lines(run.scores)
    yield f"run folder: {folder}"


def evaluate(
    model: Run,
    dataset: Annotated[str | None, typer.Option(help="by default the run's own")] = None,
    text_column: str | None = None,
    label_column: str | None = None,
    split: Annotated[str, typer.Option(help="train, validation, test or all")] = "test",
):
    """Score a trained classifier on its run's own data's test split, or on other data: of a file, on all its rows."""
    columns = {"text_column": text_column, "label_column": label_column}
    scores, notes = evaluate_run(model, dataset=dataset, split=split, **columns)
    print("\n".join([*notes, *score_lines(scores)]))


def evaluate_run(model: str | Path, *, dataset: str | None = None, split: str = "test", **columns):
    """Return the scores and notes of a trained classifier on `split` of its run's own dataset, or of another one.

    `split` may be "all"; `columns` may name text_column and label_column. Of other data all that is there is scored and
    nothing set aside, see `load_scored`. They may have fewer labels than the model, but none that the model does not
    know; labels that are called LABEL_0, LABEL_1, … are taken for the data's.
    Raises `AssetError` for what holds no trained classifier, `DataError` for data that do not fit.
    """
    from datasets import concatenate_datasets

    from helpers.assets.find import find_dataset
    from helpers.data import SPLITS, load_data, load_scored
    from helpers.deploy import Predictor
    from helpers.evaluation import score
    from helpers.files import read_json
    from helpers.models.batches import describe_cut

    if split not in (*SPLITS, "all"):
        raise ValueError(f"split={split!r} is unknown: use one of {', '.join(SPLITS)}, all.")
    predictor = Predictor.load(model)
    own = Path(model) / "config.json"
    config = read_json(own) if own.exists() else {}
    if dataset is None and "dataset_location" not in config:
        raise FileNotFoundError(f"{model} does not say on which data it was trained: name some with --dataset.")
    if dataset is None or find_dataset(dataset).location == config.get("dataset_location"):
        columns = {name: columns.get(name) or config.get(name) for name in ("text_column", "label_column")}
        seed = config.get("training", {}).get("seed", 0)  # the same rows are set aside as in training
        corpus = load_data(config["dataset_location"], seed=seed, **columns)
        rows = (
            concatenate_datasets([corpus.splits[name] for name in SPLITS]) if split == "all" else corpus.splits[split]
        )
    else:
        corpus = load_scored(dataset, predictor.label_names, split=split, **columns)
        rows = corpus.splits["test"]
    labels, names = _in_the_models_order(rows, corpus, predictor)
    notes = list(corpus.notes)
    if names != predictor.label_names:
        notes.append(f"The model calls its labels {', '.join(predictor.label_names)}: taken for {', '.join(names)}.")
    probability, cut = predictor.predict_with_cut(rows["text"])
    if note := describe_cut(cut, predictor.max_length):
        notes.append(note)
    return score(labels, probability, names, thresholds=predictor.thresholds), notes


def _in_the_models_order(rows, corpus: "LoadedData", predictor: "Predictor"):
    """Return the labels of `rows` as the model numbers them, and what the data call the model's labels."""
    import numpy as np

    from helpers.data import DataError
    from helpers.models import match_labels

    if corpus.multilabel != predictor.multilabel:
        kinds = ("one label per text", "several labels per text")
        raise DataError(f"The model gives {kinds[predictor.multilabel]}, the data have {kinds[corpus.multilabel]}.")
    places = match_labels(corpus.label_names, predictor.label_names)
    if None in places:
        unknown = corpus.label_names[places.index(None)]
        raise DataError(f"The model knows no label {unknown!r}: it has {', '.join(predictor.label_names)}.")
    names = list(predictor.label_names)
    for place, name in zip(places, corpus.label_names, strict=True):
        names[place] = name
    if not corpus.multilabel:
        return np.array(places)[np.asarray(rows["label"])], names
    labels = np.zeros((len(rows), len(names)), dtype=np.int64)
    labels[:, places] = np.asarray(rows["labels"])
    return labels, names


def score_lines(scores: "Scores") -> list[str]:
    """Return headline scores with intervals, and a table by label, as lines of text."""
    from helpers.evaluation import per_class_table

    lines = []
    for name in ("accuracy", "f1_macro"):
        low, high = scores.intervals[name]
        lines.append(f"{name:<10} {scores.metrics[name]:.3f}   (95 % interval {low:.3f} to {high:.3f})")
    return lines + per_class_table(scores.metrics).to_string(float_format="{:.3f}".format).splitlines()


def predict(
    model: Run,
    text: Annotated[list[str] | None, typer.Argument(help="without any: from standard input, or asked for")] = None,
    file: Annotated[
        Path | None, typer.Option(help="a file of any length: .csv, .tsv, .jsonl, .parquet, .xlsx, .txt")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="the file's column with the texts")] = None,
    output: Annotated[Path | None, typer.Option(help="a .csv file: the file's columns and the predictions")] = None,
):
    """Predict texts: label, confidence and text in one line each, separated by tabs. Or a file, into a file."""
    from helpers.deploy import Predictor

    if (file is None) != (output is None) or (file is None and text_column) or (file and text):
        raise ValueError(
            "A file is predicted into a file: predict --model FOLDER --file IN.csv --output OUT.csv, no text."
        )
    predictor = Predictor.load(model)
    if file:
        print("\n".join(predict_file_lines(predictor, file, output, text_column)))
        return
    lines = text or (_ask() if sys.stdin.isatty() else sys.stdin)
    answered = 0
    for line, warning in answer_lines(predictor, lines):
        print(line, flush=True)
        answered += bool(line)
        if warning:
            typer.echo(warning, err=True)
    if not answered and not sys.stdin.isatty():
        raise ValueError(
            'No text came: give one as an argument, `predict --model FOLDER "text"`, or pipe some lines in.'
        )


def predict_file_lines(predictor: "Predictor", source: Path, target: Path, text_column: str | None) -> list[str]:
    """Predict the rows of `source` into `target`; return what there is to say of it, as lines of text."""
    from helpers.deploy.bulk import predict_file

    report = predict_file(predictor, source, target, text_column=text_column)
    lines = list(report.notes)
    if report.blank_rows:
        lines.append(f"Note: {report.blank_rows:,} blank rows were left out.")
    if report.truncated:
        lines.append(f"Warning: of {report.truncated:,} texts only the first {predictor.max_length} tokens were read.")
    speed = f"{report.seconds:.0f} s, {report.rows / report.seconds:,.0f} per second"
    return [*lines, f"{report.rows:,} texts predicted ({speed}): {target}"]


def answer_lines(predictor: "Predictor", texts: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield per text `label, confidence, text`, separated by tabs, and a warning if its end was cut off.
    An empty text yields an empty line, so that lines in and lines out correspond."""
    for text in texts:
        text = " ".join(text.split())
        if not text:
            yield "", None
            continue
        found = predictor.predict_one(text)
        warning = f"Warning: only the first {predictor.max_length} tokens of this text were read."
        yield f"{found.label}\t{found.confidence:.3f}\t{text}", warning if found.truncated else None


def _ask() -> Iterator[str]:
    """Yield what the user types, line by line, until an empty line or the end of input (Ctrl-D)."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while line := input("text (empty to end): ").strip():
            yield line
