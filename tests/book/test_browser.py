"""The book in a real browser, page by page; and that the looker sees the faults it looks for.

It needs the libraries of `make book` (.venv-book) and a Chromium; without them these tests are skipped.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.assets.install import REPOSITORY
from helpers.files import ROOT

PYTHON = next((p for p in (ROOT / ".venv-book/bin/python", ROOT / ".venv-book/Scripts/python.exe") if p.exists()), None)
BROWSER = any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")))
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PYTHON is None, reason="no .venv-book: `make book` makes it"),
    pytest.mark.skipif(not BROWSER, reason="no Chromium: `apt-get install chromium`, or Chrome"),
]
GOOD = (
    "<!doctype html><html lang=en><title>t</title><main><h1 id=a>Title</h1><p><a href='#a'>there</a></p></main></html>"
)
FAULTS = {
    "console": "<script>console.error('broken')</script>",
    "outside": "<script src='https://example.org/x.js'></script>",
    "missing": "<img src='none.png' alt='nothing'>",
    "headings": "<h1>Another</h1>",
    "axe": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='>",
    "phone": "<div style='width:900px'>wide</div>",
}


def look(folder: Path | None = None) -> list[list[str]]:
    """Return the faults that the looker prints for a site, by default the book's, as lists of page, kind and words."""
    command = [str(PYTHON), "-m", "book.look", *([str(folder)] if folder else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    faults = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == bool(faults), done.stderr
    return faults


def test_a_good_page_has_no_fault(tmp_path):
    (tmp_path / "index.html").write_text(GOOD)
    assert look(tmp_path) == []


def test_each_planted_fault_is_found(tmp_path):
    for kind, planted in FAULTS.items():
        (tmp_path / f"{kind}.html").write_text(GOOD.replace("</main>", planted + "</main>"))
    (tmp_path / "link.html").write_text(GOOD.replace("#a", "gone.html"))
    (tmp_path / "place.html").write_text(GOOD.replace("#a", "console.html#b"))
    (tmp_path / "search.html").write_text(GOOD)  # which finds nothing
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/control.html").write_text(
        GOOD.replace(
            "</main>", "<details><summary>a</summary>b</details><button class=theme-switch-button>c</button></main>"
        )
    )
    found = {(Path(page).stem, kind) for page, kind, _ in look(tmp_path)}
    wanted = {(kind, kind) for kind in FAULTS} | {
        ("link", "link"),
        ("place", "link"),
        ("search", "search"),
        ("control", "control"),
    }
    assert wanted <= found
    assert {kind for page, kind in found if page in ("link", "place", "headings")} == {"link", "headings"}


def test_every_page_of_the_book_is_without_fault():
    """Minutes: twenty pages, each of them light, dark and on a phone."""
    command = [str(PYTHON), "-m", "book.build", "--pdf"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (ROOT / "book/_build/html/download/book.pdf").read_bytes().startswith(b"%PDF")
    assert "download/book.pdf" in (ROOT / "book/_build/html/index.html").read_text(encoding="utf-8")
    assert look() == []
    for chapter in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        page = (ROOT / f"book/_build/html/notebooks/{chapter.stem}.html").read_text(encoding="utf-8")
        assert f"colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{chapter.name}" in page
        assert (ROOT / f"book/_build/html/download/{chapter.name}").read_bytes() == chapter.read_bytes()
        assert 'class="right-next"' in page or 'class="left-prev"' in page
