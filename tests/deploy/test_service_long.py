"""The service under what `test_hostile_traffic.py` and `test_service_load.py` try in small, at full length: minutes each."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from shutil import which

import pytest
from standin_service import ask, ask_at_once, read_count, save_run, serving
from test_hostile_traffic import ENDLESS, flood, fuzz, read_faults
from tiny import toy_texts

from helpers.deploy.service import connections
from helpers.files import ROOT

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("service") / "run")


def put_under_load(url: str, clients: int, requests: int) -> dict:
    command = [sys.executable, ROOT / "tests" / "load_client.py", url, "--clients", clients, "--requests", requests]
    texts = json.dumps(toy_texts(200)[0])
    return json.loads(
        subprocess.run([*map(str, command)], input=texts, capture_output=True, text=True, check=True).stdout
    )


def resident(url: str) -> float:
    return read_count(url, "process_resident_memory_bytes")


def test_12000_random_requests_get_no_error_of_ours(run):
    with serving(run) as (process, url):
        assert fuzz(url, 3000) >= 12_000
        assert ask(url, {"text": "glad1"})[0] == 200 and not read_faults(url)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[1] == ""  # nothing was logged: no fault, and no line per madness


def test_its_own_description_holds_for_10000_generated_requests(run):
    command = which("schemathesis", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    if command is None:
        pytest.skip("schemathesis is not installed: pip install schemathesis")
    with serving(run) as (_, url):
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        options = [
            "--checks",
            checks,
            "--max-examples",
            "10000",
            "--phases",
            "examples,coverage,fuzzing",
            "--seed",
            "0",
        ]
        done = subprocess.run([command, "run", f"{url}/openapi.json", *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:]
        assert sum(map(int, re.findall(r"(\d+) generated", done.stdout))) >= 10_000, done.stdout[-3000:]
        assert not read_faults(url)


def test_memory_stays_flat_over_100000_requests(run):
    with serving(run) as (_, url):
        put_under_load(url, 32, 20_000)  # what is kept once: pools, caches, counters
        before = resident(url)
        for _ in range(4):
            assert put_under_load(url, 32, 20_000)["statuses"] == {"200": 20_000}
        flood(url, *ENDLESS["in chunks"], most=2**30)
        after = resident(url)
    print(f"resident after 20,000 requests {before / 2**20:.1f} MiB, after 100,000 {after / 2**20:.1f} MiB")
    assert after - before < 8 * 2**20


def test_bodies_of_a_gigabyte_from_ten_clients_at_a_time(run):
    with serving(run) as (_, url):
        before = resident(url)
        ways = [(*ENDLESS[what], 2**30) for what in ("announced", "in chunks") for _ in range(5)]
        threads = [threading.Thread(target=flood, args=(url, *way)) for way in ways]
        for thread in threads:
            thread.start()
        assert ask(url, {"text": "glad1"})[0] == 200
        for thread in threads:
            thread.join()
        assert resident(url) - before < 64 * 2**20
        assert ask(url, {"text": "glad1"})[0] == 200


def test_10000_connections(run):
    if connections.count_possible_connections() < 10_100:
        pytest.skip("this process may not open so many files")
    with serving(run) as (_, url), ExitStack() as stack:
        address = url.removeprefix("http://").split(":")
        before = resident(url)
        for _ in range(10_000):
            stack.enter_context(socket.create_connection(address))
        start = time.monotonic()
        assert ask(url, {"text": "glad1"})[0] == 200
        seconds = time.monotonic() - start
        grown = resident(url) - before
        stack.close()
        assert ask(url, {"text": "glad1"})[0] == 200
    print(f"10,000 connections took {grown / 2**20:.0f} MiB; the next client was answered after {seconds:.1f} s")
    assert grown < 10_000 * 64 * 2**10


def test_killed_under_load_and_started_again(run):
    with serving(run) as (process, url):
        threads, _ = ask_at_once(url, ["glad1"] * 20)
        process.kill()
        for thread in threads:
            thread.join()
    for _ in range(3):
        with serving(run, "--port", url.rpartition(":")[2]) as (process, again):
            assert again == url
            assert put_under_load(url, 16, 500)["statuses"] == {"200": 500}
            process.kill()
