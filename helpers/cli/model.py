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
from helpers.cli.scoring import evaluate_run, score_lines

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
