"""What clients send and get: requests are read and checked here, answers and refusals written, both as JSON."""

import json
import re
import traceback

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field

from helpers.deploy.answers import Prediction
from helpers.deploy.service.settings import Settings
from helpers.exceptions import shorten

SEND = 'send {"text": "…"} or {"texts": ["…", "…"]}'


class RequestError(Exception):
    """An answer that is none: an HTTP status, and one sentence that says what is wrong and what to do."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}


class OneText(BaseModel):
    """A question about one text."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"text": "I could dance all night."}})
    text: str = Field(min_length=1, description="of which the model reads the first max_length tokens")


class ManyTexts(BaseModel):
    """A question about several texts."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"texts": ["What a day!", "Leave me alone."]}}
    )
    texts: list[str] = Field(min_length=1)


class Answer(BaseModel):
    """What the model says of one text."""

    label: str = Field(description='several labels are joined by commas; "none" if there is none')
    labels: list[str]
    confidence: float = Field(ge=0, le=1, description="of the label; of the least sure one where several may be true")
    scores: dict[str, float] = Field(description="of all labels, the likeliest first")
    truncated: bool = Field(description="the text was longer than the model reads; its end was lost")


class Answers(BaseModel):
    """What the model says of several texts, in their order."""

    predictions: list[Answer]


class Labels(BaseModel):
    """What the model can say."""

    labels: list[str]
    multilabel: bool
    max_length: int


class Health(BaseModel):
    """That the service answers."""

    status: str
    model: str
    waiting: int
    uptime_seconds: float


class Error(BaseModel):
    """What is wrong, and what to do about it, in one sentence."""

    error: str


def read_texts(body: bytes, settings: Settings) -> tuple[list[str], bool]:
    """Return the texts of a request's body, and whether it was a single one. Raises `RequestError` for anything else."""
    try:
        asked = pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        place = re.search(r"line \d+ column \d+", str(error))
        raise RequestError(400, f"The body is not JSON ({place[0] if place else 'empty'}): {SEND}.") from None
    if not isinstance(asked, dict) or not asked.keys() & {"text", "texts"}:
        raise RequestError(400, f"The body holds neither a text nor texts: {SEND}.")
    if unknown := asked.keys() - {"text", "texts"}:
        raise RequestError(422, f"The key {shorten(min(unknown), 40)!r} is unknown: {SEND}.")
    if len(asked) == 2:
        raise RequestError(422, f"The body holds both a text and texts: {SEND}.")
    single = "text" in asked
    texts = [asked["text"]] if single else asked["texts"]
    if not isinstance(texts, list) or not texts:
        raise RequestError(422, 'The value of "texts" is no list, or an empty one: give a list of texts.')
    if len(texts) > settings.request_texts:
        raise RequestError(422, f"These are {len(texts):,} texts: send at most {settings.request_texts:,} at a time.")
    for number, text in enumerate(texts, 1):
        _check_text(text, "The text" if single else f"Text {number} of {len(texts)}", settings)
    return texts, single


def _check_text(text, name: str, settings: Settings) -> None:
    if not isinstance(text, str):
        raise RequestError(422, f"{name} is no text: put it into quotation marks.")
    if not text.strip():
        raise RequestError(422, f"{name} is empty: give some words.")
    if len(text) > settings.characters:
        raise RequestError(422, f"{name} has {len(text):,} characters: send at most {settings.characters:,}.")


def write_answer(predictions: list[Prediction], single: bool) -> bytes:
    """Return the body of the answer: of a single text its prediction, else a list of them.
    Raises `ValueError` for a score that is no number, which JSON does not know."""
    answers = [
        {"label": p.label, "labels": p.labels, "confidence": p.confidence, "scores": p.probabilities,
         "truncated": p.truncated}
        for p in predictions
    ]  # fmt: skip
    answer = answers[0] if single else {"predictions": answers}
    return json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()


def describe_fault(error: BaseException) -> str:
    """Return the kind of an error and where it happened, for the log: its message may quote a client's text."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join([type(error).__name__, *(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))])
