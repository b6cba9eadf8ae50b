"""Clients that are slow, silent, endless or mad. None may bring the service down, hold it up, or get an error of ours.

What is quick here is done at length by the tests marked `long`: 12,000 random requests, 10,000 connections, 100,000
requests in flat memory, 1 GB bodies.
"""

import json
import socket
import struct
import time
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standin_service import StandIn, ask, connect, read_count, receive_all, send_raw

from helpers.deploy.service import Settings, connections, start_service

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GOOD = HEAD + b'Content-Length: 13\r\n\r\n{"text": "a"}'


@pytest.fixture(scope="module")
def url():
    with start_service(StandIn(), Settings(port=0, client_seconds=1.0)) as service:
        yield service.url


@pytest.fixture(autouse=True)
def it_still_answers(request):
    """Whatever a test does to the service, a well-behaved client is answered afterwards."""
    yield
    if "url" in request.fixturenames:
        assert ask(request.getfixturevalue("url"), {"text": "a"})[0] == 200


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


# Slow and silent -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [[], [b"P"], [b"\r\n"] * 30, [bytes([byte]) for byte in HEAD[:30]], [GOOD[:-20]], [b"GET / HTTP/1.1\r\n"]],
    ids=["nothing", "a letter", "line ends", "letter by letter", "headers without end", "no headers"],
)
def test_a_head_that_does_not_come_ends_the_connection(url, parts):
    start = time.monotonic()
    assert send_raw(url, *parts, pause=0.05) == b""
    assert 0.5 < time.monotonic() - start < 10


def test_a_body_that_does_not_come_is_told_so(url):
    found = send_raw(url, HEAD + b"Content-Length: 13\r\n\r\n", *[b"{"] * 3, pause=0.05)
    assert status_of(found) == 408 and b"The body did not come within 1 s" in found


def test_a_body_that_nobody_reads_ends_too(url):
    start = time.monotonic()
    found = send_raw(url, b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", *[b"x"] * 60, pause=0.1)
    assert status_of(found) == 404 and time.monotonic() - start < 10


def test_slow_clients_do_not_slow_others(url):
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(url)).sendall(GOOD[:-5])
        for _ in range(20):
            assert ask(url, {"text": "a"})[0] == 200


def test_a_client_that_reads_nothing_is_no_burden(url):
    with connect(url) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({"texts": ["a"] * 256}).encode()
        client.sendall((HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 20)
        assert ask(url, {"text": "a"})[0] == 200


def test_a_client_that_has_closed_its_side_gets_its_answer(url):
    for requests in (1, 3):
        found = send_raw(url, GOOD * requests, half_close=True)
        assert found.count(b"HTTP/1.1 200 OK") == requests


@pytest.mark.parametrize("cut", [-1, -14, 10, 0])
def test_a_request_that_is_broken_off_is_forgotten(url, cut):
    start = time.monotonic()
    assert b" 200 " not in send_raw(
        url, GOOD[: cut or None][: len(GOOD) + min(cut, 0)] if cut else b"", half_close=True
    )
    assert time.monotonic() - start < 5


def test_clients_that_vanish_are_forgotten(url):
    for _ in range(200):
        with connect(url) as client:
            client.sendall(GOOD)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no goodbye


# Large and endless -----------------------------------------------------------------------------------------------------


def test_a_body_somewhat_too_large_gets_its_sentence(url):
    for size in (2**20 + 1, 6 * 2**20):
        status, headers, body = ask(url, b" " * size)
        assert (status, headers["connection"]) == (413, "close") and b"The body is larger than" in body


def flood(url: str, head: bytes, piece: bytes, most: int) -> tuple[bytes, int]:
    """Send `head`, then `piece` until the service stops reading, at most `most` bytes; return its answer and the bytes."""
    with connect(url) as client:
        sent = 0
        try:
            client.sendall(head)
            while sent < most:
                client.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return receive_all(client), sent


ENDLESS = {
    "announced": (HEAD + b"Content-Length: 1073741824\r\n\r\n", b"x" * 65536),
    "in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "not read": (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", b"x" * 65536),
    "first line": (b"GET /", b"x" * 65536),
    "headers": (HEAD, b"X-Header: " + b"x" * 1000 + b"\r\n"),
    "one header": (HEAD + b"X-Header: ", b"x" * 65536),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n"),
    "chunk extension": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_broken_off(url, what):
    before = read_count(url, "process_resident_memory_bytes")
    found, sent = flood(url, *ENDLESS[what], most=2**30)
    assert sent < 64 * 2**20, "it was read to the end"
    assert not found or status_of(found) in (404, 413, 431)
    assert read_count(url, "process_resident_memory_bytes") - before < 64 * 2**20


def ask_again(client: socket.socket) -> int:
    """Ask on a connection that is open; return the status."""
    client.sendall(GOOD)
    found = b""
    while not found.endswith(b"}"):
        found += client.recv(65536)
    return status_of(found)


def test_more_connections_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("helpers.deploy.service.server.count_possible_connections", lambda: 20)
    with start_service(StandIn()) as service, connect(service.url) as early:
        assert ask_again(early) == 200
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(service.url)) for _ in range(60)]
            assert [receive_all(client) for client in clients[30:]] == [b""] * 30
            assert ask_again(early) == 200, "who was there first is served on"
        assert ask(service.url, {"text": "a"})[0] == 200


def test_the_process_asks_for_as_many_files_as_it_may_have():
    assert connections.count_possible_connections() >= 128


# Mad -------------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from(["text", "texts"]), inner, max_size=3)
    ),
    max_leaves=20,
)
QUESTION = st.one_of(
    st.fixed_dictionaries({"text": TEXT | VALUE}),
    st.fixed_dictionaries({"texts": st.lists(TEXT, max_size=6) | VALUE}),
    VALUE,
)
BODY = st.one_of(
    QUESTION.map(json.dumps).map(str.encode),
    QUESTION.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.binary(max_size=200),
    st.tuples(QUESTION.map(json.dumps).map(str.encode), st.integers(0, 60), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    ),
)
TOKEN = st.text("abcXYZ-09", min_size=1, max_size=12).map(str.encode)
PATH = st.sampled_from([b"/predict", b"/", b"/labels", b"/health", b"/metrics", b"/openapi.json"]) | st.binary(
    max_size=20
).map(lambda raw: b"/" + raw.translate(None, b" \r\n\t"))
METHOD = st.sampled_from([b"POST"] * 6 + [b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"PATCH"])
HEADERS = st.lists(
    st.tuples(
        TOKEN | st.sampled_from([b"Expect", b"Upgrade", b"Connection", b"Range", b"Authorization", b"X-Api-Key", b"Accept"]),
        st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\0")) | st.just(b"100-continue"),
    ),
    max_size=3,
)  # fmt: skip
KIND = st.sampled_from([b"application/json"] * 8 + [b"text/plain", b"", b"multipart/form-data; boundary=x", b"\xff"])


@st.composite
def requests(draw) -> bytes:
    """Return a request that a program might send, with anything in any place."""
    method, path, body = draw(METHOD), draw(PATH), draw(BODY)
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: x", b"Content-Type: " + draw(KIND), b"Connection: close"]
    lines += [name + b": " + value for name, value in draw(HEADERS)]
    if draw(st.integers(0, 9)):
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", chunks + b"0\r\n\r\n"])


def check_answer(found: bytes) -> None:
    """Fail for anything but a whole HTTP answer that is no fault of ours."""
    while found.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
        found = found.partition(b"\r\n\r\n")[2]
    head, end, body = found.partition(b"\r\n\r\n")
    assert end and 200 <= status_of(head) < 500, found
    if b"content-type: application/json" in head and body:
        answer = json.loads(body)
        assert status_of(head) == 200 or list(answer) == ["error"]


def fuzz(url: str, examples: int) -> int:
    """Send `examples` random requests, and as many halves of requests and heaps of bytes; return how many were sent."""
    sent = 0

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(requests(), st.binary(max_size=100), st.integers(0, 400))
    def send(request, noise, cut):
        nonlocal sent
        check_answer(send_raw(url, request, half_close=True))
        for garbage in (noise, request[:cut], request[:cut] + noise + request[cut:]):
            found = send_raw(url, garbage, half_close=True)
            assert not found or status_of(found) < 500, (garbage, found)
        sent += 4

    send()
    return sent


def test_random_requests_get_no_error_of_ours(url):
    assert fuzz(url, 60) >= 240
    assert not read_faults(url)


def read_faults(url: str) -> list[str]:
    """Return the counts of answers of 500 and above."""
    lines = ask(url, path="/metrics")[2].decode().splitlines()
    return [line for line in lines if line.startswith("classifier_requests_total") and 'status="5' in line]
