"""Slides: every section has one, questions come before what answers them, and code stays in the notebook."""

import nbformat

from classroom.release import list_notebooks, read_notebook
from classroom.slides import pick_slides, write_slides


def make_notebook():
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    figure = nbformat.v4.new_output("display_data", data={"image/png": "AAAA", "text/plain": "<Figure>"})
    printed = nbformat.v4.new_output("stream", text="42\n")
    return nbformat.v4.new_notebook(
        cells=[
            text("# Title\n\n**A promise.**\n\nMuch more."),
            code("secret_setup = 1", outputs=[printed]),
            text("## 1 · First\n\nOne sentence. Another one.\n\n*Predict first:* how many? Think."),
            code("secret = 42", outputs=[printed]),
            code("secret_too = 43", outputs=[printed]),
            code("draw()", outputs=[figure]),
            text("Read it.\n\n**Check yourself**\n\n<details><summary>Why?</summary>Hidden answer.</details>"),
            text("## Glossary\n\nwords"),
        ]
    )


def test_a_slide_for_each_section_question_answer_figure_and_check():
    slides = pick_slides(make_notebook()).cells
    shown = [cell.source or cell.outputs[0].output_type for cell in slides]
    assert shown == [
        "# Title\n\n**A promise.**",
        "## 1 · First\n\nOne sentence.",
        "## Predict first\n\n### How many? Think.",
        "stream",
        "display_data",
        "## Check yourself\n\n1. Why?",
    ]
    assert [cell.metadata.slideshow.slide_type for cell in slides] == ["slide", "slide", *["subslide"] * 4]


def test_the_page_shows_no_code_and_no_answers(tmp_path):
    nbformat.write(make_notebook(), tmp_path / "77_made_up.ipynb")
    page = write_slides(tmp_path / "77_made_up.ipynb", tmp_path).read_text(encoding="utf-8")
    assert "How many?" in page and "reveal.js" in page
    assert "secret" not in page and "Hidden answer" not in page


def test_every_notebook_has_slides():
    for path in list_notebooks():
        slides = pick_slides(read_notebook(path)).cells
        assert len(slides) > 15
        assert not any("glossary" in cell.source.lower().splitlines()[0] for cell in slides if cell.source)
