"""Errors whose message says all that is needed: what is wrong, where, and what to do about it."""

import re

LONGEST = 280  # with the kind of error before it, three lines of a terminal


def shorten(value, length: int = 60) -> str:
    """Return `value` for a message: as text on one line, of at most `length` characters, its middle left out if need be:
    a sentence names the thing first and the remedy last."""
    line = " ".join(str(value).split())
    if len(line) <= length:
        return line
    return f"{line[: length - length // 3 - 1]}…{line[len(line) - length // 3 :]}"


def find_text_fault(text) -> str | None:
    """Return what is to be said of a `text` that no model can read, with the remedy; None of all others."""
    if not isinstance(text, str):
        return f"is {shorten(repr(text))}: give some words"
    if not text.strip():
        return "is empty: give some words"
    half = re.search("[\ud800-\udfff]", text)  # of an emoji that was cut in two, say: UTF-8 cannot write it
    return f"holds half a character (U+{ord(half[0]):04X}): replace or delete it" if half else None


class PlainError(Exception):
    """An error whose message says all that is needed: a notebook shows it without the traceback."""

    def __str__(self) -> str:
        return shorten(super().__str__(), LONGEST)

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class AssetError(PlainError, RuntimeError):
    """A model or dataset could not be had; the message says which, and what to do."""


class DataError(PlainError, ValueError):
    """A dataset cannot be used as it is; the message names the file, the row and the remedy."""


class DiskError(PlainError, OSError):
    """A file could not be written (no space, no permission); the message says where, and that nothing is lost."""


class SettingError(PlainError, ValueError):
    """A setting, an option or a name cannot work; the message names it, and what to set instead."""


class TrainingError(PlainError, RuntimeError):
    """Training cannot go on; the message says at which step, why, and what to change."""
