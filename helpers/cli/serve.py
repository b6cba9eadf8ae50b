"""The command that puts a trained classifier behind an address."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from helpers.cli.model import Run


def serve(
    model: Run,
    host: Annotated[str, typer.Option(help="127.0.0.1: this machine alone; 0.0.0.0: whoever reaches it")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8000,
    timeout_seconds: Annotated[float, typer.Option(help="after which a client is told that no answer came")] = 10.0,
    queue_texts: Annotated[int, typer.Option(help="that may wait; clients beyond are told to come again")] = 1024,
    characters: Annotated[int, typer.Option(help="that a text may have")] = 20_000,
    origin: Annotated[list[str] | None, typer.Option(help="a page that may ask from a browser (CORS)")] = None,
    log_requests: Annotated[bool, typer.Option("--log-requests", help="a line for each, without its text")] = False,
):
    """Serve a trained classifier over HTTP: POST /predict, a page at /, and /health, /labels, /metrics.
    With COURSE_API_KEY set, clients must send that key."""
    from helpers.deploy.predictor import Predictor
    from helpers.deploy.service import Settings, run_service
    from helpers.deploy.service.settings import KEY_VARIABLE, read_api_key

    settings = Settings(
        host, port, timeout_seconds=timeout_seconds, queue_texts=queue_texts, characters=characters,
        api_key=read_api_key(), origins=tuple(origin or ()), log_requests=log_requests,
    )  # fmt: skip
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("course.service").setLevel(logging.INFO)
    if settings.api_key is None and host not in ("127.0.0.1", "::1", "localhost"):
        typer.echo(f"Note: whoever reaches {host} may use the service: set {KEY_VARIABLE} to ask for a key.", err=True)
    name = Path(model).resolve().name if Path(model).exists() else model
    run_service(lambda: Predictor.load(model), settings, name=name, say=lambda line: print(line, flush=True))
