"""Bring Hub repositories into data/cache/hub, checked file by file, so that a classroom needs neither network nor account."""

import hashlib
import os
import shutil
from pathlib import Path

from helpers.assets.find import CACHE, AssetError, explain_hub_errors, read_fetched, read_manifest
from helpers.runs import write_json

# Of a model: configuration, tokenizer and safetensors in the top folder, not the same weights in four more formats,
# and nothing that is code or a pickle. Of a dataset: tables and its card.
WANTED = {
    "model": ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*"],
    "dataset": ["*.parquet", "*.csv", "*.tsv", "*.json", "*.jsonl", "*.txt", "*.gz", "README.md", "LICENSE*"],
}
UNWANTED = {"model": ["*/*"], "dataset": ["*.py"]}


def prefetch_from_hub(name: str, cache: Path = CACHE) -> dict:
    """Download the Hub model or dataset `name` at its pinned revision into `cache/hub`; return its manifest entry.

    An entry holds type, revision, licence, bytes, and the sha256 of every file; all entries are in
    `cache/hub/manifest.json`. What a killed download left is used again. The folder appears only when every file has
    the checksum that the Hub lists for it. Raises `AssetError`.
    """
    from huggingface_hub import snapshot_download

    with explain_hub_errors(name):
        kind, asked_for, info = _ask_hub(name)
        known = read_fetched(cache).get(name, {})
        if known.get("revision") == info.sha and (cache / "hub" / known["folder"]).is_dir():
            return known
        folder = cache / "hub" / f"{name.replace('/', '--')}-{info.sha[:12]}"
        partial = folder.with_name(f".{folder.name}")
        one = read_manifest()["hub"].get(name, {}).get("folder")  # of a repository that holds several datasets
        snapshot_download(
            name,
            repo_type=kind,
            revision=info.sha,
            local_dir=partial,
            allow_patterns=f"{one}/*" if one else WANTED[kind],
            ignore_patterns=UNWANTED[kind],
        )
        checksums = _check_files(name, kind, info.sha, partial)
    if kind == "model" and not any(path.endswith(".safetensors") for path in checksums):
        raise AssetError(f"{name!r} has no weights as safetensors, only as a pickle: choose another model.")
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the Hub client's notes
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)
    entry = {
        "type": kind,
        "asked for": asked_for,
        "revision": info.sha,
        "licence": read_manifest()["hub"].get(name, {}).get("licence") or _licence_on_card(info),
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "folder": folder.name,
        "sha256": checksums,
    }
    write_json(cache / "hub" / "manifest.json", dict(sorted((read_fetched(cache) | {name: entry}).items())))
    return entry


def _ask_hub(name: str):
    """Return whether `name` is a model or a dataset, the revision to ask for, and what the Hub says about it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    pinned = read_manifest()["hub"].get(name, {})
    revision = pinned.get("revision", "main")
    if "type" in pinned:
        return pinned["type"], revision, HfApi().repo_info(name, repo_type=pinned["type"], revision=revision)
    try:
        return "model", revision, HfApi().repo_info(name, repo_type="model", revision=revision)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return "dataset", revision, HfApi().repo_info(name, repo_type="dataset", revision=revision)


def _check_files(name: str, kind: str, revision: str, folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in `folder`; delete one whose content is not what the Hub lists, and raise."""
    from huggingface_hub import HfApi

    checksums = {}
    for listed in HfApi().list_repo_tree(name, repo_type=kind, revision=revision, recursive=True):
        file = folder / listed.path
        if not file.is_file():
            continue
        content = file.read_bytes()
        checksums[listed.path] = hashlib.sha256(content).hexdigest()
        lfs = getattr(listed, "lfs", None)  # large files are listed by their sha256, small ones as git counts them
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if checksums[listed.path] != lfs.sha256 if lfs else blob != listed.blob_id:
            file.unlink()
            raise AssetError(f"{name!r}: {listed.path} arrived with a wrong checksum and was not kept: fetch again.")
    return checksums


def _licence_on_card(info) -> str | None:
    card = getattr(info, "card_data", None)
    return str(card.license) if card is not None and getattr(card, "license", None) else None
