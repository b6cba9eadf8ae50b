"""Make an environment with the versions that Google Colab brings: `python tests/colab_environment.py`.

tests/colab_versions.txt lists them. The environment is made once, in .venv-colab (5.6 GB, about a minute and a half with a
fast package index; `make clean` removes it). The tests never install into it: each gets a copy of its own, whose files are
links, so that it costs a second and no disk, and pip can replace and remove packages in it as it does on Colab.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-colab"
VERSIONS = Path(__file__).with_name("colab_versions.txt")
PYTHON = "3.13"  # Colab's


def find_python() -> str:
    """Return a Python of Colab's version, or the one that runs this where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    ask = "import sys; print('{}.{}'.format(*sys.version_info))"
    for candidate in (shutil.which(f"python{PYTHON}"), *sorted(pyenv.glob(f"{PYTHON}.*/bin/python"), reverse=True)):
        if (
            candidate
            and subprocess.run([candidate, "-c", ask], capture_output=True, text=True).stdout.strip() == PYTHON
        ):
            return str(candidate)
    return sys.executable


def has_package_index() -> bool:
    """Return whether pip gets a package from the index that it is configured for."""
    ask = ["install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "iterative-stratification"]
    return subprocess.run([sys.executable, "-m", "pip", *ask], capture_output=True).returncode == 0


def make_environment(folder: Path = FOLDER) -> Path:
    """Return the site-packages of the environment in `folder`, which is made if it is not there with these versions."""
    python, recipe = find_python(), VERSIONS.read_text(encoding="utf-8")
    stamp, recipe = folder / "complete.txt", f"{python}\n{recipe}"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):  # two test files may want it at once
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != recipe:
            stamp.unlink(missing_ok=True)
            subprocess.run([python, "-m", "venv", "--clear", str(folder / "venv")], check=True)
            pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
            subprocess.run([*pip, "install", "--quiet", "--requirement", str(VERSIONS)], check=True)
            stamp.write_text(recipe, encoding="utf-8")
    return _site_packages(folder / "venv")


def copy_environment(packages: Path, target: Path) -> Path:
    """Make an environment in `target` with `packages`, linked file by file; return its site-packages.
    `target` must be on the same disk."""
    subprocess.run(
        [str(packages.parents[2] / "bin" / "python"), "-m", "venv", "--without-pip", str(target)], check=True
    )
    site = _site_packages(target)
    shutil.copytree(packages, site, copy_function=os.link, dirs_exist_ok=True)
    return site


def _site_packages(environment: Path) -> Path:
    (site,) = (environment / "lib").glob("python*/site-packages")
    return site


if __name__ == "__main__":
    print(make_environment())
