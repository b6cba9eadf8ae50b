"""What the book says of each notebook, read from the notebook itself: title, promise, objectives, needs, figures."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = re.search(
    r'^REPOSITORY = "(.+)"$', (ROOT / "helpers/assets/install.py").read_text(encoding="utf-8"), re.MULTILINE
)[1]
HOME = f"https://github.com/{REPOSITORY}"
GLOSSARY = "## Glossary\n"


@dataclass(frozen=True)
class Figure:
    """A picture of the gallery: its file in `figures/`, and what it shows to those who cannot see it."""

    file: str
    alt: str


@dataclass(frozen=True)
class Chapter:
    """A notebook as the book presents it."""

    path: Path
    title: str
    promise: str
    objectives: list[str]
    needs: str
    time: str
    figures: list[Figure]

    @property
    def number(self) -> str:
        """The notebook's number: "00"."""
        return self.path.name[:2]


def read_chapters(root: Path = ROOT) -> list[Chapter]:
    """Return the numbered notebooks of `root` in order, however many there are."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    return [_read_chapter(path, readme) for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def _read_chapter(path: Path, readme: str) -> Chapter:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = "".join(cells[0]["source"])
    bold = [" ".join(text.split()) for text in re.findall(r"\*\*(.+?)\*\*", first, re.DOTALL)]
    needs = re.search(r"(?:You need:|\*\*You need\*\*) (.+)", first)
    row = re.search(rf"\(notebooks/{re.escape(path.name)}\) \|.*\| (.+?) \|$", readme, re.MULTILINE)
    return Chapter(
        path=path,
        title=re.search(r"^# (.+)", first, re.MULTILINE)[1],
        promise=next((text for text in bold if len(text) > 60), ""),
        objectives=re.findall(r"^\d\. (.+?)[,.]?$", first, re.MULTILINE),
        needs=needs[1].split(" Words that are links")[0].split(" A word that is a link")[0] if needs else "",
        time=row[1] if row else "",
        figures=[*_find_figures(cells, path.name[:2], path.parent.parent)],
    )


def _find_figures(cells: list[dict], number: str, root: Path) -> Iterator[Figure]:
    for cell in cells:
        for tag in cell["metadata"].get("tags", []):
            file = f"{number}_{tag.removeprefix('figure-')}.png"
            if tag.startswith("figure-") and (root / "figures" / file).exists():
                yield Figure(file, cell["metadata"].get("alt", ""))


def read_glossary(root: Path = ROOT) -> dict[str, str]:
    """Return the course's terms and what they mean, as notebook 00 ends with them; the numbers of notebooks included."""
    (path,) = (root / "notebooks").glob("00_*.ipynb")
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if text.startswith(GLOSSARY):
            parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)[1:]
            return {term: " ".join(meaning.split()) for term, meaning in zip(parts[::2], parts[1::2], strict=True)}
    return {}


def find_terms_of(glossary: dict[str, str]) -> dict[str, list[str]]:
    """Return for each notebook's number the terms that the glossary sends there, in the glossary's order."""
    found: dict[str, list[str]] = {}
    for term, meaning in glossary.items():
        for number in re.findall(r"\d\d", meaning.rpartition("→")[2]):
            found.setdefault(number, []).append(term)
    return found
