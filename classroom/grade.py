"""Grade a folder of filled copies: `make grade FOLDER=copies` writes one CSV and a feedback page for each copy.

A copy is a notebook in a folder with the student's name, or a file with the name in its own. Each is graded for itself:
one that is broken, endless or hostile leaves the others as they are. nbgrader keeps the points (gradebook.db).
"""

import argparse
import csv
import os
import shutil
import sys
import time
import warnings
from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    ComputeChecksums,
    GetGrades,
    LimitOutput,
    LockCells,
    SaveAutoGrades,
    SaveCells,
)
from traitlets.config import Config

from classroom.cells import find_checks, find_open_ended
from classroom.copies import Copy, read_copies, write_course
from classroom.release import read_notebook
from classroom.sandbox import find_walls
from classroom.workbench import RunExercises
from helpers.exceptions import PlainError, SettingError, shorten
from helpers.files import ROOT, atomic_path, make_folder

# nbgrader's own steps, but for the one that replaces what an exercise begins with.
PREPARE = [LockCells, ClearOutput, CheckCellMetadata, ComputeChecksums, SaveCells, ClearHiddenTests, ComputeChecksums]
# What Markdown may hold in a feedback page: nothing that runs, loads or covers something.
SAFE_TAGS = ["a", "b", "br", "code", "details", "em", "i", "li", "ol", "p", "strong", "sub", "summary", "sup", "ul"]
STATES = {"Correct": "right", "Not tried yet": "not tried", "Not yet": "wrong"}


def grade(folder: Path, to: Path, seconds: float = 30.0, trust: bool = False) -> Path:
    """Grade all copies below `folder` and return the path of the CSV; results are written into the folder `to`."""
    warnings.filterwarnings("ignore", module="nbgrader")
    walls, copies = find_walls(trust), read_copies(folder)
    for name in ("source", "submitted"):
        shutil.rmtree(to / name, ignore_errors=True)
    write_course(make_folder(to), copies)
    grade_copies(to, copies, walls, seconds)
    return write_csv(to / "grades.csv", copies)


def build_api(to: Path, walls: str | None, seconds: float) -> NbGraderAPI:
    """Return nbgrader, set to work in the folder `to` and to run exercises our way."""
    own = str(Path(sys.executable).parent)  # nbgrader calls alembic by its bare name
    os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", "")])
    config = Config()
    config.CourseDirectory.root = str(to)
    config.CourseDirectory.db_url = f"sqlite:///{to / 'gradebook.db'}"
    config.Exchange.root = str(make_folder(to / "exchange"))
    config.GenerateAssignment.preprocessors = PREPARE
    config.Autograde.autograde_preprocessors = [RunExercises, LimitOutput, SaveAutoGrades, CheckCellMetadata]
    config.RunExercises.seconds, config.RunExercises.walls = seconds, walls
    # A teacher opens the page, and nbgrader's template takes a learner's Markdown as it is.
    config.GenerateFeedback.preprocessors = [SanitizeHTML, GetGrades, CSSHTMLHeaderPreprocessor]
    config.SanitizeHTML.enabled, config.SanitizeHTML.tags = True, SAFE_TAGS
    return NbGraderAPI(config=config)


def grade_copies(to: Path, copies: list[Copy], walls: str | None, seconds: float) -> None:
    """Let nbgrader grade the copies, one by one, and write down in each what came of it."""
    api, log = build_api(to, walls, seconds), to / "grading.log"
    graded = [copy for copy in copies if not copy.problem]
    for stem in sorted({copy.notebook for copy in graded}):
        done = api.generate_assignment(stem, force=True, create=True)
        if not done["success"]:
            raise SettingError(f"The tests of {stem} cannot be prepared: {shorten(done.get('log'), 150)}")
    with open(log, "w", encoding="utf-8") as lines:
        for copy in copies:
            start = time.monotonic()
            if not copy.problem:
                lines.write(_grade_one(api, to, copy))
            print(f"{copy.student:<24} {time.monotonic() - start:>4.0f} s  {summarise(copy)}", flush=True)


def _grade_one(api: NbGraderAPI, to: Path, copy: Copy) -> str:
    """Grade one copy, fill in what came of it, and return nbgrader's log."""
    done = api.autograde(copy.notebook, copy.student, force=True, create=True)
    if not done["success"]:
        copy.problem = "could not be graded: see grading.log"
        return f"{copy.student}\n{done.get('log') or done.get('error')}\n"
    page = api.generate_feedback(copy.notebook, copy.student, force=True)
    if page["success"]:
        copy.page = f"feedback/{copy.student}/{copy.notebook}/{copy.notebook}.html"
    read_result(to, copy)
    return "" if page["success"] else f"{copy.student}\n{page.get('log') or page.get('error')}\n"


def read_result(to: Path, copy: Copy) -> None:
    """Fill in what became of each exercise of a graded copy, its points, and whether an answer waits for a reader."""
    content = read_notebook(to / "autograded" / copy.student / copy.notebook / f"{copy.notebook}.ipynb")
    for number, (place, check) in sorted(find_checks(content).items()):
        state = name_state(content.cells[place], content.cells[check])
        copy.states[number] = "not tried" if state == "wrong" and number in copy.untouched else state
    with Gradebook(f"sqlite:///{to / 'gradebook.db'}") as book:
        found = book.find_submission_notebook(copy.notebook, copy.notebook, copy.student)
        copy.points = f"{found.score:g}"
        if find_open_ended(content):
            written = [grade for grade in found.grades if grade.name.startswith("answer-") and grade.auto_score is None]
            unread = any(grade.needs_manual_grade for grade in written)
            copy.open_ended = "to be read" if unread else ("read" if written else "not tried")


def name_state(exercise, check) -> str:
    """Return what became of an exercise, from the outputs of its cell and of the grader's cell after it."""
    errors = [output for output in [*exercise.outputs, *check.outputs] if output.output_type == "error"]
    if stopped := [error.evalue for error in errors if error.ename == "Stopped"]:
        return "too long" if "did not end" in stopped[0] else "stopped"
    printed = "".join(output.text for output in check.outputs if output.output_type == "stream")
    if not printed:
        return f"error ({errors[0].ename})" if errors else "error"
    return next((state for words, state in STATES.items() if printed.startswith(words)), "error")


def summarise(copy: Copy) -> str:
    """Return what became of a copy in one line."""
    return copy.problem or ", ".join(f"{number}: {state}" for number, state in copy.states.items())


def write_csv(path: Path, copies: list[Copy]) -> Path:
    """Write one row for each copy, those that could not be graded included; return the path."""
    exercises = sorted({number.split(".")[1] for copy in copies for number in copy.states})
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8-sig") as file:
        # A spreadsheet takes it for UTF-8 by its first bytes.
        table = csv.writer(file)
        names = [f"exercise {k}" for k in exercises]
        table.writerow(["student", "notebook", "points", *names, "open-ended", "problem", "feedback", "file"])
        for copy in copies:
            states = {number.split(".")[1]: state for number, state in copy.states.items()}
            row = [copy.points, *(states.get(k, "") for k in exercises), copy.open_ended, copy.problem, copy.page]
            table.writerow([_quote(value) for value in (copy.student, copy.notebook, *row, copy.path.name)])
    return path


def _quote(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in "=+-@" and value[:1] else value


def main() -> None:
    """Grade a folder of filled copies."""
    parser = argparse.ArgumentParser(prog="make grade FOLDER=…", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, help="where results go; by default runs/classroom and the folder's name")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long one exercise may compute")
    parser.add_argument("--trust", action="store_true", help="run the copies without walls")
    asked = parser.parse_args()
    to = (asked.to or ROOT / "runs" / "classroom" / asked.folder.resolve().name).resolve()
    try:
        print(grade(asked.folder, to, asked.seconds, asked.trust))
    except PlainError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()
