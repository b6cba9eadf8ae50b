"""Every exercise is checked by what an answer does: the worked solution passes, in the words of the notebook's own cell."""

import ast
import re

import nbformat
import pytest
import torch

from helpers.course import exercises, trials
from helpers.course.exercises import check_function
from helpers.course.notebooks import find_notebooks
from helpers.files import ROOT


def find_checks() -> dict[str, str]:
    """Return the name that each exercise's cell hands to `course.check`, by the exercise's number."""
    sources = (cell.source for path in find_notebooks() for cell in nbformat.read(path, as_version=4).cells)
    found = re.compile(r'^course\.check\("([\d.]+)", (\w+)\)', re.MULTILINE)
    return {number: name for source in sources for number, name in found.findall(source)}


CHECKS = find_checks()


def read_solution(number: str) -> str:
    """Return the code of the worked solution to an exercise such as "01.3"; what is fenced as `py` is not part of it."""
    notebook, exercise = number.split(".")
    page = (ROOT / "notebooks" / "solutions" / f"{notebook}.md").read_text(encoding="utf-8")
    section = re.search(rf"^## Exercise {exercise}\b.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"^```python\n(.*?)^```", section[0], re.MULTILINE | re.DOTALL))


def test_every_exercise_is_in_a_notebook_and_every_check_has_its_answer():
    assert CHECKS.keys() == exercises.read_exercises().keys()


@pytest.mark.parametrize("number, name", CHECKS.items(), ids=list(CHECKS))
def test_the_worked_solution_is_right(number, name, capsys):
    code, namespace = read_solution(number), {}
    exec(compile(ast.parse(code), f"solution {number}", "exec"), namespace)
    capsys.readouterr()
    exercises.check(number, namespace[name])
    verdict = exercises.find_verdict(number, namespace[name])
    assert verdict.startswith(exercises.RIGHT)
    assert capsys.readouterr().out == f"{verdict}\n"  # what the learner reads is what a grader gets


def take_two_steps(function, start: float) -> float | None:
    value = function(start)
    return value if value is None else function(value)


@pytest.mark.parametrize(
    "function, verdict",
    [
        (lambda value: value + 1, "Correct."),
        (lambda value: None, "Not tried yet. Start."),
        (lambda value: value, "Not yet: <lambda>, put to work, gives 1, expected 3. It does not move."),
        (lambda value: value + 2, "Not yet: <lambda>, put to work, gives 5, expected 3. Hint."),
        (lambda value: 1 / 0, "Not yet: <lambda>, put to work, raised ZeroDivisionError: division by zero"),
        (lambda value: exit("enough"), "Not yet: <lambda>, put to work, raised SystemExit: enough"),
        (lambda value: value + torch.ones((), requires_grad=True), "Correct."),
    ],
)
def test_a_function_is_judged_by_what_comes_of_putting_it_to_work(function, verdict, monkeypatch):
    monkeypatch.setattr(trials, "take_two_steps", take_two_steps, raising=False)
    hints = [[1.0, "It does not move."]]
    settings = {"start": "Start.", "hint": "Hint.", "hints": hints, "trial": "take_two_steps"}
    assert check_function(function, [[[1.0], 3.0]], **settings) == verdict


class Hostile:
    """An answer that can neither be turned into a number nor be shown."""

    def __float__(self):
        raise KeyError("no number")

    def __repr__(self):
        raise RuntimeError("not to be shown")


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize("number", ["00.3", "00.4", "02.4", "03.4", "07.2", "07.3", "07.4", "08.4"])
def test_a_right_result_may_be_a_tensor(number, with_gradients):
    cases = exercises.read_exercises()[number]["cases"]
    results = {repr(arguments): torch.tensor(expected, dtype=torch.float64) for arguments, expected in cases}

    def answer(*arguments):
        return results[repr(list(arguments))].requires_grad_(with_gradients)

    assert exercises.find_verdict(number, answer).startswith(exercises.RIGHT)


def test_a_list_of_tensors_with_gradients_is_read():
    verdict = check_function(lambda: [torch.tensor(1.0, requires_grad=True), 2], [([], [1, 2])], start="", hint="")
    assert verdict == "Correct."


@pytest.mark.parametrize(
    "number, answer, verdict",
    [
        ("99.1", 1, "There is no exercise '99.1': give the number that stands in the notebook"),
        ("00.1", float("nan"), "Not yet: this is nan, not a number"),
        ("00.1", torch.tensor([1.0, 2.0]), "Not yet: a number is wanted here, not Tensor."),
        ("00.1", Hostile(), "Not yet: a number is wanted here, not Hostile."),
        ("00.3", lambda *texts: Hostile(), "Not yet: this answer cannot be checked (RuntimeError)."),
    ],
)
def test_no_answer_ends_the_notebook(number, answer, verdict, capsys):
    exercises.check(number, answer)
    assert capsys.readouterr().out.startswith(verdict)
