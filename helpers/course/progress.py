"""A learner's progress, read from the notebooks as they are saved: which exercises pass, and what is next."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from helpers.course.exercises import NOT_TRIED, RIGHT, WRONG, read_exercises
from helpers.course.notebooks import NOTEBOOKS
from helpers.exceptions import DataError, shorten
from helpers.runs import find_runs

STATES = {RIGHT: "right", WRONG: "not yet", NOT_TRIED: "open"}
CALL = re.compile(r"^[ \t]*course\.check\(\s*[\"'](\d\d\.\d)[\"']", re.MULTILINE)
RANK = ("open", "not yet", "right")


@dataclass
class Progress:
    """How far one notebook is: the verdict on each of its exercises, as "right", "not yet" or "open", and what was said."""

    notebook: str
    folder: str = NOTEBOOKS.name
    states: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    @property
    def right(self) -> int:
        """How many exercises pass."""
        return sum(state == "right" for state in self.states.values())

    @property
    def is_done(self) -> bool:
        """Whether all exercises pass."""
        return self.right == len(self.states)


def read_progress(folder: Path = NOTEBOOKS, runs: Path | None = None) -> list[Progress]:
    """Return the progress in each numbered notebook of `folder`, from its saved outputs and those of its executed copy in
    `runs`; of two verdicts the better one counts. Nothing is executed. Raises `DataError` if there are none."""
    found, paths = [], sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise DataError(
            f"{folder} holds no numbered notebook, such as 00_start_here.ipynb: name the folder you work in."
        )
    for path in paths:
        copies = [path, (runs or find_runs()) / path.stem / path.name]
        states = dict.fromkeys(_find_exercises(path.name[:2]), "open")
        progress = Progress(path.stem, folder.name, states)
        for copy in copies:
            for exercise, state, said in _read_verdicts(copy) if copy.exists() else ():
                if exercise in progress.states and RANK.index(state) >= RANK.index(progress.states[exercise]):
                    progress.states[exercise], progress.said[exercise] = state, said
        found.append(progress)
    return found


def _find_exercises(number: str) -> list[str]:
    return sorted(name for name in read_exercises() if name.startswith(f"{number}."))


def _read_verdicts(path: Path) -> list[tuple[str, str, str]]:
    try:
        content = nbformat.read(path, as_version=4)
    except OSError:
        raise DataError(f"{path} cannot be read (a folder, or no permission): move it away, or restore it.") from None
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError, nbformat.ValidationError):
        raise DataError(
            f"{path} is no notebook: restore it with git, or delete it if it is the copy of a run."
        ) from None
    found = []
    for cell in content.cells:
        calls = CALL.findall(cell.source) if cell.cell_type == "code" else []
        text = "".join(output.get("text", "") for output in cell.get("outputs", []))
        lines = [line for line in text.splitlines() if line.startswith(tuple(STATES))]
        if calls:  # each prints one line, in their order; what a learner prints before them does not count
            for exercise, said in zip(calls, lines[-len(calls) :], strict=False):
                state = next(state for start, state in STATES.items() if said.startswith(start))
                found.append((exercise, state, said))
    return found


def say_progress(found: list[Progress]) -> list[str]:
    """Return the table of what passes in each notebook, and what to do next."""
    lines = []
    for progress in found:
        states = "  ".join(f"{name[-1]} {state:<7}" for name, state in progress.states.items())
        lines.append(f"{progress.notebook:<24} {progress.right} of {len(progress.states)} right   {states}".rstrip())
    right, all_of_them = sum(one.right for one in found), sum(len(one.states) for one in found)
    lines.append(f"{right} of {all_of_them} exercises are right, as the notebooks were last saved.")
    lines.append('"not yet" is also the verdict on a function that was to be changed, and has not been.')
    return [*lines, say_next(found)]


def say_next(found: list[Progress]) -> str:
    """Return the next step: the first exercise that does not pass, in the first notebook with any."""
    begun = next((progress for progress in found if not progress.is_done), None)
    if begun is None:
        return (
            "Next: every check passes. What has no check is left, the open-ended exercise at the end of each notebook."
        )
    exercise = next(name for name, state in begun.states.items() if state != "right")
    said = begun.said.get(exercise) or f"{NOT_TRIED}. Run the notebook, and save it."
    return f"Next: exercise {exercise[-1]} in {begun.folder}/{begun.notebook}.ipynb. {shorten(said, 200)}"
