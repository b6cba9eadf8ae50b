"""Student copies, what their exercises need, and a class of thirty graded: each by itself, whatever is in the others."""

import csv
import os
import re
import shutil
import socket
import subprocess
from types import SimpleNamespace

import nbformat
import pytest
from filled_copies import write_class

from classroom.cells import find_checks, find_exercises, find_open_ended, list_needed, read_names
from classroom.copies import read_copies
from classroom.release import HIDDEN, list_notebooks, make_student_copy, mark_cells, read_notebook
from helpers.course import trials_writing
from helpers.course.exercises import read_exercises
from helpers.exceptions import SettingError
from helpers.files import ROOT

GRADER = ROOT / ".venv-classroom" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
each_notebook = pytest.mark.parametrize("path", list_notebooks(), ids=lambda path: path.stem)


def make_notebook(*sources: str):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


@pytest.mark.parametrize(
    "source, defined, now, later",
    [
        ("import numpy as np\nx = np.ones(n)", {"np", "x"}, {"n"}, set()),
        ("from a import b as c\nimport d.e", {"c", "d"}, set(), set()),
        ("def f(labels, k=K):\n    y = labels\n    return y + g", {"f"}, {"K"}, {"g"}),  # an argument is no global
        ("x = x + 1\ny += 1", {"x", "y"}, {"x", "y"}, set()),
        ("for k in rows: print(k)", {"k"}, {"rows", "print"}, set()),
        ("table['x'] = [row for row in rows]", {"table"}, {"table", "rows"}, set()),
        ("class A(B):\n    def f(self): return C", {"A"}, {"B"}, {"C"}),
        ("with a() as b: c = (d := b)", {"b", "c", "d"}, {"a"}, set()),
        ("f = lambda z: z + u", {"f"}, {"u"}, set()),
        ("%matplotlib inline\n!ls\nz = 1", {"z"}, set(), set()),
        ("this is no Python", set(), set(), set()),
    ],
)
def test_names_of_a_cell(source, defined, now, later):
    found = read_names(source)
    assert (found.defined, found.now, found.later) == (defined, now, later)


def test_a_cell_needs_the_last_cells_that_define_its_names_and_nothing_else():
    cells = [
        "import a",
        "slow = a.train()",
        "def f(): return late",
        "late = 3",
        "slow.more()",
        "other = 1\nk = 0",
        "other = 2",
    ]
    assert list_needed(make_notebook(*cells, "for k in [other]: y = f() + k"), 7) == [2, 3, 6]
    assert list_needed(make_notebook("x = {}", "x['a'] = 1", "x"), 2) == [0, 1]


def test_a_trial_that_the_learner_changed_does_not_count(monkeypatch):
    right = {steps: expected for (steps,), expected in read_exercises()["06.2"]["cases"]}
    monkeypatch.setattr(trials_writing, "learn_answers", lambda function, steps: right[steps])
    with pytest.raises(AssertionError):
        exec(HIDDEN.format(number="06.2", name="answer"), {"answer": lambda prompt, answer: prompt + answer})


@each_notebook
def test_no_exercise_needs_a_training(path):
    content = read_notebook(path)
    for place, _ in find_exercises(content).values():
        needed = "\n".join(content.cells[k].source for k in list_needed(content, place))
        assert "training.fit(" not in needed and ".load_data(" not in needed


@each_notebook
def test_a_student_copy_has_the_exercises_without_outputs_and_tests(path, tmp_path):
    before = path.read_bytes()
    copy = read_notebook(make_student_copy(path, tmp_path))
    original = read_notebook(path)
    assert path.read_bytes() == before
    assert find_exercises(copy).keys() == find_exercises(original).keys() != set()
    for place, _ in find_exercises(copy).values():
        check = copy.cells[place + 1]
        assert (check.metadata.nbgrader.grade, check.metadata.nbgrader.points) == (True, 1)
        assert check.source.startswith("#") and len(check.source.splitlines()) == 1
    for place in find_open_ended(copy).values():
        assert copy.cells[place + 1].metadata.nbgrader.points == 2
    assert len(find_open_ended(copy)) == 1
    text = nbformat.writes(copy)
    assert "(solutions/" not in text and "HIDDEN" not in text
    assert not [cell for cell in copy.cells if cell.get("outputs")]
    own = [cell for cell in copy.cells if not cell.get("id", "").startswith(("check-", "answer-"))]
    assert [cell.id for cell in own] == [cell.id for cell in original.cells]


def test_what_came_back_gets_its_marks_again():
    released = read_notebook(list_notebooks("00")[0])
    came_back = mark_cells(read_notebook(list_notebooks("00")[0]), hidden=False)
    places = find_exercises(came_back)
    del came_back.cells[places["00.3"][0]]
    for cell in came_back.cells:
        cell.metadata.pop("nbgrader", None)  # as after a visit to another editor
    marked = mark_cells(came_back, hidden=True, released=released)
    names = [cell.metadata.nbgrader.grade_id for cell in marked.cells if "nbgrader" in cell.metadata]
    assert sorted(names) == sorted(
        [f"{kind}-00-{k}" for kind in ("check", "exercise") for k in range(1, 5)] + ["answer-5"]
    )
    assert (
        marked.cells[find_exercises(marked)["00.3"][0]].source
        == released.cells[find_exercises(released)["00.3"][0]].source
    )


def test_an_answer_stays():
    content = mark_cells(read_notebook(list_notebooks("00")[0]), hidden=False)
    place = find_open_ended(content)[5] + 1
    content.cells[place].source = "We agreed on nine."
    marked = mark_cells(content, hidden=True, released=read_notebook(list_notebooks("00")[0]))
    assert marked.cells[find_open_ended(marked)[5] + 1].source == "We agreed on nine."


def hand_in(change):
    """Return what becomes of a student copy of notebook 00 that came back after a `change`."""
    content = mark_cells(read_notebook(list_notebooks("00")[0]), hidden=False)
    change(content.cells, {number: place for number, (place, _) in find_exercises(content).items()})
    return mark_cells(content, hidden=True, released=read_notebook(list_notebooks("00")[0]))


def merge(cells, first: int, last: int, kept: int) -> None:
    """Put the cells from `first` to `last` together, as an editor does: one of them lends its name and its marks."""
    cells[kept].source = "\n\n".join(cell.source for cell in cells[first : last + 1])
    cells[kept].cell_type = cells[first].cell_type
    cells[first : last + 1] = [cells[kept]]


@pytest.mark.parametrize("kept", [0, 1, 2], ids=["the first", "the grader's", "the last"])
def test_exercises_in_one_cell_are_checked_each_for_itself(kept):
    def change(cells, places):
        del cells[places["00.3"] + 2 : places["00.4"]]  # the text between
        merge(cells, places["00.3"], places["00.3"] + 2, places["00.3"] + kept)

    marked = hand_in(change)
    checks, exercises = find_checks(marked), find_exercises(marked)
    assert sorted(checks) == ["00.1", "00.2", "00.3", "00.4"]
    assert exercises["00.3"][0] == exercises["00.4"][0]
    for number, (place, check) in checks.items():
        assert place < check and f'"{number}", {exercises[number][1]})' in marked.cells[check].source
    assert len({cell.id for cell in marked.cells}) == len(marked.cells)


def test_an_answer_that_was_merged_with_its_question_stays():
    def change(cells, places):
        place = next(k for k, cell in enumerate(cells) if cell.get("id") == "answer-5")
        cells[place].source += "\nWe agreed on nine."
        merge(cells, place - 1, place, place - 1)

    marked = hand_in(change)
    assert marked.cells[find_open_ended(marked)[5] + 1].source.endswith("We agreed on nine.")


@pytest.mark.parametrize(
    "call, answer",
    [
        ('course.check("00.1", 5 / 6)', 5 / 6),
        ("course.check('00.1', mine)", "mine"),
        ('course.check( "00.1", round(number, 3) )  # (at last)', 0.833),
        ('course.check(\n    "00.1",\n    number,\n)', 0.8333),
        ('if number:\n    course.check("00.1", number);', 0.8333),
        ('# course.check("00.1", number)\ncourse.check("00.1", None)', None),
    ],
)
def test_what_the_check_was_given_is_what_the_grader_asks_for(call, answer):
    def change(cells, places):
        cells[places["00.1"]].source = f"number, mine = 0.8333, 'mine'\n{call}"

    marked = hand_in(change)
    (place,) = [k for k, cell in enumerate(marked.cells) if "course.check" in cell.source and "00.1" in cell.source]
    namespace = {"course": SimpleNamespace(check=lambda *given: None)}
    exec(marked.cells[place].source, namespace)
    assert namespace["macro_f1_with_fear"] == answer
    assert "macro_f1_with_fear)" in marked.cells[find_checks(marked)["00.1"][1]].source


def test_a_check_of_another_notebook_gets_no_points():
    marked = hand_in(lambda cells, places: cells.append(nbformat.v4.new_code_cell('course.check("01.1", 3)')))
    assert sorted(find_checks(marked)) == ["00.1", "00.2", "00.3", "00.4"]


@pytest.mark.parametrize(
    "files, students, refused",
    [
        (["group/anna/0.ipynb", "group/ben/0.ipynb"], ["group-anna", "group-ben"], 0),
        (["a b/0.ipynb", "a-b/0.ipynb", "c/0.ipynb"], ["a-b", "a-b", "c"], 2),
        (["a b/0.ipynb", "a-b/1.ipynb"], ["a-b", "a-b"], 2),  # two people, though each has another notebook
        (["😀/0.ipynb", "🎉/0.ipynb"], ["copy", "copy"], 2),
        (["anna_0.ipynb", "0_anna.ipynb", "anna_1.ipynb"], ["anna", "anna", "anna"], 2),
        (["Anna/0.ipynb", "anna_0.ipynb"], ["Anna", "anna"], 2),  # some systems tell no A from a
        (["0 (1).ipynb", "0-1.ipynb"], ["1", "1"], 2),
        (["anna/0.ipynb.txt", "ben/0.IPYNB", "carla/0.json", "dora_0.ipynb.json"], ["anna", "ben", "carla", "dora"], 0),
        (["anna/0.ipynb", "anna/1.ipynb", "anna/0 (1).ipynb"], ["anna", "anna"], 0),  # the newest counts
    ],
)
def test_no_copy_vanishes(files, students, refused, tmp_path):
    for file in files:
        number = re.search(r"[01]", file)[0]
        path = tmp_path / file.replace(number, list_notebooks(f"0{number}")[0].stem, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(make_notebook(f'course.check("0{number}.1", x)'), path.open("w"))
    copies = read_copies(tmp_path)
    assert sorted(copy.student for copy in copies) == students
    problems = [copy for copy in copies if copy.problem]
    assert len(problems) == refused
    for copy in problems:
        assert "rename one of" in copy.problem and str(copy.path.relative_to(tmp_path)) in copy.problem


def test_what_only_looks_like_a_copy_gets_a_row(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "00_start_here.html").write_text("<html>")
    (tmp_path / "anna" / "notes.txt").write_text("none")
    (tmp_path / "ben.ipynb").mkdir()
    (copy,) = read_copies(tmp_path)
    assert (copy.student, copy.notebook) == ("anna", "00_start_here")
    assert copy.problem.startswith("cannot be read as a notebook")
    older = tmp_path / "anna" / "00_start_here.ipynb"
    nbformat.write(make_notebook('course.check("00.1", x)'), older.open("w"))
    os.utime(older, (0, 0))
    assert [(copy.path, copy.problem) for copy in read_copies(tmp_path)] == [(older, "")]


def test_an_unknown_notebook_is_refused():
    with pytest.raises(SettingError, match="no notebook '77'"):
        list_notebooks("77")


needs_grader = pytest.mark.skipif(not GRADER.exists(), reason="nbgrader is not installed: `make grader` does it")
needs_walls = pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")


def start_grader(*arguments, **variables: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [str(GRADER), "-m", "classroom.grade", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@needs_grader
@pytest.mark.parametrize(
    "variables, said", [({}, "There is no notebook below"), ({"PATH": "/nowhere"}, "no bubblewrap")]
)
def test_what_cannot_be_graded_is_said_in_a_sentence(variables, said, tmp_path):
    if not variables and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    done = start_grader(tmp_path, "--to", tmp_path / "out", **variables)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and said in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.long
@needs_grader
@needs_walls
def test_a_class_of_thirty_is_graded_each_for_itself(tmp_path):
    """Right, wrong, empty, broken, endless, hostile: every state as it was made, and every file as it was."""
    handed_out = make_student_copy(list_notebooks("00")[0], tmp_path / "student")
    precious = tmp_path / "precious"
    precious.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        forbidden = [str(precious), str(tmp_path / "class"), str(tmp_path / "out")]
        expected = write_class(tmp_path / "class", handed_out, forbidden, server.getsockname()[1])
        before = {path: path.read_bytes() for path in (tmp_path / "class").rglob("*.ipynb")}
        done = start_grader(tmp_path / "class", "--to", tmp_path / "out", "--seconds", "60")
    assert done.returncode == 0, done.stderr
    assert precious.exists() and before == {p: p.read_bytes() for p in (tmp_path / "class").rglob("*.ipynb")}
    with open(tmp_path / "out" / "grades.csv", newline="", encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    found = {}
    for student, row in rows.items():
        states = {f"00.{k}": row[f"exercise {k}"] for k in range(1, 5)}
        if student == "prints-without-end":  # whichever limit it meets first, of time or of memory
            states = {number: "stopped" if state == "too long" else state for number, state in states.items()}
        found[student] = row["problem"] if row["problem"] else states
    assert found.keys() == expected.keys()
    wrong = {
        s: (e, found[s]) for s, e in expected.items() if found[s] != e and not (isinstance(e, str) and e in found[s])
    }
    assert not wrong
    for student, row in rows.items():
        if not row["problem"]:
            assert float(row["points"]) == list(expected[student].values()).count("right")
            page = (tmp_path / "out" / row["feedback"]).read_text(encoding="utf-8")
            assert "Correct" in page or not float(row["points"])
            assert "<script>alert(" not in page
