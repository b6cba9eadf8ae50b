"""Install what a notebook server lacks of requirements.txt, and nothing else: `python helpers/bootstrap.py`.

Made for Colab, whose torch and numpy fit its GPU driver and each other: these two are never touched.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
UNTOUCHED = ("torch", "numpy")
NOT_NEEDED = ("jupyterlab", "nbval", "pytest", "ruff", "hypothesis")


def missing_requirements(requirements: Path = REQUIREMENTS) -> list[str]:
    """Return the requirements that are not installed, or in a version outside their range."""
    wanted = [line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    missing = []
    for requirement in map(Requirement, filter(None, wanted)):
        if requirement.name in (*UNTOUCHED, *NOT_NEEDED):
            continue
        try:
            present = requirement.specifier.contains(version(requirement.name), prereleases=True)
        except PackageNotFoundError:
            present = False
        if not present:
            missing.append(str(requirement))
    return missing


def install_missing() -> list[str]:
    """Install what is missing while holding torch and numpy at their installed versions; return what was missing."""
    missing = missing_requirements()
    if missing:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as held:
            held.writelines(f"{name}=={version(name)}\n" for name in UNTOUCHED)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--constraint", held.name, *missing], check=True)
        Path(held.name).unlink()
    return missing


if __name__ == "__main__":
    print("installed:", ", ".join(install_missing()) or "nothing, all is here")
