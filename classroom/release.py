"""Student copies of the notebooks, with the marks by which nbgrader grades them: `python -m classroom.release`.

The course's own notebooks stay as they are, and worked solutions stay where they are (notebooks/solutions). A copy has
no outputs, a place for the answer to each open-ended exercise, and after each exercise a cell for the grader, whose
content comes only when the copies are graded.
"""

import argparse
import ast
import contextlib
import re
from collections import defaultdict
from pathlib import Path

import nbformat

from classroom.cells import CHECK, find_exercises, find_open_ended, name_check
from helpers.exceptions import SettingError
from helpers.files import ROOT, make_folder

NOTEBOOKS = ROOT / "notebooks"
STUDENT = ROOT / "student"
POINTS, OPEN_POINTS = 1, 2
# The verdict is asked of modules that are read anew: what a learner's cell did to them does not count.
HIDDEN = """### BEGIN HIDDEN TESTS
import importlib
from helpers.course import exercises, trials, trials_writing
for module in (trials, trials_writing, exercises):
    importlib.reload(module)
verdict = exercises.find_verdict("{number}", {name})
print(verdict)
assert verdict.startswith(exercises.RIGHT)
### END HIDDEN TESTS"""
CHECK_CELL = "# For the grader of exercise {number}: leave this cell as it is."
OURS = ("check-", "answer-")
ANSWER_CELL = "*Your answer to exercise {exercise}:*"


def list_notebooks(number: str | None = None) -> list[Path]:
    """Return the course's notebooks in order, or the one whose name begins with `number`."""
    found = sorted(NOTEBOOKS.glob(f"{number or '[0-9][0-9]'}_*.ipynb"))
    if not found:
        raise SettingError(f"There is no notebook {number!r}: give its number, such as NB=01, or leave it out for all.")
    return found


def read_notebook(path: Path):
    """Return a notebook of the course as cells."""
    return nbformat.read(path, as_version=4)


def mark_cells(content, *, hidden: bool, released=None):
    """Return `content` with nbgrader's marks: its exercises, the grader's cells after them, the places for answers.

    `hidden` puts the tests into the grader's cells, which a student copy lacks. With `released`, the notebook as it was
    handed out, `content` is what came back: a cell that is missing is added at the end as it was, and what a learner gave
    the check under another name gets the name that the grader asks for.
    """
    answers = {cell.metadata.nbgrader.grade_id: cell for cell in content.cells if _is_answer(cell)}
    cells = [cell for cell in content.cells if not _is_ours(cell)]
    for cell in cells:
        cell.metadata.pop("nbgrader", None)
        if str(cell.get("id", "")).startswith(OURS):  # left by a merge
            cell.id = f"own-{cell.id}"
    content.cells = cells + [cell.copy() for cell in _list_missing(released, cells)]
    asked = find_exercises(released or content)
    after = defaultdict(list)  # several exercises may stand in one cell, if a learner merged theirs
    for number, (place, given) in find_exercises(content).items():
        if number in asked:
            _mark(content.cells[place], f"exercise-{number.replace('.', '-')}", solution=True)
            _name_answer(content.cells[place], asked[number][1], given)
            after[place].append(_make_check(number, asked[number][1], hidden))
    for number, place in find_open_ended(content).items():
        after[place].append(answers.get(f"answer-{number}") or _make_answer(number, content.cells[place]))
    content.cells = [one for place, cell in enumerate(content.cells) for one in (cell, *after[place])]
    return content


def make_student_copy(path: Path, folder: Path = STUDENT) -> Path:
    """Write the student copy of the notebook `path` into `folder`; return its path."""
    content = mark_cells(read_notebook(path), hidden=False)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:  # the solutions are handed out later
            cell.source = re.sub(r"\[([^\]]+)\]\(solutions/[^)]+\)", r"\1", cell.source)
    nbformat.validate(content)
    copy = make_folder(folder) / path.name
    nbformat.write(content, copy)
    return copy


def _list_missing(released, cells: list) -> list:
    if released is None:
        return []
    here = nbformat.v4.new_notebook(cells=cells)
    checks = [place for number, (place, _) in find_exercises(released).items() if number not in find_exercises(here)]
    texts = [place for number, place in find_open_ended(released).items() if number not in find_open_ended(here)]
    return [released.cells[place] for place in sorted(checks + texts)]


def _name_answer(cell, name: str, given: str) -> None:
    """Let a cell end with the answer under the name that the grader asks for, so that what learners see is what counts."""
    with contextlib.suppress(SyntaxError, ValueError):
        if given != name and ast.parse(given, mode="eval"):
            cell.source += f"\n{name} = {given}  # added for the grader"


def _is_ours(cell) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    named = str(marks.get("grade_id", cell.get("id", ""))).startswith(OURS)
    return named and not CHECK.search(cell.source)  # a learner may have merged an exercise into it


def _is_answer(cell) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return str(marks.get("grade_id", "")).startswith("answer-") and cell.cell_type == "markdown"


def _mark(cell, name: str, *, solution: bool, points: int = 0) -> None:
    marks = {"grade": bool(points), "solution": solution, "locked": not solution, "task": False, "grade_id": name}
    cell.metadata["nbgrader"] = nbformat.from_dict(
        marks | {"schema_version": 3} | ({"points": points} if points else {})
    )


def _make_check(number: str, name: str, hidden: bool):
    lines = [CHECK_CELL.format(number=number), *([HIDDEN.format(number=number, name=name)] if hidden else [])]
    cell = nbformat.v4.new_code_cell("\n".join(lines), id=name_check(number))
    _mark(cell, cell.id, solution=False, points=POINTS)
    return cell


def _make_answer(exercise: int, question):
    head = ANSWER_CELL.format(exercise=exercise)
    written = question.source.partition(head)[2]  # if a learner merged the two cells
    cell = nbformat.v4.new_markdown_cell(head + written, id=f"answer-{exercise}")
    _mark(cell, cell.id, solution=True, points=OPEN_POINTS)
    return cell


def main() -> None:
    """Write the student copies of all notebooks, or of one."""
    parser = argparse.ArgumentParser(prog="make student", description=main.__doc__)
    parser.add_argument("number", nargs="?", help="the notebook's number, such as 01")
    parser.add_argument("--to", type=Path, default=STUDENT, help="the folder to write to")
    asked = parser.parse_args()
    for path in list_notebooks(asked.number):
        print(make_student_copy(path, asked.to))


if __name__ == "__main__":
    main()
