"""POST /predict, from the request to the answer: who asks, how large and how slow it may be, what it says."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

import pydantic_core
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from helpers.deploy.service.batching import Batcher
from helpers.deploy.service.messages import SEND, RequestError, read_texts, write_answer
from helpers.deploy.service.settings import Settings

DRAINED = 8 * 2**20  # bytes of a body too large that are read, so that its sender looks for the answer


def make_predict(batcher: Batcher, settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that answers POST /predict. It raises `RequestError` for what cannot be answered."""

    async def predict(request: Request) -> Response:
        """Return label, confidence and scores of a text, or of several."""
        require_key(request, settings)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            sentence = f"The request says nothing of JSON: send the header Content-Type: application/json, and {SEND}."
            raise RequestError(415, sentence)
        texts, single = read_texts(await read_body(request, settings), settings)
        return Response(write_answer(await batcher.answer(texts), single), media_type="application/json")

    return predict


def require_key(request: Request, settings: Settings) -> None:
    """Raise `RequestError` where the service asks for a key and the request brings none, or another."""
    if settings.api_key is None:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = request.headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
    if not hmac.compare_digest(given.encode("latin-1"), settings.api_key.encode()):  # as long for any wrong key
        raise RequestError(
            401, "The key is missing or wrong: send it in the header X-API-Key.", {"www-authenticate": "Bearer"}
        )


async def read_body(request: Request, settings: Settings) -> bytes:
    """Return the body of a request. Raises `RequestError` if it is too large, or comes too slowly."""
    sentence = f"The body is larger than {settings.body_bytes:,} bytes: send fewer texts at a time."
    too_large = RequestError(413, sentence, {"connection": "close"})
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > DRAINED:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(settings.client_seconds):
            async for part in request.stream():
                size += len(part)
                if size <= settings.body_bytes:
                    parts.append(part)
                elif size > DRAINED:
                    break
    except TimeoutError:
        sentence = f"The body did not come within {settings.client_seconds:g} s: send fewer texts at a time."
        raise RequestError(408, sentence, {"connection": "close"}) from None
    except ClientDisconnect:
        raise RequestError(400, "The body ended too early: send it again.", {"connection": "close"}) from None
    if size > settings.body_bytes:
        raise too_large
    return b"".join(parts)


def write_refusal(refusal: RequestError) -> Response:
    """Return a refusal as it is sent: its sentence as JSON, under its status."""
    body = pydantic_core.to_json({"error": refusal.sentence})
    return Response(body, refusal.status, refusal.headers, media_type="application/json")


class Shortcut:
    """Before the framework's layers, which cost as much as all else of a request: POST /predict goes past them."""

    def __init__(self, app, predict: Callable[[Request], Awaitable[Response]]):
        self.app, self.predict = app, predict

    async def __call__(self, scope, receive, send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        try:
            response = await self.predict(Request(scope, receive))
        except RequestError as refusal:
            response = write_refusal(refusal)
        await response(scope, receive, send)
