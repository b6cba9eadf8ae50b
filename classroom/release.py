"""Student copies of the notebooks, with the marks by which nbgrader grades them: `python -m classroom.release`.

The course's own notebooks stay as they are, and worked solutions stay where they are (notebooks/solutions). A copy has
no outputs, a place for the answer to each open-ended exercise, and after each exercise a cell for the grader, whose
content comes only when the copies are graded.
"""

import argparse
import re
from pathlib import Path

import nbformat

from classroom.cells import find_exercises, find_open_ended
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
    handed out, `content` is what came back: a cell that is missing is added at the end as it was.
    """
    answers = {cell.metadata.nbgrader.grade_id: cell for cell in content.cells if _is_answer(cell)}
    cells = [cell for cell in content.cells if not _is_ours(cell)]
    for cell in cells:
        cell.metadata.pop("nbgrader", None)
    content.cells = cells + [cell.copy() for cell in _list_missing(released, cells)]
    open_ended, exercises = find_open_ended(content), find_exercises(content)
    after = {place: ("exercise", number, name) for number, (place, name) in exercises.items()}
    after |= {place: ("answer", number, "") for number, place in open_ended.items()}
    marked = []
    for place, cell in enumerate(content.cells):
        marked.append(cell)
        kind, number, name = after.get(place, (None, None, None))
        if kind == "exercise":
            _mark(cell, f"exercise-{number.replace('.', '-')}", solution=True)
            marked.append(_make_check(number, name, hidden))
        elif kind == "answer":
            marked.append(answers.get(f"answer-{number}") or _make_answer(number))
    content.cells = marked
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


def _is_ours(cell) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return str(marks.get("grade_id", cell.get("id", ""))).startswith(("check-", "answer-"))


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
    cell = nbformat.v4.new_code_cell("\n".join(lines), id=f"check-{number.replace('.', '-')}")
    _mark(cell, cell.id, solution=False, points=POINTS)
    return cell


def _make_answer(exercise: int):
    cell = nbformat.v4.new_markdown_cell(ANSWER_CELL.format(exercise=exercise), id=f"answer-{exercise}")
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
