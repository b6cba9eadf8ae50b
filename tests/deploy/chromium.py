"""A headless Chromium for the tests of pages: it notes every request, and every error that a page raises."""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def open_page(address: str):
    """Yield a page of `address`; at the end, fail if anything but this machine was asked, or a script failed."""
    sync = pytest.importorskip("playwright.sync_api", reason="pages are tested with playwright, which is not installed")
    if CHROMIUM is None:
        pytest.skip("pages are tested in Chromium, which is not installed")
    asked, errors = [], []
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 760})
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
    elsewhere = {
        url for url in asked if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"
    }
    assert (elsewhere, errors) == (set(), [])
