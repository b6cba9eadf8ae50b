"""The service's addresses: what each answers, and what a client is told when it cannot be answered."""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from helpers.deploy.service.batching import Batcher
from helpers.deploy.service.messages import (
    Answer,
    Answers,
    Error,
    Health,
    Labels,
    ManyTexts,
    OneText,
    RequestError,
    describe_fault,
)
from helpers.deploy.service.metrics import Metrics
from helpers.deploy.service.page import PAGE, PAGE_HEADERS
from helpers.deploy.service.predicting import Shortcut, make_predict, require_key, write_refusal
from helpers.deploy.service.settings import Settings
from helpers.exceptions import shorten

log = logging.getLogger("course.service")
PATHS = ("/predict", "/health", "/labels", "/metrics", "/", "/openapi.json")
REFUSALS = {
    400: "no JSON, or neither a text nor texts", 401: "the key is missing or wrong", 408: "the body came too slowly",
    413: "the body is too large", 415: "not application/json", 422: "texts that cannot be predicted",
    500: "a fault of the service", 503: "too many texts are waiting: see Retry-After", 504: "no answer in time",
}  # fmt: skip
QUESTION = {  # read by `read_texts`, which says in a sentence what is wrong; here for those who read the description
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [m.model_json_schema() for m in (OneText, ManyTexts)]}}},
    }
}


def make_app(predictor, settings: Settings | None = None, *, name: str = "model") -> FastAPI:
    """Return the service of `predictor` as an ASGI application, which uvicorn or any other server runs.

    `predictor` has `predict(texts)`, `label_names`, `multilabel` and `max_length`, as `Predictor` and `OnnxPredictor` do.
    Its thread ends when the application is shut down.
    """
    settings, metrics = settings or Settings(), Metrics()
    batcher = Batcher(predictor.predict, settings, metrics)
    metrics.waiting.set_function(lambda: batcher.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI):
        yield
        batcher.close()

    app = FastAPI(
        title="A text classifier", version="1", description=f"{name}: texts in, labels and scores out.",
        docs_url=None, redoc_url=None,  # both load scripts from elsewhere
        redirect_slashes=False, lifespan=lifespan,
    )  # fmt: skip
    app.state.batcher = batcher
    add_predict(app, make_predict(batcher, settings))
    add_reports(app, predictor, batcher, metrics, settings, name)
    app.add_exception_handler(RequestError, _answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http_error)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["content-type", "x-api-key", "authorization"],
        )
    app.add_middleware(Count, metrics=metrics, log_requests=settings.log_requests)
    return app


def add_predict(app: FastAPI, predict: Callable[[Request], Awaitable[Response]]) -> None:
    """Add the address that predicts. It reads the request itself: FastAPI would hold a body of any size in memory."""
    described = {status: {"model": Error, "description": words} for status, words in REFUSALS.items()}
    responses = {200: {"model": Answer | Answers}} | described
    app.post("/predict", summary="Predict", responses=responses, openapi_extra=QUESTION)(predict)
    app.add_middleware(Shortcut, predict=predict)


def add_reports(app: FastAPI, predictor, batcher: Batcher, metrics: Metrics, settings: Settings, name: str) -> None:
    """Add the addresses that say how the service is, and what it knows."""
    began = time.monotonic()
    refused = {401: {"model": Error, "description": REFUSALS[401]}}

    @app.get("/health", responses={503: {"model": Health, "description": "the model does not come back"}})
    async def health(response: Response) -> Health:
        """Return that the service answers; whoever restarts services asks here, and needs no key."""
        response.status_code = 503 if batcher.stuck else 200
        status, uptime = "stuck" if batcher.stuck else "ok", round(time.monotonic() - began, 1)
        return Health(status=status, model=name, waiting=batcher.waiting, uptime_seconds=uptime)

    @app.get("/labels", responses=refused)
    async def labels(request: Request) -> Labels:
        """Return the labels in the model's order, whether several may be true, and how many tokens it reads."""
        require_key(request, settings)
        return Labels(labels=predictor.label_names, multilabel=predictor.multilabel, max_length=predictor.max_length)

    @app.get("/metrics", responses=refused, response_class=Response)
    async def counters(request: Request) -> Response:
        """Return all counters in Prometheus' text format."""
        require_key(request, settings)
        return Response(metrics.write(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(PAGE, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


async def _answer_refusal(request: Request, refusal: RequestError) -> Response:
    return write_refusal(refusal)


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    path, headers = shorten(repr(request.url.path), 60), dict(error.headers or {})
    if error.status_code == 405:
        sentence = f"{path} does not take {shorten(request.method, 20)}: use {headers.get('Allow', 'GET')}."
    else:
        sentence = f"There is nothing at {path}: POST /predict predicts, GET / shows how."
    return write_refusal(RequestError(error.status_code, sentence, headers))


class Count:
    """Around the whole application: count every request, and answer for faults. Nothing of a text is ever logged."""

    def __init__(self, app, metrics: Metrics, log_requests: bool):
        self.app, self.metrics, self.log_requests = app, metrics, log_requests

    async def __call__(self, scope, receive, send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.perf_counter(), 0

        async def note_status(message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        except Exception as error:
            log.error("A request failed: %s", describe_fault(error))
            if status:
                raise
            sentence = "The service failed on this request: this is our fault, and it was logged."
            await write_refusal(RequestError(500, sentence))(scope, receive, note_status)
        seconds, path = time.perf_counter() - began, scope["path"]
        path = path if path in PATHS else "other"
        self.metrics.count_request(path, status, seconds)
        if self.log_requests:
            log.info("%s %s %d %.1f ms", scope["method"], path, status, 1000 * seconds)
