"""A page that runs an exported model in the browser: a folder of files for any web server, no text leaves the device.

transformers.js and onnxruntime's WebAssembly come from the npm registry, pinned in `data/assets.toml`. Taught in notebook 08.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from helpers.assets.find import CACHE, read_manifest
from helpers.deploy.onnx_predictor import find_onnx
from helpers.exceptions import AssetError
from helpers.files import atomic_folder, require_own

PAGE = Path(__file__).with_name("page.html")
PAGE_FILES = ("index.html", "*.js", "*.mjs", "*.wasm", "model/*.json", "model/onnx/*.onnx")
SCRIPTS = CACHE / "javascript"


def fetch_javascript(folder: Path = SCRIPTS) -> Path:
    """Return the folder with the page's JavaScript; what is missing is brought by `npm pack`, which runs no script of it.
    Raises `AssetError` where npm is missing, the registry is out of reach, or a file is not the pinned one."""
    if has_javascript(folder):
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError(
            "A page for the browser needs npm, which is not installed: install Node.js (nodejs.org) first."
        )
    with atomic_folder(folder) as work, tempfile.TemporaryDirectory() as packed:
        for package in read_manifest()["javascript"].values():
            name = f"{package['package']}@{package['version']}"
            command = [npm, "pack", "--ignore-scripts", "--silent", "--pack-destination", packed, name]
            done = subprocess.run(command, cwd=packed, capture_output=True, text=True)
            if done.returncode:
                raise AssetError(f"npm could not bring {name}: check the network, then run the same command again.")
            file = Path(packed) / done.stdout.split()[-1]
            _require_pinned(file, package["integrity"], name)
            _unpack(file, package["files"], work)
    return folder


def has_javascript(folder: Path = SCRIPTS) -> bool:
    """Return whether all of the page's JavaScript is there already."""
    packages = read_manifest().get("javascript", {}).values()
    return all((folder / Path(name).name).is_file() for package in packages for name in package["files"])


def _require_pinned(file: Path, integrity: str, name: str) -> None:
    digest = hashlib.sha512(file.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != integrity:
        raise AssetError(f"What npm brought for {name} is not the pinned file (another sha512): nothing of it is used.")


def _unpack(file: Path, names: list[str], target: Path) -> None:
    with tarfile.open(file) as archive:
        for name in names:  # by name alone: no path of the archive is followed
            content = archive.extractfile(f"package/{name}")
            (target / Path(name).name).write_bytes(content.read())


def write_page(export: str | Path, folder: str | Path, *, int8: bool = True, scripts: Path = SCRIPTS) -> Path:
    """Write the page with the exported model's int8 file, or the whole one, to `folder`; return it.

    It appears whole or not at all. WebAssembly rounds int8 sums in another way than onnxruntime here, so probabilities
    may differ in the second digit; those of the whole file differ in the fifth. Raises `AssetError` for an export
    without that file, and if the JavaScript cannot be had.
    """
    export, folder = Path(export), Path(folder)
    file = find_onnx(export, int8=int8)
    is_page = (folder / "index.html").exists() and (folder / "model/onnx").is_dir()
    require_own(folder, PAGE_FILES if is_page else ())
    fetch_javascript(scripts)
    with atomic_folder(folder) as work:
        page = PAGE.read_text(encoding="utf-8").replace('dtype = "q8"', f'dtype = "{"q8" if int8 else "fp32"}"')
        (work / "index.html").write_text(page, encoding="utf-8")
        for script in scripts.iterdir():
            shutil.copy(script, work)
        (work / "model/onnx").mkdir(parents=True)
        shutil.copy(file, work / "model/onnx")
        for setting in export.glob("*.json"):
            shutil.copy(setting, work / "model")
    return folder
