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


def check_letters(answer, letters: str, *, start: str, hints: dict[str, str]) -> str:
    """Return a verdict on a choice of letters such as "ACD"; `hints` says why a letter does or does not belong."""
    if answer is None:
        return f"{NOT_TRIED}. {start}"
    given = {
        c for c in str("".join(answer) if isinstance(answer, (list, tuple, set)) else answer).upper() if c.isalpha()
    }
    wrong, missing = sorted(given - set(letters)), sorted(set(letters) - given)
    if not wrong and not missing:
        return f"{RIGHT}: {letters}."
    if wrong:
        return f"{WRONG}: {wrong[0]} does not belong. {hints.get(wrong[0], start)}"
    return f"{WRONG}: {len(missing)} missing. {hints.get(missing[0], start)}"


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
    """Print the verdict on a learner's `answer` (a number, a function or letters) to an exercise such as "00.1"."""
    settings = EXERCISES[exercise]
    kind = next(
        (kind for key, kind in (("cases", check_function), ("letters", check_letters)) if key in settings), check_answer
    )
    print(kind(answer, **settings))


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
    "02.1": {
        "cases": [
            (([[1.0, 2.0], [3.0, 6.0]], [1, 1]), [2.0, 4.0]),
            (([[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]], [1, 1, 0]), [2.0, 4.0]),
            (([[99.0], [4.0], [6.0]], [0, 1, 1]), [5.0]),
        ],
        "start": "Add up the vectors whose mask is 1, place by place, and divide by how many there are.",
        "hint": "Padding must neither be added nor counted: divide by sum(mask), not by len(mask).",
    },
    "02.2": {
        "expected": 0.828,
        "tolerance": 0.006,
        "start": "p is 0.926 and n is 1000; a point is a hundredth.",
        "hints": {
            0.00828: "That is the share; in points it is a hundred times as much.",
            6.85: "That is the variance p(1-p) in points: divide by n, then take the root.",
            26.2: "Divide by n before you take the root.",
        },
    },
    "02.3": {
        "letters": "ABEFH",
        "start": "Ask of each: would the conclusion stand if this had been done otherwise? Five letters belong.",
        "hints": {
            "A": "Other people's scores on this dataset come from all 16,000 texts, or say so.",
            "B": "There is an official validation split. Half a test split is another test split than everybody else's.",
            "C": "What is the same for both is what makes a comparison fair.",
            "D": "One rate for both would favour the model it suits; each needs its own.",
            "E": "What would another seed have said? Section 6.",
            "F": "Compare 0.14 with the answer to exercise 2.",
            "G": "A decoder's first token is blind: section 2. Each model gets the pooling that suits it.",
            "H": "The training loss falls in any case. Overfitting shows on validation.",
        },
    },
    "03.1": {
        "expected": 0.1,
        "start": "Per bin: how far is the confidence from the share of right answers? Then average by the answers.",
        "hints": {
            0.2: "That is the gap of the first bin alone: the other one, without a gap, counts as much.",
            0.65: "That is the accuracy.",
            0.75: "That is the mean confidence.",
            -0.1: "Distances have no sign.",
        },
    },
    "03.2": {
        "expected": 1 - 0.95**10,
        "start": "How likely is it that none of the ten raises an alarm?",
        "hints": {
            0.5: "Ten times 0.05 counts double alarms twice (and would exceed 1 for thirty tests).",
            0.95**10: "That is the chance of no alarm at all.",
            0.05: "That is the chance for one test.",
        },
    },
    "03.3": {
        "cases": [
            (([0.9, 0.6, 0.8, 0.7], [True, False, False, True]), 0.5),
            (([0.55, 0.99, 0.7], [False, True, False]), 0.0),
            (([0.6, 0.7, 0.9, 0.8, 0.5, 0.95], [True, True, False, True, True, True]), 1 / 3),
        ],
        "start": "Sort the answers by confidence, keep the first len // 2, and count the wrong ones among them.",
        "hint": "sorted(zip(confidences, right), reverse=True) puts the surest first; `right` says right, not wrong.",
    },
    "04.1": {
        "expected": 2 * 16 * 384,
        "start": "Two thin matrices, A and B: what is the shape of each, so that BA is 384 × 384?",
        "hints": {
            384 * 384: "That is the matrix itself, which stays frozen.",
            16 * 384: "That is one of the two thin matrices.",
            16: "That is the rank. What shapes have the two matrices?",
        },
    },
    "04.2": {
        "expected": 200,
        "start": "Which lines are inside the loop? What do the variables hold when it ends?",
        "hints": {
            1000: "That would be five models, each scored on its own fold. How often is fit called?",
            800: "That is what the model is trained on; on what is it scored?",
            5: "That is the number of folds; how many rows are in one?",
        },
    },
    "04.3": {
        "expected": 6 / 7,
        "start": "Try every place to cut: call the first 1, 2, 3, … texts. F1 = 2 hits / (called + true).",
        "hints": {
            2 / 3: "That is the F1 at 0.5. Is there a better cut?",
            1.0: "No cut gets all three without the text at 0.7.",
            0.75: "That is one text further down: it calls a false one more.",
            0.5: "That is the first text alone. Go further down.",
            0.4: "That is the first two. Go further down.",
        },
    },
}
