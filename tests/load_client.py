"""Many clients at a time, as cheap as Python can be: each asks about a text, waits for the answer, and asks again.

    python tests/load_client.py URL --clients 64 --requests 10000 < texts.json

It prints one line of JSON: requests per second, latencies in milliseconds, and how often which status came. It runs in a
process of its own, so that the service's process is not measured with it.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from itertools import cycle
from urllib.parse import urlsplit


class Client(asyncio.Protocol):
    """One connection. It reads an answer's head with two look-ups, which is enough for a service that is well known."""

    def __init__(self, load: "Load"):
        self.load, self.received = load, b""

    def connection_made(self, transport):
        """Ask for the first time."""
        self.transport = transport
        self._ask()

    def data_received(self, data: bytes):
        """Take a part of an answer; when it is whole, note it and ask again."""
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        head = head.lower()  # a proxy writes names of headers in its own way
        if end and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self.load.note(int(head[9:12]), time.perf_counter() - self.began)
            self.received = b""
            self._ask()

    def connection_lost(self, exc):
        """End with the connection, if the load is not done."""
        if self.load.asked < self.load.wanted and not self.load.done.done():
            self.load.done.set_exception(ConnectionError("the service closed a connection"))

    def _ask(self):
        if message := self.load.take():
            self.began = time.perf_counter()
            self.transport.write(message)


class Load:
    """How many requests are wanted, asked and answered."""

    def __init__(self, texts: list[str], wanted: int):
        self.messages, self.wanted = cycle([write_request(text) for text in texts]), wanted
        self.asked, self.seconds, self.statuses = 0, [], Counter()
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> bytes | None:
        """Return the next request, None when enough have been asked."""
        if self.asked == self.wanted:
            return None
        self.asked += 1
        return next(self.messages)

    def note(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.seconds.append(seconds)
        if len(self.seconds) == self.wanted:
            self.done.set_result(None)


def write_request(text: str) -> bytes:
    """Return the request about `text` as it is sent."""
    body = json.dumps({"text": text}).encode()
    head = "POST /predict HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(body)).encode() + body


async def put_under_load(url: str, texts: list[str], clients: int, requests: int) -> dict:
    """Return what `clients` at a time got for `requests` requests altogether."""
    address, load = urlsplit(url), Load(texts, requests)
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    for _ in range(min(clients, requests)):
        await loop.create_connection(lambda: Client(load), address.hostname, address.port)
    await load.done
    seconds, ordered = time.perf_counter() - start, sorted(load.seconds)
    found = {f"p{share}_ms": 1000 * ordered[int(share / 100 * (len(ordered) - 1))] for share in (50, 95, 99)}
    return {"per_second": requests / seconds, **found, "statuses": dict(load.statuses)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args()
    texts = json.load(sys.stdin)
    print(json.dumps(asyncio.run(put_under_load(arguments.url, texts, arguments.clients, arguments.requests))))
