"""The copies that came back: read from a folder, whatever is in it, and laid out as nbgrader reads them."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from classroom.cells import find_exercises
from classroom.release import list_notebooks, mark_cells, read_notebook
from helpers.exceptions import SettingError, shorten
from helpers.files import make_folder


@dataclass
class Copy:
    """One notebook that came back; `problem` says why it cannot be graded."""

    student: str
    path: Path
    owner: str  # the folder, or the part of the file's name, that `student` was made of
    notebook: str = ""
    content: object = None
    problem: str = ""
    untouched: set[str] = field(default_factory=set)  # exercises whose cells are as they were handed out
    states: dict[str, str] = field(default_factory=dict)
    points: str = ""
    open_ended: str = ""
    page: str = ""


def read_copies(folder: Path) -> list[Copy]:
    """Return the copies below `folder`; of several of one notebook in one student's folder, the newest."""
    # An export, such as .html, never takes the notebook's place.
    files = sorted(_find_files(folder), key=lambda path: (".ipynb" in path.name.lower(), path.stat().st_mtime))
    if not files:
        raise SettingError(f"There is no notebook below {shorten(folder)}: give the folder with the students' copies.")
    copies = [_read_copy(folder, path) for path in files]
    places = [copy.path if copy.path.parent == folder else copy.path.parent for copy in copies]
    newest = {(place, copy.notebook or copy.path.name): copy for place, copy in zip(places, copies, strict=True)}
    _refuse_shared_names(folder, list(newest.values()))
    return sorted(newest.values(), key=lambda copy: (copy.notebook, copy.student))


def _find_files(folder: Path) -> list[Path]:
    """Return what looks like a notebook that came back: browsers add .txt to a name, or put .json in place of .ipynb."""
    names = [".ipynb", *(notebook.stem for notebook in list_notebooks())]
    files = [path for path in folder.rglob("*") if any(name in path.name.lower() for name in names) and path.is_file()]
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _refuse_shared_names(folder: Path, copies: list[Copy]) -> None:
    """Give a problem to the copies that would be graded under one name, where the last would take the others' place."""
    graded = [copy for copy in copies if not copy.problem]
    for copy in graded:
        same = [other for other in graded if other.student.casefold() == copy.student.casefold()]
        same = [one for one in same if one is copy or one.owner != copy.owner or one.notebook == copy.notebook]
        if len(same) > 1:
            names = " and ".join(str(one.path.relative_to(folder)) for one in same)
            copy.problem = f"shares the name {copy.student} with others: rename one of {shorten(names, 200)}"


def _find_owner(path: Path) -> str:
    """Return whose copy it is, as its folder says, or the rest of its file's name."""
    if len(path.parts) > 1:
        return path.parent.as_posix()
    whole = name = re.sub(r"\.ipynb.*$|\.\w+$", "", path.name, flags=re.IGNORECASE)
    for notebook in list_notebooks():
        name = re.sub(notebook.stem, "", name, flags=re.IGNORECASE).strip("-_. ") or whole
    return name


def _read_copy(folder: Path, path: Path) -> Copy:
    known = {notebook.stem[:2]: notebook.stem for notebook in list_notebooks()}
    owner = _find_owner(path.relative_to(folder))
    copy = Copy(re.sub(r"[^\w.-]+", "-", owner).strip(".-") or "copy", path, owner)
    number = re.search(r"(?<!\d)(\d\d)_", path.name)
    copy.notebook = known.get(number[1], "") if number else ""
    try:
        content = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        _, copy.content = nbformat.validator.normalize(content)
        nbformat.validate(copy.content)
        numbers = Counter(number[:2] for number in find_exercises(copy.content))
    except Exception as error:  # whatever is in such a file
        copy.problem = f"cannot be read as a notebook ({type(error).__name__})"
        return copy
    if numbers:
        copy.notebook = known.get(numbers.most_common(1)[0][0], copy.notebook)
    if not copy.notebook:
        copy.problem = "is no notebook of the course: it has none of its exercises"
    return copy


def write_course(folder: Path, copies: list[Copy]) -> None:
    """Write what nbgrader reads: the notebooks with their tests, and the copies with the marks of what was handed out."""
    for stem in {copy.notebook for copy in copies if not copy.problem}:
        path = list_notebooks(stem[:2])[0]
        source = make_folder(folder / "source" / stem) / path.name
        nbformat.write(mark_cells(read_notebook(path), hidden=True), source)
        for copy in [copy for copy in copies if copy.notebook == stem and not copy.problem]:
            try:
                copy.untouched = _list_untouched(copy.content, read_notebook(path))
                marked = mark_cells(copy.content, hidden=False, released=read_notebook(path))
                submitted = make_folder(folder / "submitted" / copy.student / stem)
                nbformat.write(marked, submitted / path.name)
            except Exception as error:  # one copy must not stop the others
                copy.problem = f"cannot be prepared ({type(error).__name__})"


def _list_untouched(content, released) -> set[str]:
    before, now = find_exercises(released), find_exercises(content)
    sources = {number: released.cells[place].source.strip() for number, (place, _) in before.items()}
    own = {number: content.cells[place].source.strip() for number, (place, _) in now.items()}
    return {number for number, source in sources.items() if own.get(number, source) == source}
