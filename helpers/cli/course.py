"""Commands for the course itself: fetch, parameters, run, refresh, bands, measure, progress, figures, repository."""

import json
from pathlib import Path
from typing import Annotated

import typer

from helpers.exceptions import SettingError

Number = Annotated[str | None, typer.Argument(help="the notebook's number; all of them by default")]


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="models by their names in the zoo, or Hub ids: gemma, dair-ai/emotion")
    ] = None,
):
    """Bring the laptop profile's models and data into data/cache; or the given models and datasets, as they are pinned."""
    from helpers.assets.fetch import fetch_laptop_assets, prefetch_from_hub
    from helpers.assets.find import find_artefact, resolve_model

    if not names:
        fetched = fetch_laptop_assets()
        print(f"data/cache is complete ({', '.join(fetched) or 'nothing'} was missing)")
    for name in names or []:
        if artefact := find_artefact(name):
            fetch_laptop_assets(only=artefact)
            print(f"{resolve_model(name)}: in data/cache/{artefact}")
            continue
        entry = prefetch_from_hub(name)
        found = f"{entry['bytes'] / 1e6:.1f} MB, revision {entry['revision']}, licence {entry['licence']}"
        print(f"{resolve_model(name)}: {found}")
    if not all(find_artefact(name) for name in names or []):
        print("checksums are in data/cache/hub/manifest.json")


def repository(address: Annotated[str, typer.Argument(help="where the course lives on GitHub, as owner/name")]):
    """Move the course to another address: badges, the notebooks' first cells, README and contributing guide."""
    from helpers.course.notebooks import move_repository

    for path in move_repository(address):
        print(f"changed {path.name}")


def parameters(number: Annotated[str, typer.Argument(help="the notebook's number, e.g. 01")]):
    """List what `papermill -p` and `run -p` take for a notebook: name, meaning and default."""
    from helpers.assets.defaults import list_parameters
    from helpers.course.notebooks import find_notebooks

    for name, found in list_parameters(find_notebooks(number)[0].stem).items():
        print(f"{name:<24} {found['meaning']} [{found['default']}]")


def run(
    number: Number = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="a parameter, as name=value")] = None,
):
    """Execute notebooks headlessly and end with a table; fails if one failed or left its expected band (status 1; 2 if
    all that failed is for you to mend). Paths are those of the folder you are in."""
    from helpers.assets.defaults import read_notebook
    from helpers.course.notebooks import find_notebooks, run_headless, summary_lines
    from helpers.course.parameters import check_parameters, settle_paths
    from helpers.course.timing import Progress, add_up, foretell, list_changes, say_estimate
    from helpers.runs import find_runs

    given, notebooks, outcomes = _parse(parameter or []), find_notebooks(number), []
    known = {notebook: read_notebook(notebook.stem)["parameters"] for notebook in notebooks}
    for name in given:
        if not any(name in names for names in known.values()):
            raise SettingError(f"-p {name}: there is no such parameter; `python -m helpers parameters 01` lists them.")
    check_parameters(given)
    given = settle_paths(given)  # a notebook works in a folder of its own
    foretold = foretell([notebook.stem for notebook in notebooks], given)
    if foretold:
        print(say_estimate(foretold, given, find_runs()), flush=True)
    with Progress(foretold) as progress:
        for notebook in notebooks:
            progress.begin(notebook.stem)
            print(f"\n=== {notebook.name}", file=progress.output, flush=True)
            own = {name: value for name, value in given.items() if name in known[notebook]}
            outcomes.append(run_headless(notebook, own, follower=progress if foretold else None))
    print("\n" + "\n".join(summary_lines(outcomes, add_up(foretold) if not list_changes(given) else None)))
    wrong = [outcome for outcome in outcomes if outcome.verdict in ("FAILED", "OUTSIDE")]
    if wrong:
        raise typer.Exit(2 if all(outcome.can_be_mended for outcome in wrong) else 1)


def refresh(number: Number = None):
    """Execute notebooks in place and store their outputs, as they are committed."""
    from helpers.course.notebooks import find_notebooks
    from helpers.course.notebooks import refresh as refresh_notebook

    for notebook in find_notebooks(number):
        refresh_notebook(notebook)
        print(f"refreshed {notebook.name}")


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
            raise SettingError(outcome.error or f"{outcome.notebook} wrote no metrics.json.")
    metrics = tuple(metric or ("accuracy", "f1_macro"))
    print(write_bands([outcome.record for outcome in outcomes], metrics)["bands"])


def measure(number: Number = None):
    """Measure what each cell of the notebooks costs on this machine, from which `run` foretells its time on another.
    Let nothing else compute meanwhile."""
    import tempfile

    from helpers.course.notebooks import find_notebooks, run_headless
    from helpers.course.probe import ask_probe
    from helpers.course.timing import Meter, store_work

    for notebook in find_notebooks(number):
        probe, meter = ask_probe(), Meter()
        with tempfile.TemporaryDirectory() as runs:  # nothing there that a run could go on with
            outcome = run_headless(notebook, {}, Path(runs), meter)
        if outcome.error:
            raise SettingError(outcome.error)
        store_work(notebook.stem, probe, meter.cells)
        print(f"{notebook.stem}: {outcome.seconds:.0f} s")


def progress(
    folder: Annotated[Path | None, typer.Argument(help="where your notebooks are; notebooks by default")] = None,
):
    """Say which exercises pass in the notebooks as you saved them, and what to do next. Nothing is executed or sent."""
    from helpers.course.notebooks import NOTEBOOKS
    from helpers.course.progress import read_progress, say_progress

    print("\n".join(say_progress(read_progress(folder or NOTEBOOKS))))


def figures():
    """Write the gallery from the committed notebooks' pictures."""
    from helpers.course.notebooks import extract_figures

    for path in extract_figures():
        print(path.name)


def _parse(pairs: list[str]) -> dict:
    """Return `name=value` pairs as a dictionary; numbers, true, false and null become what they say, the rest is text."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise SettingError(f"-p {wrong[0]}: write it as name=value.")
    return {pair.split("=", 1)[0]: _literal(pair) for pair in pairs}


def _literal(pair: str):
    value = pair.split("=", 1)[1]
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        if value.startswith(("[", "{")):
            raise SettingError(f"-p {pair}: this is no complete list.") from None
        return {"True": True, "False": False, "None": None}.get(value, value)
