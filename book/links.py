"""Links of the repository's documents, as they must read in the book: to a page of it, or to the file on GitHub."""

import html
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from book.chapters import HOME, ROOT

CODE = re.compile(r"(^ {0,3}```.*?^ {0,3}```[ \t]*$|(?<!`)`[^`\n]+`)", re.MULTILINE | re.DOTALL)
MARKDOWN_LINK = re.compile(r"\]\(([^\s()]+(?:\([^\s()]*\))?)\)")
HTML_LINK = re.compile(r"(?<=href=\")([^\"]+)(?=\")")
FOLDED = re.compile(r"^<details><summary>.*</details>$", re.MULTILINE)


def make_slug(heading: str) -> str:
    """Return the anchor that the book gives a heading, which is GitHub's: lower case, punctuation dropped."""
    plain = re.sub(r"<[^>]+>|[`*]", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip()
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


@dataclass(frozen=True)
class Map:
    """Where things are in the book: `pages` maps a file of the repository to its page, `terms` are the glossary's anchors."""

    pages: dict[Path, str]
    terms: set[str] = field(default_factory=set)
    root: Path = ROOT

    def find(self, link: str, document: Path, here: str | None = None) -> str:
        """Return what `link` of the repository's `document` has to be in the book, on the page `here` (by default its own)."""
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:|//", link):
            return link
        target = (document.parent / unquote(path)).resolve() if path else document.resolve()
        given, anchor = anchor, make_slug(unquote(anchor))  # a notebook's own anchors keep case and punctuation
        page, here = self.pages.get(target), here or self.pages[document]
        if target.name.startswith("00_") and anchor in self.terms:
            page = "glossary.md"
        if page:
            away = "" if page == here else os.path.relpath(page, os.path.dirname(here) or ".").replace(os.sep, "/")
            return away + (f"#{anchor}" if anchor else "")
        inside = target.relative_to(self.root.resolve()).as_posix()
        kind = "tree" if target.is_dir() else "blob"
        return f"{HOME}/{kind}/main/{inside}" + (f"#{given}" if given else "")

    def rewrite(self, text: str, document: Path, here: str | None = None) -> str:
        """Return a `document`'s Markdown, to stand on the page `here`, with links as the book needs them; code stays."""
        text = FOLDED.sub(lambda match: mark_code(match[0]), text)
        parts = CODE.split(text)
        for i in range(0, len(parts), 2):
            parts[i] = MARKDOWN_LINK.sub(lambda match: f"]({self.find(match[1], document, here)})", parts[i])
            parts[i] = HTML_LINK.sub(lambda match: self._find_from_html(match[1], document, here), parts[i])
        return "".join(parts)

    def _find_from_html(self, link: str, document: Path, here: str | None) -> str:
        found = self.find(link, document, here)
        return found if "://" in found else re.sub(r"\.(md|ipynb)(?=#|$)", ".html", found)


def mark_code(folded: str) -> str:
    """Return a folded answer, which is HTML, with what stands between backticks as code: Markdown does not look into it."""
    return re.sub(r"`([^`]+)`", lambda match: f"<code>{html.escape(html.unescape(match[1]))}</code>", folded)
