"""Texts from a pipe or a prompt, and their answers, line by line: what `predict` does without a file."""

import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from helpers.exceptions import DataError

if TYPE_CHECKING:
    from helpers.deploy import Predictor


def answer_lines(predictor: "Predictor", texts: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield per text `label, confidence, text`, separated by tabs, and a warning if its end was cut off.
    An empty text yields an empty line, so that lines in and lines out correspond. Raises `DataError` at the first text
    with bytes that are no characters."""
    for number, text in enumerate(texts, start=1):
        if bad := re.search("[\udc80-\udcff]", text):  # how Python marks bytes that it could not decode
            encoding = getattr(sys.stdin, "encoding", None) or "utf-8"
            raise DataError(
                f"Line {number} is not {encoding.upper()} (byte 0x{ord(bad[0]) - 0xDC00:02x}): save the texts as UTF-8, or "
                "name their encoding by PYTHONIOENCODING=cp1252, say."
            )
        text = " ".join(text.split())
        if not text:
            yield "", None
            continue
        found = predictor.predict_one(text)
        warning = f"Warning: only the first {predictor.max_length} tokens of this text were read."
        yield f"{found.label}\t{found.confidence:.3f}\t{text}", warning if found.truncated else None


def read_lines(stream: TextIO) -> Iterator[str]:
    """Yield the lines of `stream`; bytes that cannot be decoded are marked, so that the lines before them come first."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape")
    for line in stream:
        yield line.removeprefix("\ufeff")  # Windows writes it at a file's beginning


def ask() -> Iterator[str]:
    """Yield what the user types, line by line, until an empty line or the end of input (Ctrl-D)."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while line := input("text (empty to end): ").strip():
            yield line
