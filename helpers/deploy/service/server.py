"""Start and stop the service: a port, a loaded and warmed-up model, and an end that answers what was taken."""

import contextlib
import errno
import functools
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from helpers.deploy.service.app import make_app
from helpers.deploy.service.connections import Connection, count_possible_connections
from helpers.deploy.service.settings import Settings
from helpers.exceptions import SettingError, shorten

WARM_UP = ("a", "some words of a text " * 4, "some words of a text " * 200)
STOP_SECONDS = 30  # for what was taken
BACKLOG = 4096  # that the system holds until they are accepted


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str


class Server(uvicorn.Server):
    """uvicorn's server, which says when it listens, and ends with status 0 when it is told to stop."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]):
        super().__init__(config)
        self.on_start = on_start

    async def startup(self, sockets=None) -> None:
        """Listen, and say so."""
        await super().startup(sockets=sockets)
        self.on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and at a second Ctrl-C at once. uvicorn's own would let the signal kill the process then."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread alone
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_service(
    load: Callable[[], object], settings: Settings, *, name: str, say: Callable[[str], None] = print
) -> None:
    """Serve the predictor that `load` returns until the process is told to stop; `say` gets a line when it listens.

    The port is taken before the model is loaded, so that a wrong one shows at once, but it listens only afterwards.
    """
    with open_port(settings) as port:
        predictor = load()
        warm_up(predictor)
        gc.collect()
        gc.freeze()  # libraries and model stay: to look through them again and again would hold up requests
        what = f"model {name}, {len(predictor.label_names)} labels; Ctrl-C stops"
        server = make_server(predictor, settings, name, lambda: say(f"Listening on {write_url(port)} ({what})"))
        server.run(sockets=[port])


@contextlib.contextmanager
def start_service(predictor, settings: Settings | None = None, *, name: str = "model") -> Iterator[Service]:
    """Serve `predictor` inside the block, from a thread of this process, by default at a free port."""
    settings = settings or Settings(port=0)
    with open_port(settings) as port:
        warm_up(predictor)
        url, listens = write_url(port), threading.Event()
        server = make_server(predictor, settings, name, listens.set)
        thread = threading.Thread(target=server.run, args=([port],), name="service", daemon=True)
        thread.start()
        while not listens.wait(0.05) and thread.is_alive():
            pass
        try:
            yield Service(url)
        finally:
            server.should_exit = True
            thread.join()


def warm_up(predictor) -> None:
    """Predict short and long texts, one and many: the first time, memory is allocated and kernels are chosen."""
    for text in WARM_UP:
        predictor.predict([text])
    predictor.predict([*WARM_UP] * 8)


def make_server(predictor, settings: Settings, name: str, on_start: Callable[[], None]) -> Server:
    """Return the server of `predictor`, which runs on a port that is open."""
    connection = functools.partial(Connection, settings=settings, most=count_possible_connections())
    config = uvicorn.Config(
        make_app(predictor, settings, name=name), http=connection, ws="none", lifespan="on", log_config=None,
        access_log=False,  # it would hold what stands in an address, which may be a text
        log_level="critical", server_header=False, backlog=BACKLOG, timeout_graceful_shutdown=STOP_SECONDS,
    )  # fmt: skip
    return Server(config, on_start)


@contextlib.contextmanager
def open_port(settings: Settings) -> Iterator[socket.socket]:
    """Yield a socket that is bound to the service's address. Raises `SettingError` where that cannot be done."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        # Named TCP, asyncio switches off its wait for small packets: an answer would come 40 ms late.
        with socket.socket(family, kind, protocol) as port:
            if os.name == "posix":  # on Windows it would let two services share a port
                port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(address)
            yield port
    except OSError as error:
        sentence = explain_port_error(error, settings)
        if sentence is None:
            raise
        raise SettingError(sentence) from None


def explain_port_error(error: OSError, settings: Settings) -> str | None:
    """Return what to say of an address that cannot be listened on; None if the error is about something else."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} is in use: stop what listens there, or choose another with --port (0: a free one)."
        )
    if error.errno == errno.EACCES:
        return f"Port {settings.port} may not be used without special rights: choose one above 1023 with --port."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        host = shorten(settings.host, 60)
        return f"This machine has no address {host!r}: use --host 127.0.0.1 (itself alone) or 0.0.0.0 (all of its own)."
    return None


def write_url(port: socket.socket) -> str:
    """Return the address at which a bound socket is reached."""
    host, number = port.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{number}"
