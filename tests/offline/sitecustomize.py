"""Put this folder on PYTHONPATH, and Python reaches nothing but this machine; attempts are refused and written down.

Python imports `sitecustomize` by itself when it starts, so the block holds in every child process, a notebook's kernel
included. It covers Python's own sockets and name look-ups, through which every Python HTTP client goes; a library that
opens sockets in native code would not be seen. Attempts are appended to the file COURSE_NETWORK_LOG, so that one which
was caught and forgotten shows as well.
"""

import os
import socket
import sys

HERE = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "", None, socket.gethostname())


def _refuse(what: str) -> None:
    if log := os.environ.get("COURSE_NETWORK_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{what} from {' '.join(sys.argv)[:200]}\n")
    raise OSError(f"the network is blocked in this test ({what})")


def _is_here(host) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    return host in HERE or str(host).startswith("127.")


class Socket(socket.socket):
    """A socket that connects to this machine only."""

    def connect(self, address):
        """Connect, if `address` is on this machine."""
        return super().connect(self._allowed(address))

    def connect_ex(self, address):
        """Connect, if `address` is on this machine."""
        return super().connect_ex(self._allowed(address))

    def sendto(self, data, *arguments):
        """Send, if the address is on this machine."""
        self._allowed(arguments[-1])
        return super().sendto(data, *arguments)

    def _allowed(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            _refuse(f"connection to {address[0]}")
        return address


_getaddrinfo, _gethostbyname = socket.getaddrinfo, socket.gethostbyname


def getaddrinfo(host, *arguments, **options):
    """Look `host` up, if it is this machine."""
    return _getaddrinfo(host, *arguments, **options) if _is_here(host) else _refuse(f"look-up of {host!r}")


def gethostbyname(host):
    """Look `host` up, if it is this machine."""
    return _gethostbyname(host) if _is_here(host) else _refuse(f"look-up of {host!r}")


socket.socket = socket.SocketType = Socket
socket.getaddrinfo, socket.gethostbyname = getaddrinfo, gethostbyname
