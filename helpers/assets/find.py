"""Models and datasets by name: a local path, a pinned artefact of the package index, or a pinned Hub revision."""

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from helpers.assets.zoo import ZOO, find_row, list_near_names
from helpers.exceptions import AssetError, shorten
from helpers.files import DATA, DATA_FILE, ROOT, read_json, read_toml

MANIFEST = DATA / "assets.toml"
CACHE = ROOT / "data" / "cache"


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
    """Return `data/assets.toml` as nested dictionaries; {} where it did not come along with the package."""
    return read_toml(manifest)


def read_pinned(name: str) -> dict:
    """Return what is pinned of the Hub id `name` (type, revision, licence, folder): a dataset by the manifest, a model by
    the zoo; {} for one that neither lists."""
    listed, row = read_manifest().get("hub", {}), find_row(name) if "/" in name else None
    if name in listed or row is None:
        return listed.get(name, {})
    known = {"type": "model", "revision": row["revision"], "licence": row["licence"]}
    return {key: value for key, value in known.items() if value is not None}


def resolve_model(name: str, zoo: Path = ZOO) -> str:
    """Return what `name` is loaded by: for the zoo's "bert" its Hub id, for "minilm" its name in `data/assets.toml`.
    A name that the zoo does not list stays as it is."""
    row = find_row(name, zoo)
    if row is None:
        return name
    is_artefact = "/" not in name and row["name"] in read_manifest().get("models", {})
    return row["name"] if is_artefact else row["hub_id"]


def find_artefact(name: str) -> str | None:
    """Return the artefact of the package index that holds the model or dataset `name`; None for all others."""
    manifest = read_manifest()
    entry = manifest.get("models", {}).get(resolve_model(name)) or manifest.get("datasets", {}).get(name, {})
    return entry.get("artefact")


def read_fetched(cache: Path = CACHE) -> dict:
    """Return the manifest of what `python -m helpers fetch NAME…` has brought from the Hub, by name."""
    file = cache / "hub" / "manifest.json"
    return read_json(file) if file.exists() else {}


def find_model(name: str, *, revision: str | None = None, cache: Path = CACHE) -> Asset:
    """Return where the model `name` is loaded from; see `_find`."""
    return _find("models", name, revision, cache)


def find_dataset(name: str, *, revision: str | None = None, cache: Path = CACHE) -> Asset:
    """Return where the dataset `name` is loaded from; see `_find`. `owner/name:emotion` is one configuration of several,
    and its location ends in `:emotion`, too."""
    plain, config = split_config(name)
    asset = _find("datasets", plain, revision, cache)
    return Asset(f"{asset.location}:{config}", asset.revision) if config else asset


def split_config(name: str) -> tuple[str, str | None]:
    """Return name and configuration of `owner/name:configuration`; of any other name, itself and None."""
    found = re.fullmatch(r"(.*[^/\\:]/[^/\\:]+):([\w.-]+)", name)
    return (found[1], found[2]) if found and not Path(name).exists() else (name, None)


def settle_path(kind: str, name: str) -> str:
    """Return `name`, the path of a model or dataset (`kind`) made absolute: it means the same from any folder.
    What is listed under that name, or is no path, stays as it is. Raises `AssetError` as `find_model` does."""
    location, path = _find(f"{kind}s", name, None, CACHE).location, Path(os.path.expanduser(name))
    return location if path.exists() and str(path.resolve()) == location else name


def fingerprint_data(path: Path) -> str:
    """Return a short fingerprint of the file `path`, or of all data files in the folder and one level below it."""
    files = [path] if path.is_file() else sorted([*path.glob("*"), *path.glob("*/*")])
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and DATA_FILE.search(file.name):  # no device or pipe, which never end
            with contextlib.suppress(OSError), open(file, "rb") as content:  # whoever reads the data will say it
                digest.update(str(file.relative_to(path)).encode("utf-8", "surrogateescape"))
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def find_data_version(name: str) -> str | None:
    """Return which version of the dataset `name` one has: the revision on the Hub, or a fingerprint of the local files."""
    asset = find_dataset(name)
    return asset.revision or (fingerprint_data(Path(asset.location)) if asset.is_local else None)


def _find(section: str, name: str, revision: str | None, cache: Path) -> Asset:
    """Look `name` up: first as a local path, then in `data/assets.toml` (a model in the zoo, too), then take it for a Hub
    id, at `revision`, or the pinned one, or "main". What was fetched beforehand is found in `cache`, and the Hub is not
    asked. A bare name that is listed means what is listed, whatever folder has that name.
    Raises `AssetError` for a path that does not exist and for an artefact that was not fetched."""
    known, kind = read_manifest().get(section, {}), section.removesuffix("s")
    longest_part = max(map(len, name.replace("\\", "/").split("/")))
    if not name.strip() or not name.isprintable() or longest_part > 255:  # no file system takes more
        raise AssetError(f"{name[:60]!r} cannot be the name or path of a {kind}.")
    path = Path(os.path.expanduser(name))  # unlike Path.expanduser, it leaves the home of an unknown user as it is
    listed = resolve_model(name) if kind == "model" else name
    if path.exists() and (os.sep in name or "/" in name or (name not in known and listed == name)):
        return Asset(str(path.resolve()))
    name = listed
    if name in known:
        entry = known[name]
        folder = cache / entry["artefact"] / entry["path"] if "artefact" in entry else ROOT / entry["path"]
        if not folder.exists():
            raise AssetError(f"{name!r} has not been fetched yet: run `python -m helpers fetch` once, online.")
        return Asset(str(folder))
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local or DATA_FILE.search(name):
        raise AssetError(f"There is no file or folder {shorten(name, 180)!r}: check the path of the {kind}.")
    if "/" not in name:
        choices = ", ".join(known)
        if kind == "model":
            near = f" (near: {', '.join(names)})" if (names := list_near_names(name)) else ""
            choices += f", a name that `python -m helpers zoo` lists{near}"
        raise AssetError(f"Unknown {kind} {name!r}: use one of {choices}, a local path, or a Hub id like 'owner/name'.")
    return _find_on_hub(name, revision, cache)


def _find_on_hub(name: str, revision: str | None, cache: Path) -> Asset:
    pinned, fetched = read_pinned(name), read_fetched(cache).get(name, {})
    revision = revision or pinned.get("revision", "main")
    if revision in (fetched.get("revision"), fetched.get("asked for")):  # `python -m helpers fetch NAME`
        folder = cache / "hub" / fetched["folder"] / pinned.get("folder", "")  # one of several datasets in a repository
        return Asset(str(folder), fetched["revision"])
    return Asset(name, revision)
