"""One archive for a class without network: `make pack` gathers the course, its models and data, and the tested libraries.

What was downloaded stays in `pack/wheels-…`, so that a pack which was interrupted goes on where it stopped.
"""

import argparse
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from classroom.release import list_notebooks, make_student_copy
from helpers.exceptions import AssetError, SettingError, shorten
from helpers.files import ROOT, atomic_path, make_folder

NAME = "transformers-for-emotion"
TEMPLATES = Path(__file__).parent
# The tags that pip may take wheels of, and what libraries need there that the tested set, frozen on Linux, does not hold.
PLATFORMS = {
    "linux": ([f"manylinux_2_{k}_x86_64" for k in range(28, 4, -1)] + ["manylinux2014_x86_64", "linux_x86_64"], []),
    "windows": (["win_amd64"], ["colorama", "pywinpty"]),
    "macos": (["macosx_14_0_arm64"], ["appnope"]),
}
CPU_TORCH = "https://download.pytorch.org/whl/cpu"  # elsewhere torch for Linux brings GBs of CUDA libraries along
BUILD = ["setuptools>=77", "wheel", "pip"]
BATCH = 15


def make_pack(
    platform: str, python: str, *, torch: bool = True, solutions: bool = False, to: Path = ROOT / "pack"
) -> Path:
    """Write the archive for a `platform` and a version of Python such as "3.12" into the folder `to`; return its path."""
    wheels = make_folder(to / f"wheels-{platform}-{python}")
    download_wheels(wheels, list_wanted(platform, torch), platform, python)
    variant = "" if torch else "-without-torch"
    folder, archive = to / "course", to / f"{NAME}-{platform}-python{python}{variant}.zip"
    shutil.rmtree(folder, ignore_errors=True)
    export_course(folder, solutions)
    for path in list_notebooks():
        make_student_copy(path, folder / "student")
    write_installers(folder, python, torch)
    with atomic_path(archive) as temporary:
        write_archive(temporary, folder, {"wheels": wheels, "data/cache": ROOT / "data" / "cache"}, torch)
    shutil.rmtree(folder)
    archive.with_suffix(".zip.sha256").write_text(f"{hash_file(archive)}  {archive.name}\n", encoding="utf-8")
    return archive


def list_wanted(platform: str, torch: bool) -> list[str]:
    """Return the libraries to download, torch the last one if it is wanted."""
    if platform not in PLATFORMS:
        raise SettingError(f"There is no pack for {platform!r}: use one of {', '.join(PLATFORMS)}.")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    of_torch = [line for line in pinned if re.match(r"torch\b", line)]
    return (
        [line for line in pinned if line not in of_torch] + PLATFORMS[platform][1] + BUILD + (of_torch if torch else [])
    )


def download_wheels(wheels: Path, wanted: list[str], platform: str, python: str) -> None:
    """Bring the wheels of `wanted` into the folder, those that are there already excepted. Where there is none for the
    platform, one is built here if the library is pure Python. Raises `AssetError` for what cannot be had."""
    missing = [line for line in wanted if not _is_there(wheels, line)]
    plain, of_torch = (
        [m for m in missing if not m.startswith("torch==")],
        [m for m in missing if m.startswith("torch==")],
    )
    for start in range(0, len(plain), BATCH):
        batch = plain[start : start + BATCH]
        print(f"{len(wanted) - len(missing) + start} of {len(wanted)} libraries", flush=True)
        if _download(wheels, batch, platform, python):
            for line in batch:  # one of them has no wheel
                if reason := _download(wheels, [line], platform, python) and _build(wheels, line):
                    raise AssetError(f"{line} cannot be had for {platform}, Python {python}: {shorten(reason, 120)}")
    for line in of_torch:
        print(f"{line} (200 MB or more)", flush=True)
        index = [] if platform == "macos" else ["--index-url", CPU_TORCH]
        reason = _download(wheels, [line], platform, python, *index)
        if reason or (platform == "linux" and not list(wheels.glob("torch-*+cpu-*.whl"))):
            remedy = f"see whether {CPU_TORCH} can be reached, or make the pack without torch"
            raise AssetError(f"The CPU build of {line} cannot be had for {platform}, Python {python}: {remedy}.")


def _is_there(wheels: Path, line: str) -> bool:
    name, _, version = re.sub(r"[><~].*", "", line).partition("==")
    name = re.sub(r"[-_.]+", "_", name).lower()
    files = (path.name.lower().split("-") for path in wheels.glob("*.whl"))
    return any(
        re.sub(r"[-_.]+", "_", f[0]) == name and f[1].split("+")[0] in (version, version or f[1].split("+")[0])
        for f in files
    )


def _download(wheels: Path, lines: list[str], platform: str, python: str, *options: str) -> str:
    """Let pip download wheels; return what it said if it failed, else an empty text."""
    tags = [part for tag in PLATFORMS[platform][0] for part in ("--platform", tag)]
    abi = f"cp{python.replace('.', '')}"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(wheels),
    ]
    kind = ["--implementation", "cp", "--python-version", python, "--abi", abi, "--abi", "abi3", "--abi", "none"]
    done = subprocess.run([*pip, *kind, *tags, *options, *lines], capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["pip failed"])[-1] if done.returncode else ""


def _build(wheels: Path, line: str) -> str:
    """Build a wheel of a library that is pure Python; return what was said if that failed, else an empty text."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), line]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    newest = max(wheels.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    if not newest.stem.endswith("-none-any"):
        newest.unlink()
        return "there is no wheel, and it is not pure Python"
    return ""


def export_course(folder: Path, solutions: bool) -> None:
    """Write the last commit's files into `folder`, without the worked solutions unless they are wanted."""
    left_out = [] if solutions else [":(exclude)notebooks/solutions"]
    done = subprocess.run(["git", "archive", "HEAD", "--", ".", *left_out], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise SettingError("The course's files cannot be listed: `make pack` needs git, and a clone of the repository.")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")


def write_installers(folder: Path, python: str, torch: bool) -> None:
    """Write `install.sh`, `install.ps1`, their constraints and the page to start with into `folder`."""
    values = {
        "@PYTHON@": python,
        "@OPTIONS@": "" if torch else "--system-site-packages",
        "@TORCH@": "yes" if torch else "no",
    }
    for name in ("install.sh", "install.ps1", "START_HERE.md"):
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        (folder / name).write_text(text, encoding="utf-8")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if torch or not line.startswith("torch==")]
    (folder / "constraints-pack.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")


def write_archive(archive: Path, folder: Path, beside: dict[str, Path], torch: bool) -> None:
    """Write `folder` and the folders `beside` it into one zip, with the checksum of every file in `checksums.txt`."""
    sums = []
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, path in _list_files(folder, beside, torch):
            packed = path.suffix in (".whl", ".gz", ".png", ".safetensors")
            file.write(path, f"{NAME}/{name}", zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
            sums.append(f"{hash_file(path)}  {name}\n")
        file.writestr(f"{NAME}/checksums.txt", "".join(sums))


def _list_files(folder: Path, beside: dict[str, Path], torch: bool) -> Iterator[tuple[str, Path]]:
    for start, root in {"": folder, **beside}.items():
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            if torch or not path.name.startswith("torch-"):
                yield "/".join(filter(None, [start, path.relative_to(root).as_posix()])), path


def hash_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Make the archive, print its path and size."""
    parser = argparse.ArgumentParser(prog="make pack", description=__doc__)
    parser.add_argument("--platform", default={"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux"))
    parser.add_argument("--python", default="3.12", help="the version on the learners' machines")
    parser.add_argument("--without-torch", action="store_true", help="for machines that have it")
    parser.add_argument("--solutions", action="store_true", help="with the worked solutions")
    asked = parser.parse_args()
    if not (ROOT / "data" / "cache").exists():
        raise SystemExit("Error: the models are not here yet: run `make setup` first.")
    try:
        archive = make_pack(asked.platform, asked.python, torch=not asked.without_torch, solutions=asked.solutions)
    except (AssetError, SettingError) as error:
        raise SystemExit(f"Error: {error}") from None
    print(f"{archive}: {archive.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
