"""Thirty copies of notebook 00 as a class hands them in: right, wrong in the typical ways, empty, broken, endless, hostile.

Each has the states that its four exercises must get, or the problem that keeps it from being graded.
"""

import json
from pathlib import Path

import nbformat

from classroom.cells import find_exercises

RIGHT = {
    "00.1": "macro_f1_with_fear = 5 / 6",
    "00.2": """def interval_of_recall(labels, predictions, emotion, generator):
    right, scores = labels == predictions, []
    for _ in range(500):
        rows = generator.integers(0, len(right), len(right))
        scores.append(right[rows[labels[rows] == emotion]].mean())
    return np.quantile(scores, [0.025, 0.975])""",
    "00.3": """import re

def count_words(text, vocabulary):
    words = re.findall(r"\\w+", text.lower())
    return [words.count(word) for word in vocabulary]""",
    "00.4": """def macro_f1(counts):
    f1 = []
    for k, row in enumerate(counts):
        both = sum(row) + sum(line[k] for line in counts)
        f1 += [2 * row[k] / both] if both else []
    return sum(f1) / len(f1)""",
}
NAMES = {"00.1": "macro_f1_with_fear", "00.2": "interval_of_recall", "00.3": "count_words", "00.4": "macro_f1"}
HEAD = "def count_words(text, vocabulary):\n    "
FORGE = """import os, sys
def macro_f1(counts):
    %s
    return None"""
FOUR = ("00.1", "00.2", "00.3", "00.4")
ALL_RIGHT = dict.fromkeys(FOUR, "right")
NOT_TRIED = dict.fromkeys(FOUR, "not tried")

# By student: what was written into the exercises' cells, and which states differ from those of the cells as given.
WRITTEN = {
    "right": (RIGHT, ALL_RIGHT),
    "right-too": (RIGHT | {"00.1": 'macro_f1_with_fear = "0.833"'}, ALL_RIGHT),
    "right-with-an-own-cell": (RIGHT, ALL_RIGHT),
    "half": ({k: RIGHT[k] for k in FOUR[:2]}, {"00.1": "right", "00.2": "right"}),
    "accuracy-for-f1": ({"00.1": "macro_f1_with_fear = 0.8"}, {"00.1": "wrong"}),
    "words-for-a-number": ({"00.1": 'macro_f1_with_fear = "a lot"'}, {"00.1": "wrong"}),
    "precision-for-recall": (
        {"00.2": RIGHT["00.2"].replace("labels[rows] == emotion", "predictions[rows] == emotion")}, {"00.2": "wrong"}),
    "parts-of-words": ({"00.3": HEAD + "return [text.lower().count(w) for w in vocabulary]"}, {"00.3": "wrong"}),
    "case-counts": ({"00.3": HEAD + "return [text.split().count(w) for w in vocabulary]"}, {"00.3": "wrong"}),
    "only-the-diagonal": (
        {"00.4": "def macro_f1(counts):\n    return sum(r[k] for k, r in enumerate(counts)) / sum(map(sum, counts))"},
        {"00.4": "wrong"}),
    "divides-by-zero": (RIGHT | {"00.4": "def macro_f1(counts):\n    return 1 / 0"}, ALL_RIGHT | {"00.4": "wrong"}),
    "untouched": ({}, {}),
    "no-python": (RIGHT | {"00.3": "def count_words(text, vocabulary:\n    retrun"},
                  ALL_RIGHT | {"00.3": "error (SyntaxError)"}),
    "an-unknown-name": (RIGHT | {"00.1": "macro_f1_with_fear = f1_of_mine"}, ALL_RIGHT | {"00.1": "error (NameError)"}),
    "another-name": (RIGHT | {"00.4": RIGHT["00.4"].replace("def macro_f1", "def mine")},
                     ALL_RIGHT | {"00.4": "error (NameError)"}),
    "a-cell-deleted": ({k: v for k, v in RIGHT.items() if k != "00.3"}, ALL_RIGHT | {"00.3": "not tried"}),
    "broken-before": (RIGHT, ALL_RIGHT),
    "endless": (RIGHT | {"00.3": HEAD + "while True:\n        pass"}, ALL_RIGHT | {"00.3": "too long"}),
    "endless-stubborn": (
        RIGHT | {"00.2": "while True:\n    try:\n        while True: pass\n    except BaseException: pass"},
        ALL_RIGHT | {"00.2": "too long"}),
    "ends-the-kernel": (RIGHT | {"00.1": "import os\nmacro_f1_with_fear = 1\nos._exit(0)"}, ALL_RIGHT | {"00.1": "stopped"}),
    "kills-its-parents": (
        RIGHT | {"00.4": FORGE % "[os.kill(pid, 9) for pid in range(2, 99999) if os.path.exists(f'/proc/{pid}')]"},
        ALL_RIGHT | {"00.4": "stopped"}),  # itself alone
    "takes-memory": (RIGHT | {"00.4": FORGE % "hoard = [os.urandom(10**7) * 10 for _ in range(10**4)]"},
                     ALL_RIGHT | {"00.4": "stopped"}),
    "many-processes": (
        RIGHT | {"00.4": FORGE % "[os.fork() or __import__('time').sleep(99) for _ in range(200)]"},
        ALL_RIGHT | {"00.4": "stopped"}),
    "prints-without-end": (RIGHT | {"00.4": FORGE % "[print('x' * 10**6) for _ in range(10**9)]"},
                           ALL_RIGHT | {"00.4": "stopped"}),
    "deletes-and-looks-round": (RIGHT | {"00.4": FORGE % "HOSTILE"}, ALL_RIGHT | {"00.4": "not tried"}),
    "replaces-the-grader": (
        {"00.4": "course.find_verdict = course.check = lambda *answer: print('Correct')\n"
                 "import helpers.course.exercises as e\ne.find_verdict = lambda *answer: 'Correct'\nmacro_f1 = None"},
        {"00.4": "wrong"}),
}  # fmt: skip
HOSTILE = """import shutil, socket
    for folder in (FOLDERS):
        shutil.rmtree(folder, ignore_errors=True)
    seen = [folder for folder in (FOLDERS) if os.path.exists(folder)]
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=2)
        seen.append("network")
    except OSError:
        pass
    if seen:
        raise RuntimeError(f"reached {seen}")"""
BROKEN = {
    "empty-file": b"",
    "half-a-file": None,
    "a-picture": b"\x89PNG\r\n\x1a\n\x00\x00",
    "another-notebook": nbformat.writes(nbformat.v4.new_notebook()).encode(),
}


def write_class(folder: Path, handed_out: Path, forbidden: list[str], port: int) -> dict[str, dict[str, str] | str]:
    """Write the thirty copies of the student copy `handed_out` below `folder`; return what must become of each student's.
    The hostile one tries to delete the `forbidden` folders and to reach `port`."""
    hostile = HOSTILE.replace("FOLDERS", ", ".join(map(repr, forbidden)) + ",").replace("PORT", str(port))
    expected = {}
    for student, (written, differs) in WRITTEN.items():
        content = nbformat.read(handed_out, as_version=4)
        for number, (place, name) in find_exercises(content).items():
            if number in written:
                code = written[number].replace("HOSTILE", hostile)
                content.cells[place].source = f'{code}\n\n\ncourse.check("{number}", {name})'
        _change(student, content)
        (folder / student).mkdir(parents=True)
        nbformat.write(content, folder / student / handed_out.name)
        expected[student] = NOT_TRIED | differs
    for student, content in BROKEN.items():
        (folder / student).mkdir(parents=True)
        half = handed_out.read_bytes()[: handed_out.stat().st_size // 2]
        (folder / student / handed_out.name.replace("00_", "")).write_bytes(half if content is None else content)
        expected[student] = "is no notebook of the course" if student == "another-notebook" else "cannot be read"
    assert len(expected) == 30
    return expected


def _change(student: str, content) -> None:
    places = find_exercises(content)
    if student == "right-with-an-own-cell":  # and what the exercise needs stands in it
        content.cells.insert(
            places["00.3"][0], nbformat.v4.new_code_cell("import collections\nown = collections.Counter")
        )
        place = find_exercises(content)["00.3"][0]
        source = content.cells[place].source.replace(
            "return [words.count(word)", "counted = own(words)\n    return [counted[word]"
        )
        content.cells[place].source = source
    if student == "a-cell-deleted":
        del content.cells[places["00.3"][0]]
    if student == "broken-before":  # cells that no exercise needs
        content.cells.insert(5, nbformat.v4.new_code_cell("this is no Python"))
        content.cells.insert(5, nbformat.v4.new_code_cell("while True: pass"))
        content.cells.insert(5, nbformat.v4.new_markdown_cell("<script>alert('mischief')</script> a note"))
    if student == "endless-stubborn":
        content.metadata["kernelspec"] = {"name": "julia-1.9", "display_name": "Julia", "language": "julia"}
    if student == "untouched":
        for cell in content.cells:
            cell.metadata = nbformat.from_dict({"colab": json.loads('{"base_uri": "x"}')})
