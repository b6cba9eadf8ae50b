"""For the tests: a model that can be held, slowed and broken at will, and clients that behave well or badly."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tiny import LABELS, build_model, make_tokenizer

from helpers.deploy.answers import Prediction
from helpers.exceptions import SettingError
from helpers.files import ROOT
from helpers.models.pretrained import load_classifier
from helpers.models.saving import save

JSON = {"content-type": "application/json"}


class StandIn:
    """A predictor that says "long" of more than five letters, else "short"; it notes its batches once it is warm.
    While `go` is not set it computes nothing; a text that begins with "fail" or "bad" cannot be predicted."""

    label_names, multilabel, max_length = ["long", "short"], False, 100

    def __init__(self, seconds: float = 0.0):
        self.go, self.seconds, self.batches = threading.Event(), seconds, []
        self.go.set()

    def predict(self, texts):
        """Return a prediction per text."""
        self.batches.append(list(texts))
        assert self.go.wait(60)
        time.sleep(self.seconds)
        for text in texts:
            if text.startswith("bad"):
                raise SettingError(f"{text!r} has a word without a vector: take another model.")
            if text.startswith("fail"):
                raise ValueError(f"no digit of {text} may be told")
        labels = [self.label_names[len(text) <= 5] for text in texts]
        others = {"long": "short", "short": "long"}
        return [
            Prediction(text, label, 0.75, {label: 0.75, others[label]: 0.25}, len(text) > 100, (label,))
            for text, label in zip(texts, labels, strict=True)
        ]


def save_run(folder: Path) -> Path:
    """Write `folder`, a run with a tiny model of random weights; return it."""
    classifier = load_classifier(str(build_model("bert", folder / "tiny")), LABELS)
    save(classifier, make_tokenizer(), folder / "model", max_length=24)
    return folder


def ask(url, body=None, path="/predict", method=None, **headers) -> tuple[int, dict, bytes]:
    """Return status, headers and body of one request; `body` may be bytes, or what becomes JSON."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    body = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method or ("GET" if body is None else "POST"), path, body, JSON | headers)
    response = connection.getresponse()
    found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return found


def read_error(answer: tuple[int, dict, bytes]) -> tuple[int, str]:
    """Return status and sentence of an answer that must be an error as the service words them."""
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    (key, sentence), *others = json.loads(body).items()
    assert (key, others) == ("error", [])
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) <= 280
    return status, sentence


def read_count(url: str, name: str) -> float:
    """Return one of the service's counters."""
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", ask(url, path="/metrics")[2].decode(), re.MULTILINE)
    return float(value)


def wait_until(happened, seconds: float = 30) -> None:
    """Wait until `happened()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def ask_at_once(url: str, texts: list[str]) -> tuple[list[threading.Thread], list]:
    """Ask about every text from a client of its own; return the clients and the list that their answers go to, by place."""
    answers = [None] * len(texts)

    def client(place):
        with suppress(OSError):  # where a test kills the service: no answer, None
            answers[place] = ask(url, {"text": texts[place]})

    threads = [threading.Thread(target=client, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    return threads, answers


def send_raw(url: str, *parts: bytes, pause: float = 0.0, half_close: bool = False) -> bytes:
    """Send bytes as they are, and return all that comes back until the service closes the connection."""
    with connect(url) as client:
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed by the service in the middle: what it said before still counts
        return receive_all(client)


def connect(url: str) -> socket.socket:
    """Return a connection to the service."""
    return socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=60)


def receive_all(client: socket.socket) -> bytes:
    """Return all bytes until the other side closes, or resets, the connection."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionError:
        pass
    return found


@contextmanager
def serving(run: Path, *options: str, threads: int | None = 1, **variables: str):
    """Yield `(process, url)` of `python -m helpers serve` in a process of its own, as soon as it listens; end it."""
    own = {"PYTHONPATH": str(ROOT)} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    command = [sys.executable, "-m", "helpers", "serve", "--run", str(run), "--port", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | own | variables, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("Listening on "), line + process.stderr.read()
            yield process, line.split()[2]
        finally:
            process.kill()
