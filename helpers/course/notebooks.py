"""The notebooks as files: find them, execute them headlessly, refresh their stored outputs."""

import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat

from helpers.course.expected import judge
from helpers.course.timing import Meter, Progress
from helpers.exceptions import LONGEST, PlainError, SettingError, shorten
from helpers.files import ROOT, make_folder, read_json
from helpers.runs import find_runs

NOTEBOOKS = ROOT / "notebooks"


@dataclass(frozen=True)
class Outcome:
    """What became of one headless run; `error` is one line, or None."""

    notebook: str
    seconds: float
    record: dict | None
    executed: Path
    error: str | None

    @property
    def verdict(self) -> str:
        """FAILED, OUTSIDE or inside the expected band, or "no band"."""
        table = None if self.record is None else judge(self.record)
        if self.error:
            return "FAILED"
        if table is None or table.empty:
            return "no band"
        return "inside" if table["inside"].all() else "OUTSIDE"

    @property
    def can_be_mended(self) -> bool:
        """Whether it failed by an error that says what the user shall do about it."""
        return (self.error or "").split(":")[0] in [kind.__name__ for kind in PlainError.__subclasses__()]


def find_notebooks(number: str | None = None) -> list[Path]:
    """Return the numbered notebooks in order, or the one whose name begins with `number`."""
    found = sorted(NOTEBOOKS.glob(f"{number or '[0-9][0-9]'}_*.ipynb"))
    if not found:
        names = ", ".join(path.name[:2] for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))
        raise SettingError(f"There is no notebook {number!r}: use one of {names}.")
    return found


def run_headless(
    notebook: Path, parameters: dict | None = None, runs: Path | None = None, follower: Meter | Progress | None = None
) -> Outcome:
    """Execute a copy of `notebook` with papermill, its output on the terminal; errors end up in the outcome.
    The copy goes to `runs/<notebook>/`; so does the newest `metrics.json` that the run wrote, which is read back.
    A `follower` hears of each cell that was executed, in place of papermill's bar, and says where output goes."""
    import papermill

    runs = (runs or find_runs()).resolve()  # the kernel works in another folder
    folder = make_folder(runs / notebook.stem)
    executed, start, error = folder / notebook.name, time.time(), None
    os.environ.setdefault("COURSE_PROGRESS", "lines")
    os.environ["COURSE_RUNS"] = str(runs)
    try:
        papermill.execute_notebook(
            str(notebook), str(executed), parameters or {}, kernel_name="python3", cwd=str(NOTEBOOKS),
            stdout_file=follower.output if follower else sys.stdout, stderr_file=sys.stderr,
            progress_bar=follower is None, on_cell_executed=follower.note if follower else None,
        )  # fmt: skip
    except Exception as caught:  # one broken notebook must not stop the others
        name, text = getattr(caught, "ename", type(caught).__name__), str(getattr(caught, "evalue", caught))
        error = shorten(f"{name}: {text}".splitlines()[0], LONGEST)
    return Outcome(notebook.stem, time.time() - start, _newest_record(folder, start), executed, error)


def _newest_record(folder: Path, since: float) -> dict | None:
    fresh = [path for path in folder.glob("*/metrics.json") if path.stat().st_mtime >= since - 1]
    return read_json(max(fresh, key=lambda p: p.stat().st_mtime)) if fresh else None


def summary_lines(outcomes: list[Outcome], foretold: dict[str, float] | None = None) -> list[str]:
    """Return the table that ends `make run`: notebook, time and what was `foretold`, headline metrics, inside the band or
    not, executed copy."""
    title = f"{'foretold':>10}" if foretold else ""
    lines = [f"{'notebook':<24} {'time':>7}{title}  {'accuracy':>8}  {'macro F1':>8}  {'expected':<10} executed copy"]
    for outcome in outcomes:
        scores = [f"{outcome.record[name]:.3f}" if outcome.record else "-" for name in ("accuracy", "f1_macro")]
        path = outcome.executed
        path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        before = f"{foretold[outcome.notebook]:>8.0f} s" if foretold else ""
        figures = f"{outcome.seconds:>5.0f} s{before}  {scores[0]:>8}  {scores[1]:>8}"
        lines.append(f"{outcome.notebook:<24} {figures}  {outcome.verdict:<10} {path}")
        if outcome.error:
            lines.append(f"    {outcome.error}")
    return lines


def refresh(notebook: Path) -> None:
    """Execute `notebook` in place with its defaults and store what should be committed: outputs, counts, no noise.
    They are those of a first run in the laptop profile on every machine: earlier runs and a GPU are hidden."""
    from nbclient import NotebookClient

    content = nbformat.read(notebook, as_version=4)
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    with tempfile.TemporaryDirectory() as runs:
        os.environ |= {"COURSE_PROGRESS": "off", "CUDA_VISIBLE_DEVICES": "", "COURSE_RUNS": runs}
        NotebookClient(content, timeout=3600, kernel_name="python3", record_timing=False, resources=where).execute()
    write_clean(content, notebook)


def write_clean(content, path: Path) -> None:
    """Write a notebook with the metadata that the course commits: kernel `python3`, language, tags, what a figure shows
    (`alt`, for those who cannot see it); nothing personal."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    for cell in content.cells:
        kept = {name: cell.metadata[name] for name in ("tags", "alt") if cell.metadata.get(name)}
        cell.metadata = nbformat.from_dict(kept)
    nbformat.validate(content)
    nbformat.write(content, path)


def extract_figures(folder: Path = ROOT / "figures") -> list[Path]:
    """Write the picture of every committed cell tagged `figure-<name>` to `folder/<name>.png`; return the paths."""
    import base64

    written = []
    folder.mkdir(exist_ok=True)
    for notebook in find_notebooks():
        for cell in nbformat.read(notebook, as_version=4).cells:
            names = [tag.removeprefix("figure-") for tag in cell.metadata.get("tags", []) if tag.startswith("figure-")]
            pictures = [o.data["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
            for name, picture in zip(names, pictures, strict=False):
                path = folder / f"{notebook.stem[:2]}_{name}.png"
                path.write_bytes(base64.b64decode(picture))
                written.append(path)
    return written


def move_repository(address: str, root: Path = ROOT) -> list[Path]:
    """Write the repository's new address, "owner/name", wherever the old one stands; return the changed files.
    The old one is `install.REPOSITORY`; badges, first cells, README, contributing guide and citation repeat it."""
    if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", address):
        raise SettingError(f"{address!r} is no repository on GitHub: write it as owner/name.")
    constant = root / "helpers" / "assets" / "install.py"
    old = re.search(r'^REPOSITORY = "(.+)"$', constant.read_text(encoding="utf-8"), re.MULTILINE)[1]
    changed = []
    for file in [constant, *sorted(root.glob("*.md")), *root.glob("*.cff"), *sorted((root / "notebooks").rglob("*"))]:
        if file.suffix in (".py", ".md", ".cff", ".ipynb") and old.encode() in file.read_bytes():
            file.write_bytes(file.read_bytes().replace(old.encode(), address.encode()))
            changed.append(file)
    return changed
