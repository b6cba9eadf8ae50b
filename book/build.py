"""Build the book: `python -m book.build [--pdf]` writes the site to book/_build/html, and with it the whole as one PDF.

The pages are the notebooks as they are committed, and the repository's documents; nothing is executed, nothing is loaded
from the network. What is changed on the way: links, the Colab badge (a picture from elsewhere), pictures get their
descriptions, and notebook 00's glossary becomes a page.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from book.chapters import ROOT, read_chapters, read_glossary
from book.links import Map, make_slug
from book.pages import add_lists, draw_gallery, write_glossary
from book.pages import prepare_notebook as prepare

HERE = ROOT / "book"
BUILT = HERE / "_build"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def map_pages(root: Path = ROOT) -> dict[Path, str]:
    """Return for every document of the repository that the book shows the page it becomes."""
    pages = {
        root / "book/index.md": "index.md",
        root / "book/curriculum.md": "curriculum.md",
        root / "README.md": "readme.md",
        root / "data/README.md": "corpus.md",
    }
    pages |= {path: f"notebooks/{path.name}" for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    pages |= {path: f"solutions/{path.name}" for path in sorted((root / "notebooks/solutions").glob("*.md"))}
    pages |= {path: f"figures/{path.name}" for path in sorted((root / "figures").glob("*.png"))}
    return {path.resolve(): page for path, page in pages.items()}


def write_source(folder: Path, root: Path = ROOT) -> None:
    """Write everything that Sphinx reads, and the notebooks to download, into `folder`."""
    chapters, glossary, pages = read_chapters(root), read_glossary(root), map_pages(root)
    places = Map(pages, {make_slug(term) for term in glossary}, root)
    for document, page in pages.items():
        target = folder / "source" / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if document.suffix == ".png":
            shutil.copy(document, target)
        elif document.suffix == ".ipynb":
            content = prepare(json.loads(document.read_text(encoding="utf-8")), document, places)
            target.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            download = folder / "extra" / "download" / document.name
            download.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(document, download)
        else:
            text = places.rewrite(document.read_text(encoding="utf-8"), document)
            target.write_text(add_lists(text, chapters, glossary, places), encoding="utf-8")
    (folder / "source/gallery.md").write_text(draw_gallery(chapters), encoding="utf-8")
    (folder / "source/glossary.md").write_text(write_glossary(glossary, chapters), encoding="utf-8")


def run_sphinx(builder: str, source: Path, target: Path, *tags: str) -> None:
    """Build `target` from `source`; a warning is an error."""
    options = [option for tag in tags for option in ("-t", tag)]
    command = ["-b", builder, "-c", str(HERE), "-d", str(target.with_name("doctrees")), "-q", "-W", "--keep-going"]
    if build_main([*command, *options, str(source), str(target)]):
        raise SystemExit("Sphinx has found faults; they are listed above.")


def find_browser() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def print_pdf(page: Path, target: Path, browser: str) -> None:
    """Print one page of HTML to a PDF with a headless browser."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            f"--user-data-dir={profile}", "--no-pdf-header-footer", "--virtual-time-budget=10000",
            f"--print-to-pdf={target}", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=600)


def measure(folder: Path) -> float:
    """Return the size of all files in a folder, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main(arguments: list[str] | None = None) -> None:
    """Build the site, and the PDF where it is asked for and a browser is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdf", action="store_true", help="also print the whole as one PDF")
    chosen = parser.parse_args(arguments)
    shutil.rmtree(BUILT, ignore_errors=True)
    write_source(BUILT)
    browser = find_browser() if chosen.pdf else None
    if browser:
        run_sphinx("singlehtml", BUILT / "source", BUILT / "single", "pdf")
        print_pdf(BUILT / "single/index.html", BUILT / "extra/download/book.pdf", browser)
    elif chosen.pdf:
        print("no PDF: there is no Chromium or Chrome on this machine", file=sys.stderr)
    run_sphinx("html", BUILT / "source", BUILT / "html", *(["with_pdf"] if browser else []))
    shutil.copytree(BUILT / "extra", BUILT / "html", dirs_exist_ok=True)
    (BUILT / "html/.nojekyll").touch()  # GitHub's pages would leave out folders that begin with "_"
    print(f"open {(BUILT / 'html/index.html').relative_to(ROOT)} ({measure(BUILT / 'html'):.0f} MB)")


if __name__ == "__main__":
    main()
