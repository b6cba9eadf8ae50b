"""A sweep as data: `sweep.yaml` names systems, datasets, folds and seeds; every combination of them is one cell."""

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path

from helpers.assets.defaults import read_notebook
from helpers.course.notebooks import find_notebooks
from helpers.course.parameters import check_parameters, settle_paths
from helpers.exceptions import DataError, SettingError, shorten
from helpers.files import ROOT, read_json
from helpers.runs import WITHOUT_EFFECT, check_run_name, find_runs, shorten_name

SECTIONS = ("name", "notebook", "systems", "grid", "parameters", "resources")
# What a cell may be given, besides what is estimated for it: threads, cards, megabytes, and minutes on a cluster.
RESOURCES = ("threads", "gpus", "memory_mb", "minutes")
# In a cell's folder: the parameters with which it was last begun, why it failed (both by workflow/cell.py), Snakemake's mark.
GIVEN, ERROR, FINISHED = "cell.json", "error.txt", "finished"


@dataclass(frozen=True)
class Cell:
    """One run of the notebook: a name, which is also its run's, its parameters, and what it may use."""

    name: str
    system: str
    parameters: dict
    resources: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """All cells of a `sweep.yaml`; their runs lie below `folder`."""

    name: str
    notebook: Path
    folder: Path
    cells: list[Cell]

    def find_cell(self, name: str) -> Cell:
        """Return the cell called `name`."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise SettingError(f"The sweep has no cell {shorten(name)}: `--dry-run` lists them.")

    def find_folder(self, cell: Cell) -> Path:
        """Return the run's folder of `cell`."""
        return self.folder / self.notebook.stem / cell.name

    def is_done(self, cell: Cell) -> bool:
        """Return whether `cell` has left its record."""
        return (self.find_folder(cell) / "metrics.json").exists()


def read_sweep(file: Path, runs: Path | None = None) -> Sweep:
    """Return the sweep that `file` describes. Its runs are below `runs`, by default `runs/sweeps/<name>`.
    Raises `SettingError` for what cannot work, before any cell is begun."""
    content = _read_yaml(file)
    if unknown := sorted(set(content) - set(SECTIONS)):
        raise SettingError(f"{file.name}: {unknown[0]!r} is unknown: use {', '.join(SECTIONS)}.")
    name = str(content.get("name") or file.stem)
    check_run_name(name)
    notebook = find_notebook(content.get("notebook", "experiment"), file.parent)
    systems, grid = content.get("systems") or {"": {}}, content.get("grid") or {}
    if not isinstance(systems, dict) or not all(isinstance(found or {}, dict) for found in systems.values()):
        raise SettingError(f"{file.name}: write systems as a name and its parameters, e.g. 'MiniLM: {{epochs: 4}}'.")
    known = read_notebook(notebook.stem)["parameters"]
    cells = []
    for system, own in systems.items():
        own = dict(own or {})
        resources = (content.get("resources") or {}) | (own.pop("resources", None) or {})
        _check_resources(resources, file)
        for point in itertools.product(*([(k, v) for v in _listed(values)] for k, values in grid.items())):
            given = (content.get("parameters") or {}) | own | dict(point)
            cells.append(_make_cell(str(system), dict(point), given, known, resources, file))
    _refuse_twins(cells, file)
    return Sweep(name, notebook, (runs or find_runs() / "sweeps" / name).resolve(), cells)


def find_notebook(name: str | int, beside: Path = ROOT) -> Path:
    """Return the notebook `name`: a number, "experiment", or a file `beside` which `sweep.yaml` lies."""
    number = f"{name:02d}" if isinstance(name, int) else str(name)
    if number == "experiment":
        path = ROOT / "workflow" / "experiment.ipynb"
        if not path.is_file():
            raise SettingError("A sweep needs the folder workflow/, which is in the course's repository: clone it.")
        return path
    if number.endswith(".ipynb"):
        path = (beside / number).resolve()
        if not path.is_file():
            raise SettingError(f"notebook: {shorten(number)} is not there: give its path from where sweep.yaml lies.")
        return path
    return find_notebooks(number)[0]


def read_kept(path: Path) -> dict:
    """Return the content of a JSON file that a cell has left; `DataError` for one that is damaged."""
    try:
        return dict(read_json(path))
    except (ValueError, TypeError):
        raise DataError(f"{path} cannot be read: delete that cell's folder, and it is run again.") from None


def list_changed(sweep: Sweep) -> list[str]:
    """Return the finished cells whose parameters are not those of the sweep any more, each with what differs.
    Raises `DataError` for a cell whose parameters cannot be read."""
    changed = []
    for cell in sweep.cells:
        given = sweep.find_folder(cell) / GIVEN
        if sweep.is_done(cell) and given.exists():
            before = read_kept(given)
            names = [name for name in {**before, **cell.parameters} if name not in WITHOUT_EFFECT]
            wrong = [name for name in names if before.get(name) != cell.parameters.get(name)]
            changed += [f"{cell.name} ({', '.join(wrong)})"] if wrong else []
    return changed


def _make_cell(system: str, point: dict, given: dict, known: list[str], resources: dict, file: Path) -> Cell:
    if known:
        if unknown := [name for name in given if name not in known]:
            raise SettingError(f"{file.name}: the notebook has no parameter {unknown[0]!r}.")
        if "run_name" not in known:
            raise SettingError(f"{file.name}: a notebook of a sweep needs the parameter run_name.")
        if system and "system" in known:
            given = {"system": system} | given
    check_parameters(given)
    words = [shorten_name(system) if system else "", *(_word(name, value) for name, value in point.items())]
    name = "-".join(filter(None, words)) or "run"
    check_run_name(name)
    # The place of the data is the user's; every cell is run elsewhere.
    return Cell(name, system or name, settle_paths(given) | {"run_name": name}, dict(resources))


def _word(name: str, value) -> str:
    """Return what a cell's name holds of a parameter: "fold1", "seed0"; of a model or dataset its own name."""
    plain = shorten_name(str(value)) if isinstance(value, str) else str(value)
    return plain if name in ("model", "encoder", "decoder", "dataset", "method") else f"{name}{plain}"


def _listed(values) -> list:
    return list(values) if isinstance(values, list | tuple) else [values]


def _check_resources(resources: dict, file: Path) -> None:
    for name, value in resources.items():
        if name not in RESOURCES:
            raise SettingError(f"{file.name}: resources: {name!r} is unknown: use {', '.join(RESOURCES)}.")
        if not isinstance(value, int) or isinstance(value, bool) or value < (name != "gpus"):
            raise SettingError(f"{file.name}: resources: {name}={value!r}: it must be a whole number.")


def _refuse_twins(cells: list[Cell], file: Path) -> None:
    names = [cell.name for cell in cells]
    if not names:
        raise SettingError(f"{file.name} has no cell: an empty list in grid leaves nothing to run.")
    twins = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twins:
        raise SettingError(f"{file.name}: two cells are called {twins[0]}: give the systems names that differ.")


def _read_yaml(file: Path) -> dict:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.1 reads 2e-5, without a point, as a text; here it is the number that everybody means."""

    powers = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", powers, list("-+0123456789"))
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise SettingError(f"{shorten(file)} is not there: workflow/sweep.yaml is one to begin with.") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f", line {line + 1}" if line is not None else ""
        raise SettingError(
            f"{shorten(file)}{where} is not YAML that can be read: compare workflow/sweep.yaml."
        ) from None
    if not isinstance(content, dict):
        raise SettingError(f"{shorten(file)} holds no sweep: compare workflow/sweep.yaml.")
    for name in ("grid", "parameters", "resources"):
        if not isinstance(content.get(name) or {}, dict):
            raise SettingError(f"{file.name}: write {name} as names and values, as workflow/sweep.yaml does.")
    return content
