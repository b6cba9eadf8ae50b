"""One cell of a sweep, in a process of its own: `python workflow/cell.py PLAN NAME`. Snakemake starts it, here or on a node.

It loads little: the notebook's kernel is the process that needs PyTorch.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from helpers.exceptions import LONGEST, SettingError, shorten
from helpers.files import make_folder, read_json, write_json

GIVEN = "cell.json"  # in a cell's folder: the parameters with which it was last begun
ERROR = "error.txt"  # there, too: the sentence by which it failed
WAIT = 0.5  # seconds between two looks at what is waited for


def run_cell(plan: dict, name: str) -> str | None:
    """Run the cell `name` of `plan`; return None, or the sentence by which it failed.

    Whoever else has this cell is waited for: after `kill -9`, or on a cluster, an earlier process may be at it still. What
    it finished is not done again; what it left unfinished goes on from its last checkpoint.
    """
    cell = plan["cells"][name]
    folder = make_folder(Path(plan["folder"]) / Path(plan["notebook"]).stem / name)
    with FileLock(folder / ".cell.lock", thread_local=False):
        given = read_json(folder / GIVEN) if (folder / GIVEN).exists() else None
        if (folder / "metrics.json").exists() and given == cell["parameters"]:
            return None
        (folder / ERROR).unlink(missing_ok=True)
        write_json(folder / GIVEN, cell["parameters"])
        with claim_cards(cell["resources"]["gpus"]) as cards:
            if cards is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = cards
            error = run_notebook(Path(plan["notebook"]), folder / "executed.ipynb", cell["parameters"])
        if error is None and not (folder / "metrics.json").exists():
            error = f"{Path(plan['notebook']).name} ended without a metrics.json in {folder}."
        if error:
            (folder / ERROR).write_text(error + "\n", encoding="utf-8")
        return error


def run_notebook(notebook: Path, executed: Path, parameters: dict) -> str | None:
    """Execute a copy of `notebook` with papermill, what it prints on the terminal; return its error in a line, or None."""
    import papermill

    try:
        papermill.execute_notebook(
            str(notebook), str(executed), parameters, kernel_name="python3", cwd=str(notebook.parent),
            stdout_file=sys.stdout, stderr_file=sys.stderr, progress_bar=False,
        )  # fmt: skip
    except Exception as caught:  # whatever it is, the other cells go on
        name, text = getattr(caught, "ename", type(caught).__name__), str(getattr(caught, "evalue", caught))
        return shorten(f"{name}: {text}".splitlines()[0], LONGEST)
    return None


@contextlib.contextmanager
def claim_cards(count: int, cards: list[str] | None = None, folder: Path | None = None) -> Iterator[str | None]:
    """Yield `count` graphics cards that no other cell on this machine has, as CUDA_VISIBLE_DEVICES names them; "" hides
    them all, and None leaves the choice to SLURM, which made it. Waits until so many are free; a process that ends, in
    whatever way, gives its cards up. Raises `SettingError` where there are not as many."""
    if "SLURM_JOB_ID" in os.environ:
        yield None
        return
    cards = list_cards() if cards is None else cards
    if count > len(cards):
        raise SettingError(f"gpus: {count} are asked for and this machine shows {len(cards)}: lower it in sweep.yaml.")
    folder = make_folder(folder or Path(tempfile.gettempdir()) / "course-cards")
    locks = {card: FileLock(folder / f"{card}.lock", blocking=False, thread_local=False) for card in cards}
    while True:
        with contextlib.ExitStack() as held:
            taken = []
            for card in cards:
                with contextlib.suppress(Timeout):
                    if len(taken) < count:
                        held.enter_context(locks[card])
                        taken.append(card)
            if len(taken) == count:
                yield ",".join(taken)
                return
        time.sleep(WAIT)


def list_cards() -> list[str]:
    """Return the NVIDIA cards that this process may use, as CUDA_VISIBLE_DEVICES names them; [] where there is none."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return found.stdout.split() if found.returncode == 0 else []


def follow_parent(process: int) -> None:
    """From now on, end this process and its kernel as soon as `process` is gone: nobody would see what it does."""
    import psutil

    def watch() -> None:
        while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
            time.sleep(WAIT)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run one cell of a plan; exit with 1 after its error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=Path)
    parser.add_argument("name")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args()
    if given.parent:
        follow_parent(given.parent)
    plan = read_json(given.plan)
    os.environ |= {"OMP_NUM_THREADS": str(given.threads), "COURSE_PROGRESS": "lines", "COURSE_RUNS": plan["folder"]}
    if error := run_cell(plan, given.name):
        raise SystemExit(error)


if __name__ == "__main__":
    main()
