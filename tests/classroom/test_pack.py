"""The archive for a room without network: what is in it, that it goes on where it stopped, and that a damaged one says so."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from classroom import pack
from helpers.exceptions import AssetError, SettingError
from helpers.files import ROOT

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
needs_shell = pytest.mark.skipif(os.name == "nt" or not shutil.which("sh"), reason="install.sh needs a shell")


@pytest.fixture
def few_libraries(monkeypatch):
    """Let a pack want three libraries, and pip "download" them as empty files; the list of what it was asked for."""
    asked = []

    def download(wheels: Path, lines: list[str], platform: str, python: str, *options: str) -> str:
        asked.append(lines)
        for line in lines:
            name, version = line.split("==")
            local = "+cpu" if name == "torch" and "--index-url" in options else ""
            (wheels / f"{name.replace('-', '_')}-{version}{local}-py3-none-any.whl").write_bytes(b"wheel")
        return ""

    monkeypatch.setattr(pack, "list_wanted", lambda platform, torch: ["a-b==1.0", "c==2.0", *["torch==2.13.0"] * torch])
    monkeypatch.setattr(pack, "_download", download)
    return asked


@pytest.fixture
def small_course(monkeypatch):
    """Let a pack hold two notebooks' worth of nothing: no git archive, no models."""

    def export(folder: Path, solutions: bool) -> None:
        (folder / "notebooks").mkdir(parents=True)
        (folder / "requirements.txt").write_text("")

    monkeypatch.setattr(pack, "export_course", export)
    monkeypatch.setattr(pack, "list_notebooks", lambda: [])


def unpack(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder / pack.NAME


@pytest.mark.parametrize("platform", pack.PLATFORMS)
def test_torch_is_wanted_last_or_not_at_all(platform):
    wanted = pack.list_wanted(platform, torch=True)
    assert wanted[-1].startswith("torch==") and len(wanted) == len(set(wanted)) > 150
    assert wanted[:-1] == pack.list_wanted(platform, torch=False)


def test_an_unknown_platform_is_refused():
    with pytest.raises(SettingError, match="no pack for 'amiga'"):
        pack.list_wanted("amiga", torch=True)


def test_what_is_there_is_not_downloaded_again(few_libraries, small_course, tmp_path):
    pack.make_pack("linux", "3.12", to=tmp_path)
    assert few_libraries == [["a-b==1.0", "c==2.0"], ["torch==2.13.0"]]
    next((tmp_path / "wheels-linux-3.12").glob("c-*")).unlink()
    pack.make_pack("linux", "3.12", to=tmp_path)
    assert few_libraries[2:] == [["c==2.0"]]


def test_every_file_has_its_checksum(few_libraries, small_course, tmp_path):
    archive = pack.make_pack("linux", "3.12", to=tmp_path)
    folder = unpack(archive, tmp_path / "there")
    listed = dict(line.split("  ")[::-1] for line in (folder / "checksums.txt").read_text().splitlines())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {*listed, "checksums.txt"}
    assert {"install.sh", "install.ps1", "START_HERE.md", "constraints-pack.txt"} <= files
    for name, checksum in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum
    stated = Path(f"{archive}.sha256").read_text().split("  ")[0]
    assert stated == hashlib.sha256(archive.read_bytes()).hexdigest()
    for name in ("install.sh", "install.ps1", "START_HERE.md"):
        text = (folder / name).read_text()
        assert "3.12" in text and "@PYTHON@" not in text and "@OPTIONS@" not in text and "@TORCH@" not in text


def test_the_variant_without_torch(few_libraries, small_course, tmp_path):
    pack.make_pack("linux", "3.12", to=tmp_path)  # its torch stays in the folder of downloads
    folder = unpack(pack.make_pack("linux", "3.12", torch=False, to=tmp_path), tmp_path / "there")
    assert not list(folder.glob("wheels/torch-*"))
    assert "torch==" not in (folder / "constraints-pack.txt").read_text()
    assert "--system-site-packages" in (folder / "install.sh").read_text()


def test_a_torch_with_cuda_is_refused(few_libraries, small_course, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "CPU_TORCH", "")
    plain = pack._download
    monkeypatch.setattr(pack, "_download", lambda *arguments: plain(*arguments[:4]))  # as the plain index has it
    with pytest.raises(AssetError, match="CPU build of torch"):
        pack.make_pack("linux", "3.12", to=tmp_path)


def test_a_library_that_cannot_be_had_is_named(small_course, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "list_wanted", lambda platform, torch: ["nowhere==1.0"])
    monkeypatch.setattr(pack, "_download", lambda *arguments: "no such thing")
    monkeypatch.setattr(pack, "_build", lambda *arguments: "no such thing")
    with pytest.raises(AssetError, match=r"nowhere==1\.0 cannot be had for windows, Python 3\.12"):
        pack.make_pack("windows", "3.12", to=tmp_path)


@pytest.mark.parametrize("solutions", [False, True])
def test_the_last_commit_is_packed_without_its_solutions(solutions, tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    pack.export_course(tmp_path / "course", solutions)
    assert (tmp_path / "course" / "notebooks" / "00_start_here.ipynb").exists()
    assert (tmp_path / "course" / "notebooks" / "solutions").exists() == solutions


@needs_shell
@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda folder: (folder / "wheels" / "c-2.0-py3-none-any.whl").write_bytes(b"other"), "damaged or missing"),
        (lambda folder: (folder / "requirements.txt").unlink(), "damaged or missing"),
    ],
    ids=["changed", "gone"],
)
def test_a_damaged_pack_is_not_installed(spoil, said, few_libraries, small_course, tmp_path):
    folder = unpack(pack.make_pack("linux", HERE, to=tmp_path), tmp_path / "there")
    spoil(folder)
    done = subprocess.run(
        ["sh", "install.sh"], cwd=folder, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 2 and said in done.stderr
    assert not (folder / ".venv").exists()


@needs_shell
def test_another_python_is_refused(few_libraries, small_course, tmp_path):
    folder = unpack(pack.make_pack("linux", "3.99", to=tmp_path), tmp_path / "there")
    done = subprocess.run(
        ["sh", "install.sh"], cwd=folder, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Python 3.99 is needed" in done.stderr
