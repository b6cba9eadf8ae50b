"""Install what a notebook server lacks of requirements.txt, and nothing else: `python helpers/assets/install.py`.
Made for Colab, whose torch and numpy fit its GPU driver and each other. It runs as a script before anything is installed,
so it imports the standard library and `packaging` alone."""

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

# Badges, the notebooks' first cell and the README repeat it: `python -m helpers repository OWNER/NAME` changes them all.
REPOSITORY = "transformers-for-emotion/transformers-for-emotion"
ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements.txt"
UNTOUCHED = ("torch", "numpy")
SERVER = ("ipykernel", "jupyterlab", "nbclient", "papermill")  # what runs the notebook must not change while it runs
NOT_NEEDED = ("nbval", "pytest", "pytest-xdist", "ruff", "hypothesis", "import-linter")


def missing_requirements(requirements: Path = REQUIREMENTS) -> list[str]:
    """Return the requirements that are not installed, or in a version outside their range."""
    wanted = [line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    missing = []
    for requirement in map(Requirement, filter(None, wanted)):
        if requirement.name in (*UNTOUCHED, *SERVER, *NOT_NEEDED):
            continue
        installed = _version(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            missing.append(str(requirement))
    return missing


def install_missing() -> list[str]:
    """Install what is missing while holding torch and numpy at their installed versions; return what was missing."""
    missing = missing_requirements()
    if missing:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as held:
            held.writelines(f"{name}=={version(name)}\n" for name in UNTOUCHED)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--constraint", held.name, *missing])
        Path(held.name).unlink()
        if done.returncode:
            names = ", ".join(missing)
            raise SystemExit(f"{names} could not be installed: see pip's message, then run this cell again.")
    return missing


def main() -> None:
    """Install, say what was installed and what was left alone, and fetch the small models where there is no GPU."""
    before = {requirement.name: _version(requirement.name) for requirement in map(Requirement, missing_requirements())}
    install_missing()
    print("left as they are:", ", ".join(f"{name} {version(name)}" for name in UNTOUCHED))
    print("installed:", ", ".join(f"{name} {version(name)}" for name in before) or "nothing, all is here", flush=True)
    upgraded = [name for name, old in before.items() if old]
    if upgraded:
        print(f"newer now: {', '.join(upgraded)}. Should the next cell fail, restart the runtime and run all again.")
    if shutil.which("nvidia-smi") is None:
        subprocess.run([sys.executable, "-m", "helpers", "fetch"], cwd=ROOT, check=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
