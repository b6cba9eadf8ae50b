"""The network block that `make test` puts around every notebook: it holds, it is noticed, and this machine stays reachable."""

import os
import subprocess
import sys

import nbformat
import pytest
from headless import OFFLINE

from helpers.files import ROOT

ATTEMPTS = {
    "connect": "socket.create_connection(('93.184.215.14', 80), timeout=2)",
    "connect_ex": "socket.socket().connect_ex(('93.184.215.14', 80))",
    "look up": "socket.getaddrinfo('example.org', 80)",
    "datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('93.184.215.14', 53))",
    "urllib": "import urllib.request; urllib.request.urlopen('http://example.org', timeout=2)",
    "requests": "import requests; requests.get('http://example.org', timeout=2)",
    "the Hub's client": "from huggingface_hub import utils; utils.get_session().get('http://example.org', timeout=2)",
    "asyncio": "import asyncio; asyncio.run(asyncio.open_connection('93.184.215.14', 80))",
}


@pytest.fixture
def environment(tmp_path):
    no_proxy = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return no_proxy | {"PYTHONPATH": str(OFFLINE), "COURSE_NETWORK_LOG": str(tmp_path / "log.txt")}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_every_way_out_is_refused_and_written_down(name, environment, tmp_path):
    code = f"import socket\ntry:\n    {ATTEMPTS[name].replace('; ', chr(10) + '    ')}\nexcept Exception as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert "the network is blocked" in done.stdout or "onnect" in done.stdout, done.stderr
    assert any(host in (tmp_path / "log.txt").read_text() for host in ("example.org", "93.184.215.14"))


@pytest.mark.parametrize(
    "load", ["models import load_tokenizer as load", "data import load_data as load"], ids=["model", "dataset"]
)
def test_without_a_network_the_hub_is_tried_twice_and_not_for_a_minute(load, environment, tmp_path):
    """huggingface_hub by itself would try six times per file, for 23 s. 5 s each."""
    code = f"from helpers.{load}\ntry:\n    load('someone/something')\nexcept Exception as error:\n    print(error)"
    own = {"PYTHONPATH": f"{OFFLINE}{os.pathsep}{ROOT}", "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | own, capture_output=True, text=True, timeout=120
    )
    assert "Without a network use profile='laptop', or run `python -m helpers fetch" in done.stdout, done.stderr
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_this_machine_stays_reachable(environment, tmp_path):
    code = """
import socket, threading, urllib.request, http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen(f"http://localhost:{server.server_port}").status)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "200", done.stderr
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "in a worker"])
@pytest.mark.parametrize(
    "cell, status",
    [("print(1)", 0), ("import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: pass\nprint(1)", 1)],
)
def test_a_notebook_that_tries_the_network_fails_the_session_even_if_it_goes_on(
    cell, status, workers, environment, tmp_path
):
    """pytest --nbval on one small notebook. 6 s."""
    output = nbformat.v4.new_output("stream", name="stdout", text="1\n")
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell, execution_count=1, outputs=[output])])
    nbformat.write(content, tmp_path / "x.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "conftest",
        "--nbval",
        "--nbval-current-env",
        str(tmp_path / "x.ipynb"),
    ]
    own = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *workers, "--rootdir", str(tmp_path)],
        env=environment | own,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 passed" in done.stdout
    assert done.returncode == status, done.stdout + done.stderr
    assert ("look-up of 'example.org'" in done.stdout) == bool(status)
