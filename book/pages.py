"""The book's pages as Markdown: a notebook made ready, and what is drawn up from all of them."""

import re
from pathlib import Path

from book.chapters import GLOSSARY, HOME, REPOSITORY, Chapter, find_terms_of
from book.links import Map, make_slug

COLAB = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks"
BADGE = re.compile(r"^\[!\[Open In Colab\].*$", re.MULTILINE)
OWN_PAGE = "{}\nIn the book, the glossary has [a page of its own](../glossary.md).\n"
PLUMBING = "importlib.util.find_spec"  # what the first code cell does; it is the same everywhere


def prepare_notebook(content: dict, path: Path, places: Map) -> dict:
    """Return a notebook as Sphinx shall read it: links of the book, pictures described, the installing cell folded."""
    for cell in content["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            alt = cell["metadata"].get("alt")
            cell["metadata"] |= {"mystnb": {"image": {"alt": alt}}} if alt else {}
            cell["metadata"]["tags"] = [
                *cell["metadata"].get("tags", []),
                *(["hide-input"] if PLUMBING in text else []),
            ]
        elif text.startswith(GLOSSARY):
            cell["source"] = OWN_PAGE.format(GLOSSARY)
        else:
            cell["source"] = BADGE.sub(lambda _: write_ways(path.name), places.rewrite(text, path))
    return content


def write_ways(name: str) -> str:
    """Return the line below a chapter's title: what a reader can do with the notebook."""
    return (
        f'<p class="ways"><a class="colab" href="{COLAB}/{name}">Open in Colab</a> '
        f'<a class="download" href="../download/{name}" download>Download the notebook</a> '
        f'<a href="{HOME}/blob/main/notebooks/{name}">On GitHub</a></p>'
    )


def add_lists(text: str, chapters: list[Chapter], glossary: dict[str, str], places: Map) -> str:
    """Return a page's Markdown with what is drawn up from the notebooks at its marks, in place of what stands there on
    GitHub: `<!-- book: NAME -->`, or `<!-- book: NAME --> … <!-- /book -->`."""
    lists = {
        "cards": lambda: draw_cards(chapters),
        "contents": lambda: write_contents(chapters, places),
        "objectives": lambda: list_objectives(chapters, places),
        "ideas": lambda: draw_map(chapters, glossary),
    }
    return re.sub(
        r"<!-- book: (\w+) -->(?:(?:(?!<!--).)*<!-- /book -->)?", lambda match: lists[match[1]](), text, flags=re.DOTALL
    )


def draw_cards(chapters: list[Chapter]) -> str:
    """Return one card per chapter: picture, title, promise, time on a laptop."""
    cards = []
    for chapter in chapters:
        picture = f"![{chapter.figures[0].alt}](figures/{chapter.figures[0].file})\n\n" if chapter.figures else ""
        time = f"\n\n*{chapter.time} on two CPU cores*" if chapter.time else ""
        link = f"**[{chapter.title}](notebooks/{chapter.path.name})**"
        cards.append(f":::{{container}} chapter\n{picture}{link}\n\n{chapter.promise}{time}\n:::")
    return "::::{container} chapters\n" + "\n\n".join(cards) + "\n::::"


def write_contents(chapters: list[Chapter], places: Map) -> str:
    """Return the tables of contents from which the side bar and the order of the pages come."""
    solutions = sorted(page for page in places.pages.values() if page.startswith("solutions/"))
    parts = {
        "The chapters": [f"notebooks/{chapter.path.stem}" for chapter in chapters],
        "Beside the chapters": [
            "Who should read what <curriculum>", "glossary", "gallery", "The corpus <corpus>",
            "Commands, results, speed <readme>",
        ],
        "Solutions": [f"Notebook {Path(page).stem} <{page.removesuffix('.md')}>" for page in solutions],
    }  # fmt: skip
    return "\n\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```"])
        for caption, entries in parts.items()
    )


def list_objectives(chapters: list[Chapter], places: Map) -> str:
    """Return what each chapter teaches and needs, in the words of its first page."""
    parts = []
    for chapter in chapters:
        rows = [
            f"### [{chapter.title}]({chapter.path.name})",
            "You will learn\n\n" + "\n".join(f"- {line}" for line in chapter.objectives),
            f"*It needs:* {chapter.needs}" if chapter.needs else "",
            f"*It runs* {chapter.time} on two CPU cores." if chapter.time else "",
        ]
        parts.append(places.rewrite("\n\n".join(filter(None, rows)), chapter.path, "curriculum.md"))
    return "\n\n".join(parts)


def draw_map(chapters: list[Chapter], glossary: dict[str, str]) -> str:
    """Return the map of ideas: a table of the glossary's terms, and in which chapter each is taught."""
    numbers, terms = [chapter.number for chapter in chapters], find_terms_of(glossary)
    head = ["| idea | " + " | ".join(numbers) + " |", "|---" * (len(numbers) + 1) + "|"]
    rows = [
        f"| [{term}](glossary.md#{make_slug(term)}) | "
        + " | ".join("●" if term in terms.get(number, []) else "" for number in numbers)
        + " |"
        for term in glossary
    ]
    return "\n".join(head + rows)


def draw_gallery(chapters: list[Chapter]) -> str:
    """Return the page of all figures, chapter by chapter, each with what it shows."""
    parts = ["# Gallery", "Every picture was drawn by the run that the chapter stores; its text says what it shows."]
    for chapter in chapters:
        if chapter.figures:
            parts.append(f"## [{chapter.title}](notebooks/{chapter.path.name})")
        parts += [
            f":::{{figure}} figures/{figure.file}\n:alt: {figure.alt}\n\n{figure.alt}\n:::"
            for figure in chapter.figures
        ]
    return "\n\n".join(parts) + "\n"


def write_glossary(glossary: dict[str, str], chapters: list[Chapter]) -> str:
    """Return the glossary as a page, its numbers as links to the chapters that teach the term."""
    pages = {chapter.number: f"notebooks/{chapter.path.name}" for chapter in chapters}
    parts = ["# Glossary", "The number says which chapter teaches the term."]
    for term, meaning in glossary.items():
        text, arrow, numbers = meaning.rpartition("→")
        linked = re.sub(
            r"\d\d", lambda match: f"[{match[0]}]({pages[match[0]]})" if match[0] in pages else match[0], numbers
        )
        parts.append(f"## {term}\n\n{text}{arrow}{linked}")
    return "\n\n".join(parts) + "\n"
