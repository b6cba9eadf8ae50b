"""Slides of a notebook: `make slides NB=01` takes its headings, predictions, stored figures and check questions.

A slide for each section, and below it what is asked and shown there; code and explanations stay in the notebook. The page
loads reveal.js from the network; for a room without one, print it to PDF beforehand, from its address with `?print-pdf`.
"""

import argparse
import re
from pathlib import Path

import nbformat

from classroom.lesson import HEADING, LINK, PREDICT
from classroom.release import list_notebooks, read_notebook
from helpers.files import ROOT, atomic_path

SUMMARY = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
REVEAL = "https://unpkg.com/reveal.js@4.6.1"
LONGEST = 1500  # characters of a printed output that one can still read on a wall


def pick_slides(content) -> nbformat.NotebookNode:
    """Return a notebook of the slides: sections, questions, and what the cells show that answers them."""
    slides, section, asked = [], False, False
    for cell in content.cells:
        if cell.cell_type == "code":
            shown = _pick_shown(cell)
            if section and shown and (asked or "display_data" in {output.output_type for output in shown}):
                slides.append(_make_slide(nbformat.v4.new_code_cell(outputs=shown), "subslide"))
                asked = False
            continue
        start, *parts = HEADING.split(cell.source)
        texts = [("", start), *zip(parts[::2], parts[1::2], strict=True)]
        for title, text in texts:
            section = section or bool(title)
            if title == "Glossary":
                break
            found = _pick_text(title, text) if section else _pick_title(text)
            asked = asked or any(kind == "question" for kind, _ in found)
            slides += [
                _make_slide(nbformat.v4.new_markdown_cell(t), "slide" if kind == "section" else "subslide")
                for kind, t in found
            ]
    return nbformat.v4.new_notebook(cells=slides, metadata=content.metadata)


def _pick_title(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith(("# ", "**", ">"))]
    return [("section", "\n\n".join(lines))] if lines and lines[0].startswith("#") else []


def _pick_text(title: str, text: str) -> list[tuple[str, str]]:
    """Return the slides of a piece of text: a section with its first sentence, each question, and the check."""
    plain, slides = LINK.sub(r"\1", text), []
    if title:
        first = next((p for p in plain.strip().split("\n\n") if p and p[0].isalpha()), "")
        slides.append(("section", f"## {title}\n\n{re.split(r'(?<=[.?!:]) ', first)[0]}"))
    slides += [
        ("question", f"## Predict first\n\n### {question[0].upper()}{question[1:]}")
        for question in PREDICT.findall(plain)
    ]
    if questions := SUMMARY.findall(plain.split("**Check yourself**", 1)[-1]) if "**Check yourself**" in plain else []:
        slides.append(("check", "## Check yourself\n\n" + "\n".join(f"1. {question}" for question in questions)))
    return slides


def _pick_shown(cell) -> list:
    """Return the outputs that a wall can show: figures, tables, a few printed lines."""
    return [
        output
        for output in cell.outputs
        if output.output_type in ("display_data", "execute_result")
        or (output.output_type == "stream" and len(output.text) < LONGEST)
    ]


def _make_slide(cell, kind: str):
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def write_slides(path: Path, folder: Path) -> Path:
    """Write the slides of the notebook `path` as one page into `folder`; return its path."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(
        reveal_url_prefix=REVEAL, exclude_input=True, exclude_output_prompt=True, reveal_theme="white"
    )
    page, _ = exporter.from_notebook_node(pick_slides(read_notebook(path)))
    with atomic_path(folder / f"{path.stem}.slides.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / f"{path.stem}.slides.html"


def main() -> None:
    """Write the slides of all notebooks, or of one."""
    parser = argparse.ArgumentParser(prog="make slides", description=__doc__)
    parser.add_argument("number", nargs="?", help="the notebook's number, such as 01")
    parser.add_argument("--to", type=Path, default=ROOT / "runs" / "slides")
    asked = parser.parse_args()
    for path in list_notebooks(asked.number):
        print(write_slides(path, asked.to))


if __name__ == "__main__":
    main()
