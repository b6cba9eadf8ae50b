"""A learner's kernel: what it may show, and when it is killed; behind walls where there are some."""

import shutil
import socket

import nbformat
import pytest

from classroom.kernel import OUTPUT, Kernel, Trouble, keep_output
from classroom.sandbox import find_walls
from helpers.exceptions import SettingError


def test_html_and_scripts_are_dropped():
    cell = nbformat.v4.new_code_cell()
    keep_output(cell, "display_data", {"data": {"text/html": "<script>", "text/plain": "a table", "image/png": "AAAA"}})
    assert cell.outputs[0].data == {"text/plain": "a table", "image/png": "AAAA"}


def test_no_more_is_kept_than_a_page_can_hold():
    cell = nbformat.v4.new_code_cell()
    for _ in range(50):
        keep_output(cell, "stream", {"text": "x" * 10_000})
    assert len(cell.outputs) == 1 and len(cell.outputs[0].text) <= OUTPUT


@pytest.mark.parametrize(
    "kind, content", [("stream", {}), ("error", {"ename": 3}), ("display_data", {}), ("what?", {})]
)
def test_strange_messages_leave_a_valid_notebook(kind, content):
    cell = nbformat.v4.new_code_cell()
    keep_output(cell, kind, content)
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))


def test_without_walls_nothing_is_run_unless_trusted(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert find_walls(trust=True) is None
    with pytest.raises(SettingError, match="no bubblewrap"):
        find_walls()


@pytest.mark.long
@pytest.mark.parametrize("walled", [True, False])
def test_a_kernel_runs_is_watched_and_leaves_nothing(walled, tmp_path):
    if walled and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    make, secret = nbformat.v4.new_code_cell, tmp_path / "secret.txt"
    secret.write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as server, Kernel(find_walls() if walled else None) as kernel:
        cell = make("x = 6 * 7\nprint(x)")
        kernel.run(cell, 30)
        assert cell.outputs[0].text == "42\n"
        look = make(f"import os, socket\nprint(os.path.exists({str(secret)!r}))\n"
                    f"try: socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2); print('reached')\n"
                    "except OSError: print('no network')")  # fmt: skip
        kernel.run(look, 30)
        assert look.outputs[0].text == ("False\nno network\n" if walled else "True\nreached\n")
        folder = kernel.folder
        with pytest.raises(Trouble, match="did not end within 2 s"):
            kernel.run(make("while True: pass"), 2)
    assert not folder.exists()


@pytest.mark.long
def test_waiting_is_bounded_too():
    with Kernel(None) as kernel, pytest.raises(Trouble, match="did not end within 1 s"):
        kernel.run(nbformat.v4.new_code_cell("import time; time.sleep(600)"), 1)
