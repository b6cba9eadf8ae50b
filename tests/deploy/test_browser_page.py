"""A page that runs the exported model in the browser: its files, where they come from, and what it answers in Chromium."""

import base64
import functools
import hashlib
import http.server
import io
import os
import shutil
import tarfile
import threading

import numpy as np
import pytest
from chromium import open_page
from test_export import TEXTS, train_and_export

from helpers.deploy import OnnxPredictor, browser
from helpers.deploy.browser import SCRIPTS, fetch_javascript, has_javascript, write_page
from helpers.exceptions import AssetError, SettingError

needs_javascript = pytest.mark.skipif(
    not has_javascript(),
    reason="the page's JavaScript is not in data/cache: python -m helpers export --to browser brings it",
)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """10 s."""
    return train_and_export(tmp_path_factory.mktemp("browser"), int8=True)[1]


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An npm that serves one package of one file, and a manifest that pins it."""
    packed = tmp_path / "page-1.0.0.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        member = tarfile.TarInfo("package/dist/script.js")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    npm = bin_folder / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked.txt\ncp {packed} "$5" && echo {packed.name}\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}/bin{os.pathsep}/usr/bin")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    pinned = {"package": "page", "version": "1.0.0", "integrity": f"sha512-{digest}", "files": ["dist/script.js"]}
    monkeypatch.setattr(browser, "read_manifest", lambda: {"javascript": {"page": pinned}})
    return pinned


def test_javascript_is_fetched_once_and_no_script_of_a_package_runs(registry, tmp_path):
    for _ in range(2):
        assert fetch_javascript(tmp_path / "js") == tmp_path / "js"
    assert [file.name for file in (tmp_path / "js").iterdir()] == ["script.js"]
    (asked,) = (tmp_path / "asked.txt").read_text().splitlines()
    assert asked.startswith("pack --ignore-scripts") and asked.endswith("page@1.0.0")


def test_another_file_than_the_pinned_one_is_refused(registry, tmp_path):
    registry["integrity"] = "sha512-" + "A" * 86 + "=="
    with pytest.raises(AssetError, match="is not the pinned file"):
        fetch_javascript(tmp_path / "js")
    assert not (tmp_path / "js").exists()


def test_a_registry_out_of_reach_is_a_sentence(registry, tmp_path):
    (tmp_path / "bin/npm").write_text("#!/bin/sh\necho no network >&2; exit 1\n")
    with pytest.raises(AssetError, match=r"npm could not bring page@1\.0\.0: check the network"):
        fetch_javascript(tmp_path / "js")


def test_without_npm_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="needs npm, which is not installed: install Node"):
        fetch_javascript(tmp_path / "js")


def test_the_page_holds_model_and_scripts_and_replaces_nothing_else(registry, export, tmp_path):
    page = write_page(export, tmp_path / "page", scripts=tmp_path / "js")
    assert {str(path.relative_to(page)) for path in page.rglob("*") if path.is_file()} == {
        "index.html", "script.js", "model/config.json", "model/tokenizer.json", "model/tokenizer_config.json",
        "model/onnx/model_quantized.onnx",
    }  # fmt: skip
    assert write_page(export, page, scripts=tmp_path / "js") == page
    with pytest.raises(SettingError, match="holds other things"):
        write_page(export, tmp_path, scripts=tmp_path / "js")
    (tmp_path / "site").mkdir()
    shutil.copy(page / "index.html", tmp_path / "site")  # somebody's own home page
    (page / "notes.txt").touch()
    for folder, found in ((tmp_path / "site", "index.html"), (page, "notes.txt")):
        with pytest.raises(SettingError, match=rf"holds other things \({found}\)"):
            write_page(export, folder, scripts=tmp_path / "js")


def test_the_page_names_no_other_machine():
    assert "http" not in browser.PAGE.read_text(encoding="utf-8").replace("<!doctype html>", "")


def serve(folder):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.func.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def ask(page, text):
    page.fill("#text", text)
    page.click("#go")
    page.wait_for_selector("#go:enabled")
    return dict(
        page.eval_on_selector_all("tr", "rows => rows.map(r => [r.cells[0].textContent, +r.cells[2].textContent])")
    )


@needs_javascript
@pytest.mark.parametrize("int8, tolerance", [(False, 1.1e-4), (True, 0.05)])
def test_in_chromium_the_page_answers_as_onnxruntime_does(int8, tolerance, export, tmp_path):
    """20 s. The page shows four digits; int8 sums are rounded differently in WebAssembly."""
    predictor = OnnxPredictor.load(export, int8=int8)
    server = serve(write_page(export, tmp_path / "page", int8=int8))
    with open_page(f"http://127.0.0.1:{server.server_port}/") as page:
        page.wait_for_selector("#go:enabled")
        for text in [*TEXTS[:10], "glad1 🎉 glad2", "שלום glad1", "word1 " * 2_000, "<b>sour1</b>"]:
            expected = predictor.predict_one(text).probabilities
            found = ask(page, text)
            assert ("Only the first 16 tokens" in page.inner_text("#status")) == predictor.predict_one(text).truncated
            np.testing.assert_allclose(
                [found[name] for name in expected], list(expected.values()), atol=tolerance, err_msg=text[:40]
            )
        page.fill("#text", "  ")
        page.click("#go")
        assert page.inner_text("#status") == "Type a sentence first."
        assert page.query_selector("tr") is None
    server.shutdown()


@needs_javascript
def test_a_page_without_its_model_says_so(export, tmp_path):
    folder = write_page(export, tmp_path / "page")
    shutil.rmtree(folder / "model")
    server = serve(folder)
    with open_page(f"http://127.0.0.1:{server.server_port}/") as page:
        page.wait_for_function("document.querySelector('#status').textContent.includes('could not be loaded')")
        assert page.is_disabled("#go")
    server.shutdown()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_the_registry_still_has_the_pinned_files(tmp_path):
    """35 MB."""
    fetch_javascript(tmp_path / "js")
    assert has_javascript(tmp_path / "js")
    if has_javascript():
        assert {f.name: f.read_bytes() for f in SCRIPTS.iterdir()} == {
            f.name: f.read_bytes() for f in (tmp_path / "js").iterdir()
        }
