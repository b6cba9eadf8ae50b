"""Exercises that check themselves: they never raise, and a wrong answer gets a hint for its typical mistake."""

import functools
import math
from collections.abc import Callable

import numpy as np

from helpers.course import trials, trials_writing
from helpers.files import DATA, read_toml

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
    except Exception:  # a type of anybody's may raise anything here
        return f"{WRONG}: a number is wanted here, not {type(answer).__name__}."
    if math.isnan(value):
        return f"{WRONG}: this is nan, not a number: something was divided by zero on the way, or a value is missing."
    if math.isclose(value, expected, abs_tol=tolerance):
        return f"{RIGHT}: {value:.3g}."
    for typical, hint in hints.items():
        if math.isclose(value, typical, abs_tol=tolerance):
            return f"{WRONG}: {value:.3g}. {hint}"
    return f"{WRONG}: {value:.3g} is {'too high' if value > expected else 'too low'}. {start}"


def check_function(function, cases: list[tuple[list, object]], *, start: str, hint: str, hints=(), trial=None) -> str:
    """Return a verdict on a function the learner wrote: it is called with each case's arguments and compared.

    `hints` are pairs of a typical wrong result and what was probably done; any other gets `hint`. `trial` names a function
    of `helpers.course.trials…` that puts the learner's to work, in a training loop, say, and returns what came of it. An
    exception inside the function is reported, not raised; `None` results count as not tried.
    """
    run = functools.partial(_find_trial(trial), function) if trial else function
    for arguments, expected in cases:
        try:
            got = run(*arguments)
        except (Exception, SystemExit) as error:  # whatever a learner's code may raise, the notebook goes on
            return f"{WRONG}: {_call(function, arguments, trial)} raised {type(error).__name__}: {error}"
        if got is None:
            return f"{NOT_TRIED}. {start}"
        if not _same(got, expected):
            known = next((why for typical, why in hints if _same(got, typical)), hint)
            return (
                f"{WRONG}: {_call(function, arguments, trial)} gives {_show(got)}, expected {_show(expected)}. {known}"
            )
    return f"{RIGHT}: all {len(cases)} cases agree." if len(cases) > 1 else f"{RIGHT}."


def _find_trial(name: str) -> Callable:
    """Return the function called `name` that puts a learner's to work."""
    return next(getattr(module, name) for module in (trials, trials_writing) if hasattr(module, name))


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
    try:  # numbers and lists of numbers, NumPy's and PyTorch's included
        values = _list_values(got)
        return np.shape(values) == np.shape(expected) and bool(np.allclose(values, expected, atol=1e-6))
    except Exception:  # a type of anybody's may raise anything here
        return False


def _list_values(result):
    """Return a result with its tensors and arrays as lists: NumPy refuses a tensor with gradients, or on a GPU."""
    if isinstance(result, (list, tuple)):
        return [_list_values(part) for part in result]
    return result.tolist() if hasattr(result, "tolist") else result


def _call(function: Callable, arguments: tuple, trial: str | None = None) -> str:
    name = getattr(function, "__name__", function)
    shown = ", ".join(repr(a) if len(repr(a)) <= 60 else repr(a)[:57] + "…" for a in arguments)
    return f"{name}, put to work," if trial else f"{name}({shown})"


def _show(result) -> str:
    """Return a result as a learner reads it: an array or a tensor as the list that it holds, to six digits."""
    values = result.tolist() if hasattr(result, "tolist") else result
    if isinstance(values, float):
        return f"{values:.6g}"
    if isinstance(values, list) and all(isinstance(value, float) for value in values):
        return f"[{', '.join(f'{value:.6g}' for value in values)}]"
    return repr(values)


def read_exercises() -> dict[str, dict]:
    """Return the settings of every exercise by its number, from `data/exercises.toml`: the arguments of its check."""
    exercises = read_toml(DATA / "exercises.toml")
    with_pairs = {name for name, own in exercises.items() if "cases" in own}  # a result may be a list, which is no key
    return {
        name: own | {"hints": dict(own["hints"])} if "hints" in own and name not in with_pairs else own
        for name, own in exercises.items()
    }


def find_verdict(exercise: str, answer) -> str:
    """Return the verdict on a learner's `answer` (a number, a function or letters) to an exercise such as "00.1"."""
    settings = read_exercises().get(exercise)
    if settings is None:
        return f'There is no exercise {exercise!r}: give the number that stands in the notebook, such as "00.1".'
    kind = next(
        (kind for key, kind in (("cases", check_function), ("letters", check_letters)) if key in settings), check_answer
    )
    try:
        return kind(answer, **settings)
    except Exception as error:  # an answer that cannot even be shown, say: the notebook goes on
        return f"{WRONG}: this answer cannot be checked ({type(error).__name__})."


def check(exercise: str, answer) -> None:
    """Print the verdict on a learner's `answer` to an exercise."""
    print(find_verdict(exercise, answer))
