"""What one client may hold: uvicorn leaves to a proxy what a service must bound itself when it stands alone."""

import asyncio
import contextlib

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from helpers.deploy.service.settings import Settings

HEAD_BYTES = 2**16  # of a request's first line and headers together
MESSAGE_BYTES = 16 * 2**20  # of a whole request, whatever it consists of: trailers and chunk extensions are no body
SPARE_FILES = 128  # open files that are not for connections


class Connection(HttpToolsProtocol):
    """A connection that ends when its client takes too long, sends too much, or when there are too many of them.

    A request that has come whole has the service's time, not the client's. A client that has closed its sending side
    gets its answer.
    """

    def __init__(self, *arguments, settings: Settings, most: int, **options):
        super().__init__(*arguments, **options)
        self._seconds, self._most = settings.client_seconds, most
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._received = True, 0

    def connection_made(self, transport) -> None:
        """Take the connection, unless there are too many: those that are open go before new ones."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc) -> None:
        """Forget the connection."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; end the connection if it is too much for a request."""
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > HEAD_BYTES:
            self._refuse_head()
        elif self._received > MESSAGE_BYTES:
            self.transport.abort()
        elif self._is_served():
            self._unwatch()
        else:
            self._watch()

    def eof_received(self) -> bool:
        """Return whether to keep the connection, to answer a request that has come whole before its client fell silent."""
        if not self._is_served() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def on_headers_complete(self) -> None:
        """Begin the service's part of a request."""
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_message_complete()
        self._in_head, self._received = True, 0

    def _is_served(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self._seconds, self.transport.abort)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse_head(self) -> None:
        if not self._is_served():  # else an answer to an earlier request is on its way
            self.transport.write(STATUS_LINE[431] + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()


def count_possible_connections() -> int:
    """Return how many connections this process may hold, after it has asked the system for as many as it may have."""
    most = 1024
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no `resource`, and other limits
        import resource

        most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
        if wanted > most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            most = wanted
    return max(most - SPARE_FILES, SPARE_FILES)
