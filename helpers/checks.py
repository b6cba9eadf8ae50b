"""Exercises that check themselves: they never raise, and a wrong answer gets a hint for its typical mistake."""

import math
from collections.abc import Callable

NOT_TRIED = "Not tried yet"
RIGHT = "Correct"
WRONG = "Not yet"


def check_answer(answer, expected: float, *, start: str, hints: dict[float, str], tolerance: float = 0.005) -> str:
    """Return a verdict on a number: "Correct", or a hint.

    `start` says how to begin, for an answer that is still `None`; `hints` maps typical wrong answers to what was
    probably done.
    """
    if answer is None:
        return f"{NOT_TRIED}. {start}"
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return f"{WRONG}: a number is wanted here, not {type(answer).__name__}."
    if math.isclose(value, expected, abs_tol=tolerance):
        return f"{RIGHT}: {value:.3g}."
    for typical, hint in hints.items():
        if math.isclose(value, typical, abs_tol=tolerance):
            return f"{WRONG}: {value:.3g}. {hint}"
    return f"{WRONG}: {value:.3g} is {'too high' if value > expected else 'too low'}. {start}"


def check_function(function, cases: list[tuple[tuple, object]], *, start: str, hint: str) -> str:
    """Return a verdict on a function the learner wrote: it is called with each case's arguments and compared.

    An exception inside the function is reported, not raised; `None` results count as not tried.
    """
    for arguments, expected in cases:
        try:
            got = function(*arguments)
        except Exception as error:  # whatever a learner's code may raise, the notebook goes on
            return f"{WRONG}: {_call(function, arguments)} raised {type(error).__name__}: {error}"
        if got is None:
            return f"{NOT_TRIED}. {start}"
        same = math.isclose(got, expected, abs_tol=1e-6) if isinstance(expected, float) else got == expected
        if not same:
            return f"{WRONG}: {_call(function, arguments)} gives {got!r}, expected {expected!r}. {hint}"
    return f"{RIGHT}: all {len(cases)} cases agree."


def _call(function: Callable, arguments: tuple) -> str:
    shown = ", ".join(repr(a) if len(repr(a)) <= 60 else repr(a)[:57] + "…" for a in arguments)
    return f"{function.__name__}({shown})"
