"""Install what a notebook server lacks of requirements.txt, and nothing else: `python helpers/assets/install.py`.
Made for Colab and Kaggle, whose torch and numpy fit their GPU driver and each other. It runs as a script before anything
is installed, so it imports the standard library and `packaging` alone."""

import os
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
# peft looks at torchao before it builds any LoRA, used or not, and raises where it finds one that is too old for it.
ASK_PEFT = """
from peft import import_utils
try:
    import_utils.is_torchao_available()
except ImportError as error:
    print("refused:", error)
"""


def find_host() -> str | None:
    """Return "Kaggle" or "Colab" if this is a runtime of theirs, else None."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:  # first: Kaggle's image is built on Colab's
        return "Kaggle"
    return "Colab" if any(name.startswith("COLAB_") for name in os.environ) else None


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
            remedy = "see pip's message, then run this cell again"
            if find_host() == "Kaggle":
                remedy = "turn internet on in Settings, then run this cell again"
            raise SystemExit(f"{', '.join(missing)} could not be installed: {remedy}.")
    return missing


def remove_refused_torchao() -> str | None:
    """Uninstall a torchao that the installed peft refuses, since no LoRA would work; return a sentence that says so.

    The course does not use torchao. None is returned where there is none, or one that peft takes; in an environment that
    is the user's own, nothing is uninstalled, only said.
    """
    found = _version("torchao")
    if found is None or _version("peft") is None:
        return None
    asked = subprocess.run([sys.executable, "-c", ASK_PEFT], capture_output=True, text=True)
    refusals = [line for line in asked.stdout.splitlines() if line.startswith("refused: ")]
    if not refusals:
        return None
    reason = f"peft {version('peft')} refuses it ({refusals[-1].removeprefix('refused: ')})"
    if find_host() is None:
        return f"LoRA will fail: torchao {found} is here, and {reason}. Uninstall it, or install a newer one."
    pip = [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", "--disable-pip-version-check", "torchao"]
    done = subprocess.run(pip)
    said = "could not be removed" if done.returncode else "removed"
    return f"{said}: torchao {found}, which the course does not use: {reason}"


def main() -> None:
    """Install, say what was installed and what was left alone, and fetch the small models where there is no GPU."""
    before = {requirement.name: _version(requirement.name) for requirement in map(Requirement, missing_requirements())}
    install_missing()
    print("left as they are:", ", ".join(f"{name} {version(name)}" for name in UNTOUCHED))
    print("installed:", ", ".join(f"{name} {version(name)}" for name in before) or "nothing, all is here", flush=True)
    upgraded = [name for name, old in before.items() if old]
    if upgraded:
        print(f"newer now: {', '.join(upgraded)}. Should the next cell fail, restart the runtime and run all again.")
    if sentence := remove_refused_torchao():
        print(sentence, flush=True)
    if find_host() == "Kaggle":
        print(f"runs are kept in {ROOT / 'runs'}, with the notebook's output; data lie in /kaggle/input", flush=True)
    if shutil.which("nvidia-smi") is None:
        subprocess.run([sys.executable, "-m", "helpers", "fetch"], cwd=ROOT, check=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
