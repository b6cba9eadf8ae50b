"""The command that puts a trained classifier behind an address."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helpers import choose_spinning
from helpers.cli.model import Run

if TYPE_CHECKING:  # imported where they are used, so that `--help` waits for none of them
    from helpers.deploy.service import Settings


def serve(
    model: Run,
    host: Annotated[str, typer.Option(help="127.0.0.1: this machine alone; 0.0.0.0: whoever reaches it")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8000,
    int8: Annotated[bool, typer.Option("--int8", help="the small file of an exported model")] = False,
    timeout_seconds: Annotated[float, typer.Option(help="after which a client is told that no answer came")] = 10.0,
    queue_texts: Annotated[int, typer.Option(help="that may wait; clients beyond are told to come again")] = 1024,
    characters: Annotated[int, typer.Option(help="that a text may have")] = 20_000,
    origin: Annotated[list[str] | None, typer.Option(help="a page that may ask from a browser (CORS)")] = None,
    log_requests: Annotated[bool, typer.Option("--log-requests", help="a line for each, without its text")] = False,
):
    """Serve a trained classifier, or one that `export` wrote, over HTTP: POST /predict, a page at /, and /health, /labels,
    /metrics. With COURSE_API_KEY set, clients must send that key."""
    choose_spinning(busy=True)  # the thread that answers needs a core now and then: before PyTorch is imported
    from helpers.deploy.onnx_predictor import OnnxPredictor, load_predictor
    from helpers.deploy.service import Settings, run_service
    from helpers.deploy.service.settings import read_api_key

    settings = Settings(
        host, port, timeout_seconds=timeout_seconds, queue_texts=queue_texts, characters=characters,
        api_key=read_api_key(), origins=tuple(origin or ()), log_requests=log_requests,
    )  # fmt: skip
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("course.service").setLevel(logging.INFO)
    name = Path(model).resolve().name if Path(model).exists() else model
    load = partial(OnnxPredictor.load, model, int8=True) if int8 else partial(load_predictor, model)
    run_service(load, settings, name=name, say=partial(say, settings))


def say(settings: "Settings", line: str) -> None:
    """Print that the service listens, and on standard error a note if it stands open to others."""
    print(line, flush=True)
    if settings.api_key is None and settings.host not in ("127.0.0.1", "::1", "localhost"):
        note = f"Note: whoever reaches {settings.host} may use the service: set COURSE_API_KEY to ask for a key."
        typer.echo(note, err=True)
