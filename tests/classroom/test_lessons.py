"""The runbooks: what is counted follows the notebook, cuts fit into their minutes, and what a teacher wrote stays."""

import nbformat
import pytest

from classroom.lesson import (
    BEGIN,
    CUT,
    END,
    TEACHING,
    add_up_cuts,
    list_elsewhere,
    read_seconds,
    read_sections,
    update_runbook,
    write_lesson,
)
from classroom.release import list_notebooks, read_notebook
from helpers.exceptions import SettingError
from helpers.files import read_json, write_json

WITH_RUNBOOK = [path for path in list_notebooks() if (TEACHING / f"{path.stem[:2]}.md").exists()]
each_runbook = pytest.mark.parametrize("path", WITH_RUNBOOK, ids=lambda path: path.stem)


def make_cells(*sources: str):
    make = {"#": nbformat.v4.new_markdown_cell, ">": nbformat.v4.new_code_cell}
    cells = [make[source[0]](source[1:].strip(), id=f"c{k}") for k, source in enumerate(sources)]
    return nbformat.v4.new_notebook(cells=cells)


def test_sections_are_counted():
    content = make_cells(
        "# # Title\none two",
        ">x = 1",
        "# ## 1 · First\nthree [four](http://x) five\n\n*Predict first:* so many? And why? Guess.\n\n<details>no word</details>",
        ">y = 1",
        "# **Check yourself**\n\n## 2 · Second\nsix",
        '>course.check("00.1", x)',
        "# ## Glossary\nmany words",
    )
    beginning, first, second = read_sections(content, {"c1": 30.0, "c3": 60.0})
    assert (beginning.title, beginning.cells, beginning.seconds) == ("Beginning", 1, 30.0)
    assert (first.number, first.cells, first.checks, first.predictions) == ("1", 1, 1, ["so many? And why?"])
    assert first.words == 12  # neither what is folded nor an address
    assert (second.words, second.exercises) == (1, 1)
    assert first.minutes == pytest.approx(first.words / 150 + 1 + 1 + 3 + 1)


@each_runbook
def test_a_runbook_is_about_its_notebook_as_it_is(path):
    """Figures may be those of an earlier state; sections, objectives, predictions and stumbling blocks may not be."""
    runbook = (TEACHING / f"{path.stem[:2]}.md").read_text(encoding="utf-8")
    stored = runbook.split(BEGIN)[1].split(END)[0]
    now = write_lesson(path).split(BEGIN)[1].split(END)[0]

    def leave_out_figures(text: str) -> list[str]:
        lines = [line for line in text.splitlines() if not line.startswith(("All of it", "On ", "Minutes in class"))]
        return [line.split("|")[1] if line.startswith("|") else line for line in lines]

    assert leave_out_figures(stored) == leave_out_figures(now), "run `make lessons`"
    assert stored.count("\n1. ") == 1 and "Exercise 4" in stored
    assert len(CUT.findall(runbook)) == 2
    add_up_cuts(runbook, read_sections(read_notebook(path), read_seconds(path.stem)[0]))
    assert runbook.count("**") / 2 >= 6  # questions to discuss


def test_what_a_teacher_wrote_stays(tmp_path):
    notebook = list_notebooks("00")[0]
    file = tmp_path / "00.md"
    file.write_text(f"Mine.\n\n<!-- 45 minutes: 3 4 -->\n\n{BEGIN}\nold\n{END}\nMine too.\n", encoding="utf-8")
    update_runbook(notebook, tmp_path)
    first = file.read_text(encoding="utf-8")
    update_runbook(notebook, tmp_path)
    assert file.read_text(encoding="utf-8") == first
    assert first.startswith("Mine.") and first.endswith("Mine too.\n") and "old" not in first
    assert "**45 minutes** (" in first and "3 Read the data; 4 A classifier" in first


@pytest.mark.parametrize("cut, said", [("5 minutes: 3 4", "more than 5"), ("45 minutes: 3 77", "section '77'")])
def test_a_cut_that_cannot_be_is_refused(cut, said):
    sections = read_sections(read_notebook(list_notebooks("00")[0]), {})
    with pytest.raises(SettingError, match=said):
        add_up_cuts(f"<!-- {cut} -->", sections)


def test_a_notebook_without_a_runbook_is_passed_over(tmp_path):
    assert update_runbook(list_notebooks("00")[0], tmp_path) is None


def test_a_machine_half_as_fast_computes_twice_as_long(tmp_path, monkeypatch):
    import classroom.lesson as lesson

    monkeypatch.setattr(lesson, "TEACHING", tmp_path)
    assert list_elsewhere("01_modernbert_tutorial") == []
    entry = read_json(lesson.DATA / "work.json")["01_modernbert_tutorial"]["laptop"]
    slow = {part: 2 * entry["probe"][part] for part in ("training", "python")}
    write_json(tmp_path / "machines.json", {"an old laptop": slow})
    minutes = 2 * sum(sum(parts) for parts in entry["cells"].values()) / 60
    assert list_elsewhere("01_modernbert_tutorial") == [
        f"On an old laptop, by its probe: {minutes:.1f} minutes of computing."
    ]


def test_a_notebook_that_was_measured_at_half_the_speed_counts_half_its_seconds(tmp_path, monkeypatch):
    import classroom.lesson as lesson

    fast = {"machine": "this one", "training": 0.2, "python": 0.01, "cores": 2.0}
    slow = fast | {"training": 0.4, "python": 0.02}
    entry = {"laptop": {"probe": fast, "cells": {"a": [3.0, 1.0]}}}
    write_json(tmp_path / "work.json", {"00": entry, "01": {"laptop": {"probe": slow, "cells": {"a": [6.0, 2.0]}}}})
    monkeypatch.setattr(lesson, "DATA", tmp_path)
    assert read_seconds("00") == read_seconds("01") == ({"a": 4.0}, "this one, 0.20 s for the probe's step of training")


@pytest.mark.long
def test_a_machine_with_avx2_alone_computes_in_fp32(tmp_path, monkeypatch):
    """10 s."""
    import classroom.lesson as lesson

    monkeypatch.setattr(lesson, "TEACHING", tmp_path)
    probe = read_json(lesson.add_machine("an older laptop", avx2=True))["an older laptop"]
    assert "fp32" in probe["machine"] and probe["training"] > 0 < probe["python"]
