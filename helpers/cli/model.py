"""Commands for a model on one's own texts: train, evaluate, predict."""

import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helpers.assets.defaults import list_parameters
from helpers.cli.lines import answer_lines, ask, read_lines
from helpers.cli.scoring import evaluate_run, score_lines
from helpers.exceptions import SettingError

if TYPE_CHECKING:  # imported where they are used, so that `--help` waits for none of them
    from helpers.deploy import Predictor

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
    from helpers.course.parameters import fill_in, list_settings
    from helpers.data import describe, load_data, relabel, take_examples
    from helpers.device import find_device
    from helpers.generation import plan_labels
    from helpers.models import find_defaults, load_tokenizer, require_layers
    from helpers.models.batches import fit_length
    from helpers.runs import number_name, open_run_folder, shorten_name
    from helpers.training import Recipe, TrainingConfig, train_run
    from helpers.training.processes import main_process_first

    chosen = fill_in("cli", given, find_defaults)
    recipe = Recipe.of(chosen, TrainingConfig.of(chosen))
    device = find_device(chosen.precision)
    columns = {"text_column": chosen.text_column, "label_column": chosen.label_column}
    settings, number = list_settings(chosen), None
    with main_process_first(device):
        tokenizer = load_tokenizer(chosen.model, revision=recipe.revision)  # one that cannot be had is found out now
        corpus = load_data(chosen.dataset, seed=chosen.seed, **columns)
        corpus = take_examples(corpus, chosen.max_train_examples, chosen.seed)
        recipe = replace(recipe, max_length=fit_length(recipe.max_length, tokenizer.model_max_length))
        where = {name: getattr(recipe, name) for name in ("method", "pooling", "revision")}
        require_layers(chosen.model, recipe.last_layers, revision=recipe.revision)
        plan = plan_labels(chosen.model, corpus.label_names, multilabel=corpus.multilabel, **where)
        if not chosen.run_name:
            name = f"{shorten_name(chosen.dataset)}-{shorten_name(chosen.model)}-seed{chosen.seed}"
            chosen.run_name, number = number_name("cli", name, settings)
        folder = open_run_folder("cli", chosen.run_name, settings | {"run_name": chosen.run_name})
    yield from [describe(corpus), *corpus.notes, *filter(None, [number])]
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
        raise SettingError(
            "A file is predicted into a file: predict --model FOLDER --file IN.csv --output OUT.csv, no text."
        )
    predictor = Predictor.load(model)
    if file:
        print("\n".join(predict_file_lines(predictor, file, output, text_column)))
        return
    lines = text or (ask() if sys.stdin.isatty() else read_lines(sys.stdin))
    answered = 0
    for line, warning in answer_lines(predictor, lines):
        print(line, flush=True)
        answered += bool(line)
        if warning:
            typer.echo(warning, err=True)
    if not answered and not sys.stdin.isatty():
        raise SettingError(
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
