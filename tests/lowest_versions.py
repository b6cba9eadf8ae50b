"""Install the lowest version that requirements.txt allows of everything, and run the unit tests there: `make test-lowest`.

`python tests/lowest_versions.py [FOLDER]` makes the environment in FOLDER (default: .venv-lowest), with uv, whose
resolution "lowest-direct" takes the lowest version of what requirements.txt names and the usual one of all the rest.
A bound that cannot be met, since something else wants a newer version, is untrue and fails as well.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements.txt"
OLDEST_PYTHON = (3, 11)  # the oldest libraries were never built for the newest Python
# These rehearse other environments, or run whole notebooks; all they need of the libraries is asked elsewhere too.
LEFT_OUT = ("assets/test_colab.py", "notebooks/test_gpu_profile.py")


def lower_bounds(requirements: Path = REQUIREMENTS) -> dict[str, str]:
    """Return the lowest version that `requirements` allows of each package, by canonical name."""
    lines = [line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    return {
        canonicalize_name(requirement.name): specifier.version
        for requirement in map(Requirement, filter(None, lines))
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }


def untrue_bounds(bounds: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Return a sentence per bound below what was installed; 0.6.1 is the lowest of "0.6" where there is no 0.6.0."""
    return [
        f"{name}>={low}: the lowest that can be installed is {installed[name]}"
        for name, low in bounds.items()
        if Version(installed[name]).release[: len(Version(low).release)] != Version(low).release
    ]


def main(folder: Path) -> int:
    """Install, compare with the bounds, fetch the models, run the tests; return the exit status."""
    if sys.version_info[:2] != OLDEST_PYTHON:
        print("The lowest versions want Python {}.{}: run this script with it.".format(*OLDEST_PYTHON))
        return 1
    venv.create(folder, clear=True, with_pip=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], check=True)
    uv = [python, "-m", "uv", "pip"]
    lowest = ["--resolution", "lowest-direct", "--python", python, "--requirement", str(REQUIREMENTS)]
    subprocess.run([*uv, "install", "--quiet", *lowest], check=True)
    subprocess.run([*uv, "install", "--quiet", "--no-deps", "--python", python, "--editable", str(ROOT)], check=True)
    listed = subprocess.run([*uv, "list", "--python", python, "--format", "json"], capture_output=True, check=True)
    installed = {canonicalize_name(entry["name"]): entry["version"] for entry in json.loads(listed.stdout)}
    bounds = lower_bounds()
    print("\n".join(f"{name} {installed[name]}" for name in bounds), flush=True)
    untrue = untrue_bounds(bounds, installed)
    print("\n".join(untrue), flush=True)
    subprocess.run([python, "-m", "helpers", "fetch"], cwd=ROOT, check=True)
    tests = [python, "-m", "pytest", "tests", *(f"--ignore=tests/{name}" for name in LEFT_OUT)]
    return subprocess.run(tests, cwd=ROOT).returncode or bool(untrue)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-lowest")))
