"""The service's page in Chromium: type, read the answer; what is wrong is said; nothing is asked of another machine."""

import re

import pytest
from chromium import open_page
from standin_service import StandIn

from helpers.deploy.service import Settings, start_service


def ask(page, text: str) -> str:
    """Type `text`, send it, and return what the page then says: the label, or what is wrong."""
    page.fill("#text", text)
    page.click("button")
    page.wait_for_selector("button:not([disabled])")
    return page.inner_text("#problem") or page.inner_text("#label")


def test_in_chromium_one_types_and_reads_the_answer():
    with start_service(StandIn()) as service, open_page(service.url + "/") as page:
        page.wait_for_function("document.querySelector('#about').textContent.includes('long, short')")
        assert ask(page, "some words") == "long"
        assert page.inner_text("#sure") == "confidence 75.0 %"
        assert re.split(r"\s+", page.inner_text("#scores").strip()) == ["long", "75.0", "%", "short", "25.0", "%"]
        assert not page.is_visible("#cut")
        for text in ("x" * 10_000, "שלום עולם", "😀 " * 10, "<img src=x onerror=alert(1)>"):
            assert ask(page, text) == "long"
        ask(page, "y" * 200)
        assert page.is_visible("#cut")
        assert ask(page, "   ") == "The text is empty: give some words."
        assert not page.is_visible("#answer")
        assert ask(page, "z" * 20_001).startswith("The text has 20,001 characters")
        assert page.query_selector("#answer img") is None


def test_in_chromium_a_key_is_asked_for():
    with start_service(StandIn(), Settings(port=0, api_key="sesame")) as service, open_page(service.url + "/") as page:
        page.wait_for_selector("#key", state="visible")
        assert "The key is missing or wrong" in ask(page, "some words")
        page.fill("#key", "sesame")
        assert ask(page, "some words") == "long"


def test_in_chromium_a_service_that_is_gone_is_named():
    with start_service(StandIn()) as service, open_page(service.url + "/") as page:
        assert ask(page, "some words") == "long"
        page.route("**/predict", lambda route: route.abort())
        assert ask(page, "some words") == "The service does not answer: is it still running?"


@pytest.mark.parametrize("name", ["label", "scores", "about", "problem"])
def test_the_page_has_what_these_tests_look_at(name):
    from helpers.deploy.service.page import PAGE

    assert f'id="{name}"' in PAGE
