"""The demo page: what it says of a text and of a file, which words mattered, and how all that looks in Chromium."""

import contextlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from chromium import open_page
from test_export import train_and_export
from tiny import FP32

from helpers.deploy import OnnxPredictor, Predictor
from helpers.deploy.demo import MOST_WORDS, answer_file, answer_text, build_demo, weigh_words
from helpers.exceptions import SettingError
from helpers.files import ROOT

needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is no part of the course's libraries")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """10 s."""
    return train_and_export(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module", params=["pytorch", "onnxruntime"])
def predictor(request, places):
    return Predictor.load(places[0], device=FP32) if request.param == "pytorch" else OnnxPredictor.load(places[1])


def test_words_of_the_label_matter_most(predictor):
    text = "word1  glad1\nword2 glad2 word3"
    weights = weigh_words(predictor, text)
    assert "".join(piece for piece, _ in weights) == text
    found = {piece: weight for piece, weight in weights if piece.strip()}
    assert {*sorted(found, key=found.get)[-2:]} == {"glad1", "glad2"}
    assert all(weight == 0 for piece, weight in weights if not piece.strip())


def test_a_word_s_weight_is_what_its_absence_costs(predictor):
    weights = dict(weigh_words(predictor, "word1 glad1 glad2"))
    with_it, without = (
        predictor.predict_one(text).probabilities["glad"] for text in ("word1 glad1 glad2", "word1 glad2")
    )
    assert weights["glad1"] == pytest.approx(100 * (with_it - without), abs=0.06)


def test_of_a_long_text_only_the_first_words_are_weighed(predictor):
    weights = [weight for piece, weight in weigh_words(predictor, "glad1 " * 500) if piece.strip()]
    assert len(weights) == 500 and set(weights[MOST_WORDS:]) == {0.0}


def test_a_single_word_has_nothing_to_be_compared_with(predictor):
    assert weigh_words(predictor, "glad1") == [("glad1", 0.0)]


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_no_text_is_answered_by_a_request(text, predictor):
    assert answer_text(predictor, text) == ({}, [], "Type a sentence first.")


@pytest.mark.parametrize("text", ["glad1 🎉", "שלום glad1", "<script>glad1</script>", "glad1 \ud83c", "glad1 " * 1_600])
def test_whatever_is_typed_gets_an_answer(text, predictor):
    scores, words, note = answer_text(predictor, text)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    assert words and next(iter(scores)) in note
    assert ("Only the first 16 tokens were read." in note) == (len(text) > 100)


def test_too_long_a_text_is_refused(predictor):
    assert "has 20,001 characters: give at most 20,000" in answer_text(predictor, "a" * 20_001)[2]


def test_a_file_is_answered_row_by_row(predictor, tmp_path):
    (tmp_path / "mine.txt").write_text("glad1 glad2\nsour1 sour2\n")
    place, note = answer_file(predictor, str(tmp_path / "mine.txt"))
    assert Path(place).name == "mine-predicted.csv" and note.startswith("2 texts predicted.")
    assert pd.read_csv(place)["predicted"].tolist() == ["glad", "sour"]


def test_a_file_that_cannot_be_read_is_a_sentence(predictor, tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\n")
    place, note = answer_file(predictor, str(tmp_path / "mine.csv"))
    assert place is None and note.endswith(".") and len(note) <= 280
    assert answer_file(predictor, None)[1].startswith("Choose a file first")


@pytest.mark.skipif(find_spec("gradio") is not None, reason="gradio is installed")
def test_without_gradio_the_remedy_is_named(predictor):
    with pytest.raises(SettingError, match="needs gradio, which is not installed: pip install"):
        build_demo(predictor)


@contextlib.contextmanager
def run_demo(folder):
    """Yield the address of the page that the command shows; 15 s until it does."""
    command = [sys.executable, "-m", "helpers", "demo", "--run", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("The page is at http://127.0.0.1:"), line
            yield line.split()[4]
        finally:
            process.terminate()


def ask(page, text):
    before = page.input_value("#note textarea")
    page.fill("#text textarea", text)
    page.click("#ask")
    page.wait_for_function("before => document.querySelector('#note textarea').value != before", arg=before)
    return page.input_value("#note textarea")


@needs_gradio
def test_in_chromium_one_types_and_reads_the_answer(places, tmp_path):
    """60 s."""
    (tmp_path / "mine.csv").write_text("text\nglad1 glad2\nsour1 sour2\n")
    (tmp_path / "bad.csv").write_text("text\n")
    with run_demo(places[1]) as address, open_page(address) as page:
        assert ask(page, "word1 glad1 glad2").startswith("glad, ")
        assert "glad" in page.inner_text("#bars") and "glad1" in page.inner_text("#words")
        assert ask(page, "") == "Type a sentence first."
        assert "Only the first 16 tokens were read." in ask(page, ("sour1 " * 1_667)[:10_000])
        for text in ("calm1 calm2 🎉", "שלום glad1 glad2", "<img src=x onerror=alert(1)> sour1 sour2"):
            ask(page, "")
            assert " sure." in ask(page, text)
        assert page.query_selector("#words img") is None
        page.goto("about:blank")
        page.go_back()
        assert ask(page, "sour1 sour2").startswith("sour, ")
        page.get_by_role("tab", name="A file").click()
        for name, says in (("mine.csv", "2 texts predicted."), ("bad.csv", "bad.csv")):
            page.set_input_files("#file input[type=file]", tmp_path / name)
            page.wait_for_function("name => document.querySelector('#file').innerText.includes(name)", arg=name[:3])
            page.click("#start")
            page.wait_for_function("says => document.querySelector('#told textarea').value.includes(says)", arg=says)
            if name == "mine.csv":
                assert "mine-predicted" in page.inner_text("#table")
                page.get_by_label("Clear").or_(page.get_by_label("Remove this file")).first.click()
