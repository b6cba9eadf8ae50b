"""Check the links of every Markdown file and notebook: `python tests/check_links.py [folder]`.

Relative links and anchors must exist. External links are checked for their form alone: nothing is downloaded.
One line per broken link; the exit status is 1 if there is any.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {"runs", "node_modules", "__pycache__", "_build"}  # and hidden folders, virtual environments, data/cache
UNCHECKED_SCHEMES = {"mailto", "data", "attachment"}

DESTINATION = r"(<[^<>\n]*>|(?:[^\s()<>]|\([^\s()]*\))*)"
TITLE = r"""(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?"""
LINKS = (
    re.compile(r"\]\(\s*" + DESTINATION + TITLE + r"\s*\)"),  # [text](here "title"), ![text](here)
    re.compile(r"^ {0,3}\[(?!\^)[^\]\n]+\]:[ \t]*" + DESTINATION, re.MULTILINE),  # [name]: here
    re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src)\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE),
    re.compile(r"<(https?:[^<>\n]*)>"),
)
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
HIDDEN = (
    FENCE,
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n\n).)*?(?<!`)\1(?!`)", re.DOTALL),
)
ANCHOR = re.compile(r"<[a-z][a-z0-9]*\b[^>]*?\b(?:id|name)\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.MULTILINE)


def find_documents(root: Path) -> list[Path]:
    """Return the Markdown files and notebooks under `root`, sorted, without those that a clone would not contain."""
    found = []
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if not _is_skipped(here / name, root)]
        found += [here / name for name in names if name.endswith((".md", ".ipynb"))]
    return sorted(found)


def _is_skipped(folder: Path, root: Path) -> bool:
    hidden = folder.name.startswith(".") and folder.name != ".github"
    environment = (folder / "pyvenv.cfg").exists()
    return hidden or environment or folder.name in SKIPPED or folder == root / "data" / "cache"


def read_parts(path: Path) -> list[tuple[str, str]]:
    """Return a document's Markdown as pairs of place and text: one for a file, one per Markdown cell for a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return [("line", text)]
    cells = enumerate(json.loads(text)["cells"], start=1)
    return [
        (f"cell {number}, line", "".join(cell["source"])) for number, cell in cells if cell["cell_type"] == "markdown"
    ]


def find_links(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and destination of every link in Markdown `text`; code and comments hold none."""
    text = _blank(text, HIDDEN)
    for pattern in LINKS:
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start(1)) + 1, match[1].removeprefix("<").removesuffix(">").strip()


def _blank(text: str, patterns) -> str:
    """Return `text` with every match replaced by its line breaks, so that line numbers stay."""
    for pattern in patterns:
        text = pattern.sub(lambda match: "\n" * match[0].count("\n"), text)
    return text


def find_anchors(path: Path) -> set[str]:
    """Return what may follow `#` in a link to this document: its headings' names and its HTML ids."""
    anchors, make_anchor = set(), _notebook_anchor if path.suffix == ".ipynb" else _github_anchor
    for _, text in read_parts(path):
        text = _blank(text, HIDDEN[:2])
        anchors |= set(ANCHOR.findall(text))
        for heading in HEADING.findall(text):
            name = anchor = make_anchor(heading)
            repeated = 0
            while anchor in anchors:
                repeated += 1
                anchor = f"{name}-{repeated}"
            anchors.add(anchor)
    return anchors


def _plain(heading: str) -> str:
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # a link's text
    return re.sub(r"<[^>]+>|[`*]|\b_|_\b", "", heading).strip()


def _github_anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", _plain(heading).lower()).replace(" ", "-")


def _notebook_anchor(heading: str) -> str:
    return re.sub(r"\s", "-", _plain(heading))  # Jupyter keeps case and punctuation


def find_fault(link: str, document: Path, root: Path) -> str | None:
    """Return what is wrong with a link in `document`, or None."""
    try:
        parts = urlsplit(link)
        host = f"{parts.hostname}:{parts.port or 0}"  # raises ValueError for a port that is none
    except ValueError:
        return "not a valid address"
    if parts.scheme in ("http", "https"):
        well_formed = re.fullmatch(r"([\w-]+(\.[\w-]+)+|localhost):\d+", host) and " " not in link
        return None if well_formed else "not a valid address"
    if parts.scheme or parts.netloc:
        return None if parts.scheme in UNCHECKED_SCHEMES else f"unknown scheme {parts.scheme!r}"
    return _find_relative_fault(unquote(parts.path), unquote(parts.fragment), document, root)


def _find_relative_fault(path: str, anchor: str, document: Path, root: Path) -> str | None:
    if not path and not anchor:
        return "empty link"
    start = root if path.startswith("/") else document.parent
    target = (start / path.lstrip("/")).resolve() if path else document.resolve()
    if not target.is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not target.exists():
        return "no such file"
    if target.is_dir() and anchor:
        target /= "README.md"
    return _find_anchor_fault(anchor, target) if anchor else None


def _find_anchor_fault(anchor: str, target: Path) -> str | None:
    if target.suffix in (".md", ".ipynb"):
        return None if target.exists() and anchor in find_anchors(target) else "no such anchor"
    lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor)  # a place in a source file, as GitHub writes it
    if not lines:
        return "no such anchor"
    last = int(lines[2] or lines[1])
    return None if last <= len(target.read_text(encoding="utf-8").splitlines()) else "no such line"


def check_links(root: Path = ROOT) -> list[str]:
    """Return one line per broken link under `root`: document, place, link, and what is wrong with it."""
    broken = []
    for document in find_documents(root):
        for place, text in read_parts(document):
            for line, link in sorted(find_links(text)):
                if fault := find_fault(link, document, root):
                    broken.append(f"{document.relative_to(root).as_posix()}, {place} {line}: {link or '()'}: {fault}")
    return broken


def main() -> int:
    """Print the broken links of the folder named on the command line, or of this repository; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")
    broken = check_links(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    print("\n".join(broken) or "every link leads somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
