"""A kernel for code that nobody has read: it runs cell by cell, and is killed when it takes too much of anything."""

import queue
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from classroom.sandbox import write_kernelspec

MEMORY, PROCESSES, DISK = 4_000_000_000, 64, 20_000_000
MESSAGE = 20_000_000  # bytes; a larger one is not received
OUTPUT = 100_000  # characters of one cell that are kept
LOOK = 0.5  # seconds between two looks at what the kernel takes
PATIENCE = 4  # how many times as long as it may compute a cell may wait, for a processor or for nothing


class Trouble(Exception):  # noqa: N818
    """A kernel that had to be killed, or is gone; the message says why, in a sentence for the learner."""


class Kernel:
    """A fresh kernel behind `walls` (see `classroom.sandbox`). Use it in a `with` block, which ends it with all it started."""

    def __init__(self, walls: str | None):
        # A short path, since sockets live there: a kernel without network is reached through files.
        self.folder = Path(tempfile.mkdtemp(prefix="class-"))
        write_kernelspec(self.folder, walls)
        specs = KernelSpecManager(kernel_dirs=[str(self.folder)], ensure_native_kernel=False)
        file, transport = str(self.folder / "k.json"), "ipc" if walls else "tcp"
        self.manager = KernelManager(
            kernel_name="learner", kernel_spec_manager=specs, connection_file=file, transport=transport
        )
        self.client, self._looked = None, 0.0

    def __enter__(self) -> "Kernel":
        self.manager.start_kernel(cwd=str(self.folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.context.setsockopt(zmq.MAXMSGSIZE, MESSAGE)
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)
        return self

    def __exit__(self, *error) -> None:
        started = self._list_processes()
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        for process in started:  # what it left running; behind walls, all of it is gone by now
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, cell, seconds: float) -> None:
        """Run `cell` and put what it shows into its outputs; `Trouble` is raised if it cannot go on, or computes for more than
        `seconds`. Those are seconds of a processor: on a busy machine nobody loses by the others' work."""
        cell.outputs, start, busy = [], time.monotonic(), self._measure_busy()
        asked = self.client.execute(cell.source, allow_stdin=False, stop_on_error=False)
        while True:
            self._look(time.monotonic() - start, busy, seconds)
            try:
                message = self.client.get_iopub_msg(timeout=LOOK)
            except queue.Empty:
                continue
            except Exception as error:  # whatever a hostile kernel sends
                raise Trouble("The kernel sent what is no message.") from error
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "status" and message["content"].get("execution_state") == "idle":
                return
            keep_output(cell, message["msg_type"], message["content"])

    def _look(self, waited: float, busy: float, seconds: float) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if not self.manager.is_alive():
            raise Trouble("It ended the kernel, so that nothing after it could run.")
        if waited > PATIENCE * seconds or self._measure_busy() - busy > seconds:
            raise Trouble(f"It did not end within {seconds:.0f} s: is there an endless loop?")
        processes = self._list_processes()
        memory = sum(map(_measure_memory, processes))
        disk = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        for taken, limit, what in (
            (len(processes), PROCESSES, "processes"),
            (memory, MEMORY, "bytes of memory"),
            (disk, DISK, "bytes of disk"),
        ):
            if taken > limit:
                raise Trouble(f"It took more than {limit:,} {what}.")

    def _measure_busy(self) -> float:
        return sum(map(_measure_processor, self._list_processes()))

    def _list_processes(self) -> list[psutil.Process]:
        try:
            kernel = psutil.Process(self.manager.provisioner.pid)
            return [kernel, *kernel.children(recursive=True)]
        except (psutil.NoSuchProcess, AttributeError, TypeError):  # it is gone
            return []


def keep_output(cell, kind: str, content: dict) -> None:
    """Add a kernel's message to the cell's outputs: text, pictures and errors, in plain form and not more than `OUTPUT`.
    HTML and scripts are dropped, since a teacher opens the page."""
    room = OUTPUT - sum(len(str(output)) for output in cell.outputs)
    if room <= 0:
        return
    if kind == "stream":
        text, last = str(content.get("text", ""))[:room], cell.outputs[-1] if cell.outputs else {}
        if last.get("output_type") == "stream":
            last["text"] += text
        else:
            cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=text))
    elif kind == "error":
        cell.outputs.append(make_error(str(content.get("ename", "")), str(content.get("evalue", ""))[:room]))
    elif kind in ("display_data", "execute_result"):
        shown = content.get("data", {})
        plain = {mime: str(shown[mime]) for mime in ("text/plain", "image/png") if mime in shown}
        if sum(map(len, plain.values())) <= room * 5:  # a picture is longer than a text
            cell.outputs.append(nbformat.v4.new_output("display_data", data=plain))


def make_error(name: str, sentence: str):
    """Return an error as a cell's output."""
    return nbformat.v4.new_output("error", ename=name, evalue=sentence, traceback=[f"{name}: {sentence}"])


def _measure_memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _measure_processor(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])  # user and system, and the same of its children that ended
    except psutil.NoSuchProcess:
        return 0.0
