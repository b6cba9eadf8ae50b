"""Models and datasets by name: a local path, a pinned artefact of the package index, or a pinned Hub revision."""

import json
import os
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "data" / "assets.toml"
CACHE = ROOT / "data" / "cache"


class PlainError(Exception):
    """An error whose message says all that is needed: a notebook shows it without the traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class AssetError(PlainError, RuntimeError):
    """A model or dataset could not be had; the message says which, and what to do."""


@dataclass(frozen=True)
class Asset:
    """Where something is loaded from: `location` is a local folder or file, or a Hub id at `revision`."""

    location: str
    revision: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether `location` is on this machine."""
        return self.revision is None and Path(self.location).exists()


def read_manifest(manifest: Path = MANIFEST) -> dict:
    """Return `data/assets.toml` as nested dictionaries."""
    with open(manifest, "rb") as file:
        return tomllib.load(file)


def find_model(name: str, *, revision: str | None = None, cache: Path = CACHE) -> Asset:
    """Return where the model `name` is loaded from; see `_find`."""
    return _find("models", name, revision, cache)


def find_dataset(name: str, *, revision: str | None = None, cache: Path = CACHE) -> Asset:
    """Return where the dataset `name` is loaded from; see `_find`."""
    return _find("datasets", name, revision, cache)


def _find(section: str, name: str, revision: str | None, cache: Path) -> Asset:
    """Look `name` up: first as a local path, then in `data/assets.toml`, then take it for a Hub id.

    A Hub id that the manifest lists gets its pinned revision; any other gets `revision` or "main". What was fetched
    beforehand is found in `cache`, and the Hub is not asked.
    Raises `AssetError` for a path that does not exist and for an artefact that was not fetched.
    """
    known = read_manifest()
    longest_part = max(map(len, name.replace("\\", "/").split("/")))
    if not name.strip() or not name.isprintable() or longest_part > 255:  # no file system takes more
        raise AssetError(f"{name[:60]!r} cannot be the name or path of a {section.removesuffix('s')}.")
    path = Path(os.path.expanduser(name))  # unlike Path.expanduser, it leaves the home of an unknown user as it is
    if path.exists() and (os.sep in name or "/" in name or name not in known[section]):
        return Asset(str(path.resolve()))
    if name in known[section]:
        entry = known[section][name]
        folder = cache / entry["artefact"] / entry["path"] if "artefact" in entry else ROOT / entry["path"]
        if not folder.exists():
            raise AssetError(f"{name!r} has not been fetched yet: run `python -m helpers fetch` once, online.")
        return Asset(str(folder))
    kind = section.removesuffix("s")
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local or name.endswith((".csv", ".tsv", ".jsonl", ".parquet", ".gz")):
        raise AssetError(f"There is no file or folder {name!r}: check the path of the {kind}.")
    if "/" not in name:
        names = ", ".join(known[section])
        raise AssetError(f"Unknown {kind} {name!r}: use one of {names}, a local path, or a Hub id like 'owner/name'.")
    revision = revision or known["hub"].get(name, {}).get("revision", "main")
    fetched = read_fetched(cache).get(name, {})
    if revision in (fetched.get("revision"), fetched.get("asked for")):  # `python -m helpers fetch NAME`
        folder = known["hub"].get(name, {}).get("folder", "")  # where a repository holds several datasets
        return Asset(str(cache / "hub" / fetched["folder"] / folder), fetched["revision"])
    return Asset(name, revision)


def read_fetched(cache: Path = CACHE) -> dict:
    """Return the manifest of what `python -m helpers fetch NAME…` has brought from the Hub, by name."""
    file = cache / "hub" / "manifest.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _is_cut_off() -> bool:
    """Return whether no connection to the Hub can be made at all, twice in a row; one that is only slow is a connection."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session, httpx

    for pause in (1, 0):
        try:
            get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            return False
        except httpx.ConnectError:  # no such host, no route, refused
            time.sleep(pause)
        except (httpx.HTTPError, OSError):  # too slow, or offline mode: the Hub's client knows what to do
            return False
    return True


@contextmanager
def _without_waiting(location: str) -> Iterator[None]:
    """Without a network, use the Hub client's offline mode inside the block: else it tries for 23 s, several times over.

    What it has in its own cache is found all the same.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or (not Path(location).exists() and _is_cut_off())
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def explain_hub_errors(name: str, location: str | None = None) -> Iterator[None]:
    """Turn the many ways in which the Hub can be out of reach into one sentence with a remedy.

    `location` is where `name` is loaded from, if not from the Hub: then nothing asks whether there is a network.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from huggingface_hub.utils import httpx
    from safetensors import SafetensorError

    try:
        with _without_waiting(location or name):
            yield
    except SafetensorError as error:
        raise AssetError(
            f"The weights of {name!r} are no readable safetensors file: fetch or copy them again."
        ) from error
    except (ValueError, RuntimeError) as error:
        if not any(words in str(error) for words in ("trust_remote_code", "scripts are no longer supported")):
            raise
        raise AssetError(
            f"{name!r} would run Python code of its own, which the course does not: choose another."
        ) from error
    except (OSError, httpx.HTTPError) as error:  # the Hub's own errors are OSErrors
        causes = [error]
        while causes[-1].__cause__ is not None:  # transformers wraps what the Hub said
            causes.append(causes[-1].__cause__)
        if any(isinstance(cause, GatedRepoError) for cause in causes):
            raise AssetError(
                f"{name!r} is gated: accept its licence on its Hub page, then run `hf auth login`."
            ) from error
        if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
            raise AssetError(f"The Hub knows no {name!r}: check the spelling, or log in if it is private.") from error
        if "safetensors" in str(error):
            raise AssetError(
                f"{name!r} has no weights as safetensors, only as a pickle, which can run any code: choose another model."
            ) from error
        raise AssetError(
            f"{name!r} could not be loaded from the Hugging Face Hub ({type(error).__name__}). Without a network use "
            f"profile='laptop', or run `python -m helpers fetch {name}` once while online."
        ) from error
