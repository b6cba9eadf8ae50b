"""Where a learner's code runs: a kernel that sees the course and a scratch folder, no network, no other copy, no home.

The walls are bubblewrap's (Linux). Elsewhere a copy may do whatever the teacher may, which has to be asked for.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

from helpers.exceptions import SettingError
from helpers.files import ROOT

SCRATCH_BYTES = 500_000_000
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/passwd",
    "/etc/localtime",
    "/etc/fonts",
)
COURSE = ("helpers", "data", ".venv")
NO_WALLS = (
    "Copies can run arbitrary code, and there is no bubblewrap to confine them here: install it (Debian, Ubuntu: "
    "apt-get install bubblewrap), or grade in a container or account of its own and add TRUST=1."
)


def find_walls(trust: bool = False) -> str | None:
    """Return the path of bubblewrap if it works here; None if there is none and `trust` allows that.
    Raises `SettingError` otherwise."""
    found = shutil.which("bwrap")
    tried = [found, "--ro-bind", "/", "/", "--unshare-all", "true"] if found else ["false"]
    if found and subprocess.run(tried, capture_output=True).returncode == 0:
        return found
    if trust:
        return None
    raise SettingError(NO_WALLS)


def find_python() -> tuple[Path, Path]:
    """Return the Python of the course's environment, and the folder of the Python that it is made of."""
    python = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        raise SettingError("The course's environment is missing, in which the copies are run: `make setup` first.")
    asked = subprocess.run([python, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True)
    return python, Path(asked.stdout.strip())


def write_kernelspec(folder: Path, walls: str | None) -> None:
    """Write into `folder` how Jupyter starts a learner's kernel, which may write into `folder` alone."""
    python, base = find_python()
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    environment = {
        "PYTHONPATH": str(ROOT), "COURSE_RUNS": "/tmp/runs" if walls else str(folder / "runs"), "COURSE_PROGRESS": "off",
        "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    if walls:
        environment |= {"HOME": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "IPYTHONDIR": "/tmp/ipython"}
        command = [*_build_walls(walls, base, folder, environment), *command]
    spec = {"argv": command, "display_name": "learner", "language": "python", "env": {} if walls else environment}
    (folder / "learner").mkdir(parents=True, exist_ok=True)
    (folder / "learner" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


def _build_walls(walls: str, base: Path, folder: Path, environment: dict[str, str]) -> list[str]:
    """Return bubblewrap's command line: nothing is there but what it names."""
    command = [walls, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    for name, value in environment.items():
        command += ["--setenv", name, value]
    for path in SYSTEM:
        link = os.path.islink(path)
        command += ["--symlink", os.readlink(path), path] if link else ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev"]
    if "--size" in subprocess.run([walls, "--help"], capture_output=True, text=True).stdout:
        command += ["--size", str(SCRATCH_BYTES)]
    command += ["--tmpfs", "/tmp"]
    paths = [base, *(ROOT / name for name in COURSE), (ROOT / "data" / "cache").resolve()]
    for path in map(str, paths):
        command += ["--ro-bind-try", path, path]
    command += ["--dir", str(ROOT / "notebooks"), "--bind", str(folder), str(folder)]
    return [*command, "--chdir", str(ROOT / "notebooks")]  # an empty folder there, so that ../data is found
