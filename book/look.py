"""Look at a built site in a real browser: `python -m book.look [FOLDER [PAGE …]]` prints one line per fault.

Every page is opened in Chromium, light and dark, wide and 360 pixels wide: errors in the console, requests to other
machines or for what is not there, links that lead nowhere inside the site, sideways scroll, and what axe-core calls
serious for people who see badly or use no mouse.
"""

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from book.build import BUILT, find_browser

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
SERIOUS = ("serious", "critical")
UNCHECKED = ("genindex.html", "search.html")  # the first is empty, the second is looked at with a question


class Fault(NamedTuple):
    """What is wrong: on which page, of what kind, and what exactly."""

    page: str
    kind: str
    what: str


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Say nothing of each request."""


def look(folder: Path, browser: Browser, only: list[str] | None = None) -> Iterator[Fault]:
    """Yield the faults of the site in `folder`, or of some of its pages; links between pages are judged at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    names = only or [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]
    links, anchors = {}, {}
    try:
        for name in names:
            if name not in UNCHECKED and not name.startswith("_"):
                yield from look_at_page(browser, base, name, links, anchors)
        yield from find_dead_links(folder, links, anchors)
        for name in names:
            if (folder / name).parent.name == "notebooks":
                yield from try_controls(browser, base, name)
        if (folder / "search.html").exists():
            yield from try_search(browser, base)
            yield from try_search(browser, folder.resolve().as_uri() + "/")  # opened as a file, without a server
    finally:
        server.shutdown()


def look_at_page(browser: Browser, base: str, name: str, links: dict, anchors: dict) -> list[Fault]:
    """Return the faults of one page; note its `links` and its `anchors` for later."""
    faults: list[Fault] = []
    page = open_page(browser, base, name, faults)
    links[name] = page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    anchors[name] = set(page.eval_on_selector_all("[id]", "all => all.map(e => e.id)"))
    if (count := page.locator("h1:visible").count()) != 1:
        faults.append(Fault(name, "headings", f"{count} headings of the first rank"))
    faults += find_barriers(page, name, "light")
    page.add_style_tag(content="* { transition: none !important }")  # a colour half-way is nobody's choice
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    faults += find_barriers(page, name, "dark", runOnly={"type": "rule", "values": ["color-contrast"]})
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(100)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        faults.append(Fault(name, "phone", f"{wide} pixels wider than a screen of 360: {find_widest(page)}"))
    page.context.close()
    return faults


def open_page(browser: Browser, base: str, name: str, faults: list[Fault]) -> Page:
    """Return a page, opened; what it asks of other machines is refused and noted, and so is what goes wrong."""
    page = browser.new_context(viewport=WIDE).new_page()

    def answer(route) -> None:
        if route.request.url.startswith((base, "data:")):
            return route.continue_()
        faults.append(Fault(name, "outside", route.request.url))
        return route.abort()

    def judge(response) -> None:
        if response.status >= 400:
            faults.append(Fault(name, "missing", response.url.removeprefix(base)))

    page.route("**/*", answer)
    page.on("response", judge)
    page.on("pageerror", lambda error: faults.append(Fault(name, "console", str(error))))
    page.on("console", lambda said: faults.append(Fault(name, "console", said.text)) if said.type == "error" else None)
    page.goto(base + name, wait_until="load")
    page.wait_for_timeout(200)  # scripts that wait for the page
    return page


def find_barriers(page: Page, name: str, light: str, **options) -> Iterator[Fault]:
    """Yield what axe-core calls serious or worse."""
    for found in Axe().run(page, options={"preload": False, **options}).response["violations"]:
        if found["impact"] in SERIOUS:
            places = "; ".join(" ".join(node["target"][0].split()) for node in found["nodes"][:3])
            yield Fault(name, "axe", f"{found['id']} ({light}, {len(found['nodes'])} places): {places}")


def find_widest(page: Page) -> str:
    """Return a few words about the element that reaches farthest to the right."""
    return page.evaluate(
        "() => {const all = [...document.querySelectorAll('main *')]; const right = e => e.getBoundingClientRect().right;"
        "const e = all.reduce((a, b) => right(b) > right(a) ? b : a, all[0] || document.body);"
        "return e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40)}"
    )


def find_dead_links(folder: Path, links: dict, anchors: dict) -> Iterator[Fault]:
    """Yield the links inside the site that lead to no file, or to no place in their page."""
    for name, found in links.items():
        for link in dict.fromkeys(found):
            if urlsplit(link).scheme or urlsplit(link).netloc:
                continue
            target, anchor = urldefrag(urljoin(name, link))
            target, anchor = unquote(target) or name, unquote(anchor)
            if not (folder / target).is_file():
                yield Fault(name, "link", f"{link}: no such page")
            elif anchor and anchor not in anchors.get(target, {anchor}):
                yield Fault(name, "link", f"{link}: no such place")


def try_controls(browser: Browser, base: str, name: str) -> Iterator[Fault]:
    """Yield a fault for each thing in a chapter that does not react: the switch to dark, folded answers, the way on."""
    faults: list[Fault] = []
    page = open_page(browser, base, name, faults)
    for mode in ("light", "dark"):
        page.locator("button.theme-switch-button:visible").first.click()
        with contextlib.suppress(PlaywrightError):  # no such choice: what the page is then says enough
            page.locator(f".theme-change-button[data-mode={mode}]:visible").first.click(timeout=3000)
    answer = page.locator("main details:has(summary)").first
    answer.locator("summary").first.click()
    works = {
        "the switch between light and dark": page.evaluate("document.documentElement.dataset.theme") == "dark",
        "a folded answer": answer.evaluate("details => details.open"),
        "previous or next": page.locator(".prev-next-area a").count() > 0,
        "Open in Colab": page.locator("a.colab[href^='https://colab.research.google.com/']").count() == 1,
        "the download": page.locator("a.download[download]").count() == 1,
    }
    page.context.close()
    yield from faults
    yield from (Fault(name, "control", f"{what} does not work") for what, fine in works.items() if not fine)


def try_search(browser: Browser, base: str) -> Iterator[Fault]:
    """Yield a fault if the search does not find a word that the course explains."""
    faults: list[Fault] = []
    page = open_page(browser, base, "search.html?q=padding", faults)
    try:
        page.wait_for_selector("#search-results li a", timeout=15_000)
    except PlaywrightError:
        yield Fault("search.html", "search", f"nothing found for a word of the course at {base.split(':')[0]}:")
    page.context.close()
    if not base.startswith("file:"):  # from files, a browser refuses the lines that a result is shown with
        yield from faults


def main() -> int:
    """Print the faults of the site named on the command line, or of the book; return the exit status."""
    folder, found = Path(sys.argv[1]) if len(sys.argv) > 1 else BUILT / "html", 0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for fault in look(folder, browser, sys.argv[2:]):
            found += 1
            print("\t".join(fault), flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
