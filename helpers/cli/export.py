"""Commands for a saved model at work: export it to a file that needs no PyTorch, or to a page; show it to somebody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from helpers.cli.model import Run
from helpers.exceptions import DataError, SettingError, shorten

MOST_TEXTS = 1000  # of a run's test texts, for the comparison: more would only take longer


def export(
    model: Run,
    to: Annotated[
        str, typer.Option(help="onnx: a file for onnxruntime; browser: a page that needs no server")
    ] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="a second file, of a quarter of the size")] = False,
    output: Annotated[
        Path | None, typer.Option(help="the folder to write; by default export or page, inside the run's folder")
    ] = None,
):
    """Export a trained classifier: to ONNX, which runs without PyTorch, or to a page that runs it in the browser."""
    for line in export_lines(model, to, int8, output):
        print(line, flush=True)


def export_lines(model: str, to: str, int8: bool, output: Path | None) -> Iterator[str]:
    """Export as the options say; yield what there is to say of it."""
    if to not in ("onnx", "browser"):
        raise SettingError(f"--to {shorten(to, 40)} is unknown: use onnx or browser.")
    if output is None and not Path(model).is_dir():
        raise SettingError(f"{shorten(model, 120)} is no folder of this machine: name the folder to write by --output.")
    from helpers.deploy.browser import fetch_javascript, write_page
    from helpers.deploy.export import PROBES, export_onnx
    from helpers.deploy.onnx_predictor import WHOLE

    if to == "browser":
        fetch_javascript()  # what is missing is found out before minutes of work
    place = output or Path(model) / ("export" if to == "onnx" else "page")
    kept = (
        place if to == "onnx" else Path(model) / "export" if output is None else place.with_name(f"{place.name}-onnx")
    )
    texts, true = read_test_texts(model)
    found = export_onnx(model, kept, int8=int8, texts=texts or PROBES)
    yield (
        f"{_size(kept / WHOLE)}: {found.changed} of {found.texts} texts get another label, "
        f"the largest difference of a probability is {found.largest:.0e}"
    )
    if int8:
        yield from int8_lines(kept, texts, true)
    if to == "browser":
        page = write_page(kept, place, int8=int8)
        yield f"{page}: show it by `python -m http.server --bind 127.0.0.1 --directory {page}`"


def int8_lines(folder: Path, texts: list[str], true: list[str]) -> Iterator[str]:
    """Yield what the int8 file in `folder` costs: how many labels change, and accuracy with a paired test."""
    import numpy as np

    from helpers.deploy.onnx_predictor import SMALL, OnnxPredictor
    from helpers.evaluation import mcnemar_test

    small = folder / SMALL
    if not texts:
        yield f"{_size(small)}: compare its answers on texts of yours before you use it"
        return
    answers = [[one.label for one in OnnxPredictor.load(folder, int8=int8).predict(texts)] for int8 in (False, True)]
    changed = sum(a != b for a, b in zip(*answers, strict=True))
    numbers = {name: i for i, name in enumerate(dict.fromkeys([*true, *answers[0], *answers[1]]))}
    labels, first, second = (np.array([numbers[name] for name in names]) for names in (true, *answers))
    test = mcnemar_test(labels, first, second)
    yield (
        f"{_size(small)}: {changed} of {len(texts)} texts get another label; accuracy {(second == labels).mean():.3f} "
        f"instead of {(first == labels).mean():.3f} (paired test: p = {test.p_value:.2g})"
    )


def read_test_texts(model: str) -> tuple[list[str], list[str]]:
    """Return the run's test texts and their true labels, as `predictions.csv` holds them; none for a model without, and for
    one that was packed, whose texts were left out. Raises `DataError` for a file that cannot be read."""
    import pandas as pd

    file = Path(model) / "predictions.csv"
    if not file.is_file():
        return [], []
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype=str).head(MOST_TEXTS)
    except ValueError as error:  # empty, no CSV, or no UTF-8
        raise DataError(
            f"{shorten(file, 120)} is no readable table: copy it again, or delete it, and the export is tried on other texts."
        ) from error
    if not {"text", "true"} <= set(table):
        return [], []
    return table["text"].tolist(), table["true"].replace("", "none").tolist()


def _size(file: Path) -> str:
    return f"{file} ({file.stat().st_size / 1e6:.1f} MB)"


def demo(
    model: Run,
    port: Annotated[int | None, typer.Option(help="by default the first free one from 7860 on")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="of an exported folder, the small file")] = False,
):
    """Show a trained classifier on a page of this machine: a text, a file, which words mattered. Needs gradio."""
    from helpers.deploy.demo import launch_demo, require_gradio

    require_gradio()  # before seconds of loading
    from helpers.deploy import load_predictor

    launch_demo(load_predictor(model, int8=int8 or None), Path(model).name, port=port)
