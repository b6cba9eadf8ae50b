"""The command line: `python -m helpers …`. Errors are one sentence; the exit status is 0 only if all went well."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Transformers for Emotion."
)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Hub models or datasets, e.g. dair-ai/emotion")] = None,
):
    """Bring the laptop profile's models and data into data/cache; or the given Hub repositories, at pinned revisions."""
    from helpers.assets.fetch import fetch_laptop_assets
    from helpers.assets.hub import prefetch_from_hub

    for name in names or []:
        entry = prefetch_from_hub(name)
        print(f"{name}: {entry['bytes'] / 1e6:.1f} MB, revision {entry['revision']}, licence {entry['licence']}")
    if names:
        print("checksums are in data/cache/hub/manifest.json")
    if not names:
        fetched = fetch_laptop_assets()
        print(f"data/cache is complete ({', '.join(fetched) or 'nothing'} was missing)")


@app.command()
def repository(address: Annotated[str, typer.Argument(help="where the course lives on GitHub, as owner/name")]):
    """Move the course to another address: badges, the notebooks' first cells, README and contributing guide."""
    from helpers.course.notebooks import move_repository

    for path in move_repository(address):
        print(f"changed {path.name}")


@app.command()
def parameters(number: Annotated[str, typer.Argument(help="the notebook's number, e.g. 01")]):
    """List what `papermill -p` and `run -p` take for a notebook: name, default, meaning."""
    from helpers.course.notebooks import find_notebooks, list_parameters

    for name, found in list_parameters(find_notebooks(number)[0]).items():
        print(f"{name:<20} {found['default']:<12} {found['meaning']}")


@app.command()
def run(
    number: Annotated[str | None, typer.Argument(help="the notebook's number; all of them by default")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="a parameter, as name=value")] = None,
):
    """Execute notebooks headlessly and end with a table; fails if one failed or left its expected band."""
    from helpers.course.notebooks import find_notebooks, list_parameters, run_headless, summary_lines

    given, notebooks, outcomes = _parse(parameter or []), find_notebooks(number), []
    known = {notebook: set(list_parameters(notebook)) for notebook in notebooks}
    for name in given:
        if not any(name in names for names in known.values()):
            raise ValueError(f"-p {name}: there is no such parameter; `python -m helpers parameters 01` lists them.")
    for notebook in notebooks:
        print(f"\n=== {notebook.name}", flush=True)
        own = {name: value for name, value in given.items() if name in known[notebook]}
        outcomes.append(run_headless(notebook, own))
    lines = summary_lines(outcomes)
    print("\n" + "\n".join(lines))
    if any(outcome.error for outcome in outcomes) or any("OUTSIDE" in line for line in lines):
        raise typer.Exit(1)


@app.command()
def refresh(number: Annotated[str | None, typer.Argument(help="the notebook's number; all of them by default")] = None):
    """Execute notebooks in place and store their outputs, as they are committed."""
    from helpers.course.notebooks import find_notebooks
    from helpers.course.notebooks import refresh as refresh_notebook

    for notebook in find_notebooks(number):
        refresh_notebook(notebook)
        print(f"refreshed {notebook.name}")


@app.command()
def bands(
    number: str,
    seeds: Annotated[int, typer.Option(help="how many seeds, from 0")] = 3,
    metric: Annotated[
        list[str] | None, typer.Option(help="a key of metrics.json; accuracy and f1_macro by default")
    ] = None,
):
    """Measure a notebook's expected band: run it with several seeds and store what they showed."""
    from helpers.course.expected import write_bands
    from helpers.course.notebooks import find_notebooks, run_headless

    outcomes = [run_headless(find_notebooks(number)[0], {"seed": seed}) for seed in range(seeds)]
    for outcome in outcomes:
        if outcome.error or not outcome.record:
            raise ValueError(outcome.error or f"{outcome.notebook} wrote no metrics.json.")
    metrics = tuple(metric or ("accuracy", "f1_macro"))
    print(write_bands([outcome.record for outcome in outcomes], metrics)["bands"])


@app.command()
def figures():
    """Write the gallery from the committed notebooks' pictures."""
    from helpers.course.notebooks import extract_figures

    for path in extract_figures():
        print(path.name)


@app.command()
def train(
    model: Annotated[str, typer.Option(help="a name in data/assets.toml, a Hub id, or a folder")],
    dataset: Annotated[str, typer.Option(help="a name in data/assets.toml, a Hub id, or a local file or folder")],
    text_column: Annotated[str | None, typer.Option(help="the column with the texts")] = None,
    label_column: Annotated[
        str | None, typer.Option(help="the column with the labels; several 0/1 ones: a,b,c")
    ] = None,
    method: Annotated[str, typer.Option(help="full or lora")] = "full",
    pooling: Annotated[str, typer.Option(help="cls, mean or last")] = "mean",
    epochs: int = 3,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="by default 2e-4, for small models; 1e-3 for lora; take 2e-5 for full fine-tuning of BERT-base or larger"
        ),
    ] = None,
    batch_size: int = 32,
    max_length: Annotated[int, typer.Option(help="tokens; longer texts lose their end")] = 128,
    max_train_examples: int | None = None,
    seed: int = 0,
    run_name: Annotated[str | None, typer.Option(help="the run's folder is runs/cli/<run_name>")] = None,
):
    """Train a classifier, score it on the test split, and leave a run folder. Under torchrun, on several GPUs."""
    from helpers.cli.model import train_from_command_line
    from helpers.locks import is_main_process
    from helpers.training.loop import TrainingConfig
    from helpers.training.processes import leave_processes

    rate = learning_rate or {"lora": 1e-3}.get(method, 2e-4)
    config = TrainingConfig(epochs=epochs, learning_rate=rate, batch_size=batch_size, seed=seed)
    for line in train_from_command_line(
        config,
        model=model,
        dataset=dataset,
        text_column=text_column,
        label_column=label_column,
        method=method,
        pooling=pooling,
        max_length=max_length,
        max_train_examples=max_train_examples,
        run_name=run_name,
    ):
        if is_main_process():
            print(line, flush=True)
    leave_processes()


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="a run folder, or the model folder inside it")],
    dataset: Annotated[str | None, typer.Option(help="by default the run's own")] = None,
    text_column: str | None = None,
    label_column: str | None = None,
    split: Annotated[str, typer.Option(help="train, validation, test or all")] = "test",
):
    """Score a saved run on its own data's test split, or on other data."""
    from helpers.cli.model import evaluate_run, score_lines

    found = evaluate_run(run, dataset=dataset, text_column=text_column, label_column=label_column, split=split)
    print("\n".join(score_lines(*found)))


@app.command()
def predict(
    run: Annotated[Path, typer.Option(help="a run folder, or the model folder inside it")],
    text: Annotated[list[str] | None, typer.Argument(help="without any: from standard input, or asked for")] = None,
    file: Annotated[Path | None, typer.Option(help="a .csv or .tsv file of any length, also .gz")] = None,
    text_column: Annotated[str | None, typer.Option(help="the file's column with the texts")] = None,
    output: Annotated[Path | None, typer.Option(help="a .csv file: the file's columns and the predictions")] = None,
):
    """Predict texts: label, confidence and text in one line each, separated by tabs. Or a file, into a file."""
    from helpers.cli.model import answer_lines, predict_file_lines
    from helpers.deploy.predictor import Predictor

    if (file is None) != (output is None) or (file is None and text_column) or (file and text):
        raise ValueError(
            "A file is predicted into a file: predict --run FOLDER --file IN.csv --output OUT.csv, no text."
        )
    predictor = Predictor.load(run)
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
        raise ValueError('No text came: give one as an argument, `predict --run FOLDER "text"`, or pipe some lines in.')


def _ask():
    """Yield what the user types, line by line, until an empty line or the end of input (Ctrl-D)."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while line := input("text (empty to end): ").strip():
            yield line


def _parse(pairs: list[str]) -> dict:
    """Return `name=value` pairs as a dictionary; numbers, true, false and null become what they say, the rest is text."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"-p {wrong[0]}: write it as name=value.")
    return {pair.split("=", 1)[0]: _literal(pair) for pair in pairs}


def _literal(pair: str):
    value = pair.split("=", 1)[1]
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        if value.startswith(("[", "{")):
            raise ValueError(f"-p {pair}: this is no complete list.") from None
        return {"True": True, "False": False, "None": None}.get(value, value)


def main() -> None:
    """Run the command line; what a user can mend is said in one sentence."""
    from helpers.assets.find import PlainError

    try:
        app()
    except (PlainError, ValueError, FileNotFoundError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from None
