"""Exercises that check themselves: they never raise, and a wrong answer gets a hint for its typical mistake."""

import math
from collections.abc import Callable

import numpy as np

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
    except (TypeError, ValueError, OverflowError):
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
        if not _same(got, expected):
            return f"{WRONG}: {_call(function, arguments)} gives {got!r}, expected {expected!r}. {hint}"
    return f"{RIGHT}: all {len(cases)} cases agree."


def _same(got, expected) -> bool:
    if isinstance(expected, str):
        return isinstance(got, str) and got == expected
    try:  # numbers and lists of numbers, NumPy's included
        return np.shape(got) == np.shape(expected) and bool(np.allclose(got, expected, atol=1e-6))
    except (TypeError, ValueError):
        return False


def _call(function: Callable, arguments: tuple) -> str:
    shown = ", ".join(repr(a) if len(repr(a)) <= 60 else repr(a)[:57] + "…" for a in arguments)
    return f"{getattr(function, '__name__', function)}({shown})"


def check(exercise: str, answer) -> None:
    """Print the verdict on a learner's `answer` (a number or a function) to an exercise such as "00.1"."""
    settings = EXERCISES[exercise]
    print(check_function(answer, **settings) if "cases" in settings else check_answer(answer, **settings))


# The answers stand here, out of sight of the notebooks; worked solutions are in notebooks/solutions.
EXERCISES = {
    "00.1": {
        "expected": 0.25,
        "start": "Compute the F1 of joy first: 6 hits, 6 true, 10 called. What do the other two score?",
        "hints": {
            0.75: "That is the F1 of joy alone; average over all three emotions.",
            0.6: "That is the accuracy.",
            0.45: "That is the weighted F1.",
        },
    },
    "00.2": {
        "cases": [(([0, 1, 1], [0, 1, 0]), 2 / 3), (([2], [2]), 1.0), (([0, 1], [1, 0]), 0.0)],
        "start": "Return the number of equal places divided by the number of places.",
        "hint": "zip() walks two lists together; divide by len(truth).",
    },
    "00.3": {
        "cases": [(("So   HAPPY!!",), "so happy"), (("so happy",), "so happy"), (("It's 5 o'clock.",), "its 5 oclock")],
        "start": "Lower-case; keep letters, digits and spaces; join the words with single spaces.",
        "hint": "''.join(c for c in text.lower() if c.isalnum() or c == ' ') leaves double spaces: split() and join().",
    },
    "01.1": {
        "expected": 24 / 84,
        "start": "Places: 3 rows of 28. Tokens: 12 + 20 + 28.",
        "hints": {60 / 84: "That is the share of real tokens.", 24 / 60: "Divide by all places, not by the tokens."},
    },
    "01.2": {
        "expected": 1e-4,
        "tolerance": 1e-7,
        "start": "Halfway down, the schedule's cosine is cos(π/2).",
        "hints": {2e-4: "That is the peak, at the end of the warm-up.", 0.0: "That is the end of training."},
    },
    "01.3": {
        "cases": [
            (([0.0, 0.0],), [0.5, 0.5]),
            (([1000.0, 1000.0],), [0.5, 0.5]),
            (([3.0, 3.0, 3.0, 3.0],), [0.25] * 4),
        ],
        "start": "Exponentiate each logit and divide by the sum.",
        "hint": "math.exp(1000) overflows: subtract the largest logit first; the result stays the same.",
    },
    "04.1": {
        "cases": [((100, 1000), 3.0), ((500, 1000), 1.0), ((200, 1000), 2.0)],
        "start": "How many rows lack the label? Divide by those that have it, and take the root.",
        "hint": "Negative rows by positive rows, not all rows by positive rows; then ** 0.5.",
    },
    "04.2": {
        "expected": 200,
        "start": "Which lines are inside the loop? What do the variables hold when it ends?",
        "hints": {
            1000: "That would be five models, each scored on its own fold. How often is fit called?",
            800: "That is what the model is trained on; on what is it scored?",
        },
    },
    "04.3": {
        "expected": 6 / 7,
        "start": "Try every place to cut: call the first 1, 2, 3, … texts. F1 = 2 hits / (called + true).",
        "hints": {
            2 / 3: "That is the F1 at 0.5. Is there a better cut?",
            1.0: "No cut gets all three without the text at 0.7.",
            0.75: "That is one text further down: it calls a false one more.",
        },
    },
}
