"""The cells that exercises are made of, and what each of them needs of the cells before it."""

import ast
import contextlib
import re

CHECK = re.compile(
    r"""^[ \t]*course\.check\(\s*["'](\d\d\.\d+)["']\s*,\s*(.*?),?\s*\)?[ \t;]*(?:#.*)?$""", re.MULTILINE
)
OPEN_ENDED = re.compile(r"^\*\*Exercise (\d+)\W+open-ended", re.MULTILINE)


def find_exercises(content) -> dict[str, tuple[int, str]]:
    """Return the place and the answer's name of each exercise that checks itself, by its number such as "00.1". In a copy
    that came back, the name may be any expression, and several exercises may stand in one cell. Of several cells with the
    same check, the last one counts: it is what the learner ended with."""
    found = {}
    for place, cell in enumerate(content.cells):
        if cell.cell_type == "code":
            found |= {number: (place, name) for number, name in CHECK.findall(cell.source)}
    return found


def find_checks(content) -> dict[str, tuple[int, int]]:
    """Return the places of each exercise that is graded and of the grader's cell for it, by the exercise's number."""
    names = {cell.metadata.get("nbgrader", {}).get("grade_id"): place for place, cell in enumerate(content.cells)}
    places = {number: (place, names.get(name_check(number))) for number, (place, _) in find_exercises(content).items()}
    return {number: (place, check) for number, (place, check) in places.items() if check is not None}


def name_check(number: str) -> str:
    """Return the name by which nbgrader knows the grader's cell of an exercise."""
    return f"check-{number.replace('.', '-')}"


def find_open_ended(content) -> dict[int, int]:
    """Return the place of the text of each open-ended exercise, by its number in the notebook."""
    texts = ((place, cell.source) for place, cell in enumerate(content.cells) if cell.cell_type == "markdown")
    return {int(number): place for place, text in texts for number in OPEN_ENDED.findall(text)}


def list_needed(content, place: int) -> list[int]:
    """Return the places of the cells before `place` that the cell there needs: those which define a name that it uses, those
    which they need, and so on. So an exercise can be run without the training that stands before it."""
    names = {
        k: read_names(cell.source) for k, cell in enumerate(content.cells[: place + 1]) if cell.cell_type == "code"
    }
    chosen, waiting = set(), [place]
    while waiting:
        user = waiting.pop()
        for used, end in ((names[user].now, user), (names[user].later, place)):  # a function may use what follows it
            last = (max((k for k in names if k < end and name in names[k].defined), default=None) for name in used)
            new = {k for k in last if k is not None} - chosen
            chosen |= new
            waiting += new
    return sorted(chosen)


def read_names(source: str) -> "Names":
    """Return the names that a cell defines, and those of other cells that it uses; none if it is no Python."""
    code, names = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))), Names()
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        names.visit(ast.parse(code))
    return names


class Names(ast.NodeVisitor):
    """Reads a cell in the order in which it runs: what it defines, what it uses `now`, and `later`, in functions' bodies."""

    def __init__(self):
        self.defined: set[str] = set()
        self.now: set[str] = set()
        self.later: set[str] = set()

    def visit(self, node) -> None:
        """Read one part; the parts of a statement come in the order in which they are computed."""
        first = [getattr(node, name) for name in ("value", "iter") if isinstance(getattr(node, name, None), ast.AST)]
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.AugAssign)):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                self._use(node.target.id)
            for part in [*first, *(part for part in ast.iter_child_nodes(node) if part not in first)]:
                self.visit(part)
        elif isinstance(node, ast.Name):
            self._use(node.id) if isinstance(node.ctx, ast.Load) else self.defined.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._define_function(node)
        elif isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            for name in sorted(_free_names(node)):
                self._use(name)
        elif isinstance(node, (ast.Subscript, ast.Attribute)):
            self.generic_visit(node)
            self.defined |= _bound_here(node)
        else:
            self.defined |= _bound_here(node)
            self.generic_visit(node)

    def _use(self, name: str) -> None:
        if name not in self.defined:
            self.now.add(name)

    def _define_function(self, node) -> None:
        outside = [*node.decorator_list, *getattr(node, "bases", ())]
        if arguments := getattr(node, "args", None):
            outside += [part for part in [*arguments.defaults, *arguments.kw_defaults] if part is not None]
        for part in outside:
            self.visit(part)
        self.defined.add(node.name)
        at_once = set().union(*map(_free_names, outside))
        self.later |= _free_names(node) - at_once


def _free_names(node) -> set[str]:
    """Return the names that a function or comprehension uses and does not bind itself."""
    parts = list(ast.walk(node))
    used = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    bound = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return used - bound.union(*map(_bound_here, parts))


def _bound_here(node) -> set[str]:
    """Return what a part of a program binds, or changes in place, besides by a name on the left of an equals sign."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
        return {node.value.id} if isinstance(node.value, ast.Name) else set()
    name = getattr(node, "arg" if isinstance(node, ast.arg) else "name", None)
    return {name} if isinstance(name, str) and not isinstance(node, ast.alias) else set()
