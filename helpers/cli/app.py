"""All commands in one application, and what becomes of errors: one sentence, and a status that says whose they are."""

import contextlib
import os
import sys
import tempfile
import traceback

import typer

from helpers.cli import course, export, leaderboard, model, serve, sweep, zoo
from helpers.exceptions import LONGEST, PlainError, shorten
from helpers.files import find_disk_sentence

USERS, OURS = 2, 1  # exit statuses: what the user can mend, as typer's own for a wrong option, and what is our fault
UsageError = typer.BadParameter.__base__  # click's, which newer versions of typer bring along

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Transformers for Emotion."
)
for command in (course.fetch, course.repository, course.parameters, course.run, course.refresh, course.bands,
                course.measure, course.progress, course.figures, leaderboard.leaderboard, zoo.zoo, model.train, model.evaluate,
                model.predict, export.export, export.demo, serve.serve, sweep.sweep):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Run the command line; exit with 0 if all went well, with `USERS` or `OURS` after one sentence."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # a stream that somebody put in their place
            stream.reconfigure(errors="replace")  # a terminal or file of few characters shows "?" for the others
    try:
        raise SystemExit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except Exception as error:
        status, lines = explain(error)
    with contextlib.suppress(OSError):  # nobody is there to read it
        typer.echo("\n".join(lines), err=True)
    raise SystemExit(status)


def explain(error: Exception) -> tuple[int, list[str]]:
    """Return the exit status for `error`, and what to say: its sentence, and what was noted of it, each in one line.
    Nothing that a library wrote is passed on: of an error that nobody foresaw, the traceback is written into a file."""
    notes = [shorten(note, LONGEST) for note in getattr(error, "__notes__", [])]
    if isinstance(error, PlainError):
        return USERS, [f"Error: {error}", *notes]
    if isinstance(error, UsageError):
        asked = error.ctx.command_path if error.ctx else "python -m helpers"
        return USERS, [
            f"Error: {shorten(error.format_message().rstrip('.'), LONGEST)}. `{asked} --help` lists what there is."
        ]
    if isinstance(error, MemoryError):
        return USERS, ["Error: Out of memory. Close other programs, or take less data or a smaller model.", *notes]
    if sentence := find_disk_sentence(error, getattr(error, "filename", None) or "what was to be written"):
        return USERS, [f"Error: {shorten(sentence, LONGEST)}", *notes]
    place = write_traceback(error)
    kept = f"its traceback is in {place}: please report it with that file" if place else "please report what you did"
    return OURS, [f"Error: This is a fault of the course, not yours ({type(error).__name__}); {kept}.", *notes]


def write_traceback(error: Exception) -> str | None:
    """Write the traceback of `error` into a file of its own and return its path; None if there is no place for one."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="course-error-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return os.path.abspath(file.name)
