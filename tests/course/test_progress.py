"""What `python -m helpers progress` reads out of saved notebooks."""

import shutil

import nbformat
import pytest

from helpers.cli.app import app
from helpers.course import notebooks
from helpers.course.exercises import find_verdict, read_exercises
from helpers.course.progress import read_progress, say_progress
from helpers.exceptions import DataError

NAME = "00_start_here"


@pytest.fixture
def folder(tmp_path):
    """A learner's folder with one notebook as it comes."""
    shutil.copy(notebooks.find_notebooks("00")[0], tmp_path)
    return tmp_path


def answer(path, exercise: str, said: str, *before: str) -> None:
    """Store `said` as what the check of an exercise printed, after other lines of the learner's."""
    content = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in content.cells if f'course.check("{exercise}"' in cell.source]
    cell.outputs = [nbformat.v4.new_output("stream", text="\n".join([*before, said]) + "\n")]
    nbformat.write(content, path)


def read_states(folder) -> dict[str, str]:
    (progress,) = read_progress(folder, folder / "runs")
    return progress.states


def test_a_notebook_as_it_comes_has_nothing_right(folder):
    assert "right" not in read_states(folder).values()
    assert list(read_states(folder)) == [name for name in read_exercises() if name.startswith("00.")]
    *_, total, _, following = say_progress(read_progress(folder, folder / "runs"))
    assert total.startswith("0 of 4 exercises")
    assert following.startswith(
        f"Next: exercise 1 in {folder.name}/{NAME}.ipynb. Not tried yet. Change the last number"
    )


@pytest.mark.parametrize("given, state", [(None, "open"), (0.8, "not yet"), (0.8333, "right")])
def test_the_check_s_own_words_are_understood(folder, given, state):
    answer(folder / f"{NAME}.ipynb", "00.1", find_verdict("00.1", given))
    assert read_states(folder)["00.1"] == state


def test_what_a_learner_prints_is_no_verdict(folder):
    answer(folder / f"{NAME}.ipynb", "00.1", find_verdict("00.1", None), "Correct: I think")
    assert read_states(folder)["00.1"] == "open"


@pytest.mark.parametrize(
    "source, printed, expected",
    [
        ('course.check("00.1", x)\ncourse.check("00.2", y)', "Not yet: 1.\nCorrect.\n", {"00.1": "not yet", "00.2": "right"}),
        ('course.check("00.1", x)\ncourse.check("00.2", y)', "Correct.\n", {"00.1": "right"}),  # the second one failed
        ('# course.check("00.1", x)\ncourse.check("00.2", y)', "Correct.\n", {"00.2": "right"}),
        ("if True:\n    course.check(\n        '00.2', y)", "Correct.\n", {"00.2": "right"}),
    ],
    ids=["two", "one of two", "commented out", "indented"],
)  # fmt: skip
def test_each_check_of_a_cell_gets_its_own_verdict(source, printed, expected, tmp_path):
    cell = nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output("stream", text=printed)])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{NAME}.ipynb")
    assert read_states(tmp_path) == dict.fromkeys(("00.1", "00.2", "00.3", "00.4"), "open") | expected


def test_the_next_is_the_first_that_does_not_pass(folder):
    for exercise in ("00.1", "00.2", "00.4"):
        answer(folder / f"{NAME}.ipynb", exercise, "Correct.")
    lines = say_progress(read_progress(folder, folder / "runs"))
    assert "3 of 4 right" in lines[0] and "Next: exercise 3 " in lines[-1]
    answer(folder / f"{NAME}.ipynb", "00.3", "Correct.")
    assert "every check passes" in say_progress(read_progress(folder, folder / "runs"))[-1]


def test_an_executed_copy_counts_where_it_is_better(folder):
    copy = folder / "runs" / NAME / f"{NAME}.ipynb"
    copy.parent.mkdir(parents=True)
    shutil.copy(folder / f"{NAME}.ipynb", copy)
    answer(copy, "00.1", "Correct: 0.833.")
    answer(folder / f"{NAME}.ipynb", "00.2", "Correct.")
    states = read_states(folder)
    assert (states["00.1"], states["00.2"]) == ("right", "right")


def test_a_notebook_without_outputs_is_open(folder):
    content = nbformat.read(folder / f"{NAME}.ipynb", as_version=4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbformat.write(content, folder / f"{NAME}.ipynb")
    assert set(read_states(folder).values()) == {"open"}
    assert "Run the notebook, and save it" in say_progress(read_progress(folder, folder / "runs"))[-1]


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff", "[" * 100_000], ids=range(5))
def test_a_broken_file_is_named_with_a_remedy(folder, text):
    (folder / f"{NAME}.ipynb").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=f"{NAME}.ipynb is no notebook: restore it"):
        read_progress(folder, folder / "runs")


def test_a_folder_under_a_notebook_s_name_is_named(tmp_path):
    (tmp_path / f"{NAME}.ipynb").mkdir()
    with pytest.raises(DataError, match=f"{NAME}.ipynb cannot be read"):
        read_progress(tmp_path, tmp_path / "runs")


def test_the_command_says_it_of_every_notebook(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    app(["progress"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-3]] == [path.stem for path in notebooks.find_notebooks()]
    assert lines[-1].startswith("Next: exercise ")


def test_the_command_reads_the_folder_that_a_class_works_in(capsys, folder, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(folder / "runs"))
    app(["progress", str(folder)], standalone_mode=False)
    assert f"in {folder.name}/{NAME}.ipynb" in capsys.readouterr().out.splitlines()[-1]


def test_a_folder_without_notebooks_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path.name} holds no numbered notebook"):
        read_progress(tmp_path)
