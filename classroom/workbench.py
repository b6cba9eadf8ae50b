"""What nbgrader does with a copy here: each exercise is run with no more than it needs, so that one cannot spoil another."""

from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float, Unicode

from classroom.cells import find_checks, list_needed
from classroom.kernel import Kernel, Trouble, make_error

NOT_RUN = "NotRun"


class RunExercises(NbGraderPreprocessor):
    """Takes the place of nbgrader's own execution, which would train every model anew in every copy, and which gives up a
    whole copy for one endless loop."""

    seconds = Float(30.0, help="how long a cell may compute").tag(config=True)
    walls = Unicode(None, allow_none=True, help="the path of bubblewrap").tag(config=True)

    def preprocess(self, nb, resources):
        """Return the notebook with the outputs of its exercises, of the cells that they need and of their checks."""
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        run_exercises(nb, self.walls, self.seconds)
        return nb, resources


def run_exercises(content, walls: str | None, seconds: float) -> None:
    """Run the exercises of a notebook one after the other, in one kernel as long as it lives and else in a new one."""
    waiting = [[*list_needed(content, place), place, check] for place, check in sorted(find_checks(content).values())]
    while waiting:
        with Kernel(walls) as kernel:
            done = set()
            while waiting and _run_one(kernel, content, waiting.pop(0), done, seconds):
                pass


def _run_one(kernel: Kernel, content, cells: list[int], done: set[int], seconds: float) -> bool:
    """Run the cells of one exercise and return whether the kernel can go on. The check, its last cell, shows an error unless
    it was run, for a grader's cell that shows nothing counts as passed."""
    check = content.cells[cells[-1]]
    for k in cells:
        if k in done:
            continue
        try:
            kernel.run(content.cells[k], seconds)
            done.add(k)
        except Trouble as trouble:
            content.cells[k].outputs.append(make_error("Stopped", str(trouble)))
            check.outputs = [make_error("Stopped", str(trouble))]
            return False
    return True
