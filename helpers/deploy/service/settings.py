"""What the service may take, and for how long: every bound in one place, each with its reason."""

import math
import os
from dataclasses import dataclass, field

from helpers.exceptions import SettingError

KEY_VARIABLE = "COURSE_API_KEY"  # not an option: every user of a machine can read another's command line


@dataclass(frozen=True)
class Settings:
    """How the service listens, and its bounds. Raises `SettingError` for a value that cannot work."""

    host: str = "127.0.0.1"  # this machine alone
    port: int = 8000  # 0 takes a free one
    batch_texts: int = 64  # more are no faster per text, and the first of them would wait longer
    queue_texts: int = 1024  # what waits beyond that would not be answered in time anyway
    request_texts: int = 256
    characters: int = 20_000  # of one text: all of it is tokenised, although its end is cut
    body_bytes: int = 2**20
    timeout_seconds: float = 10.0  # for an answer
    client_seconds: float = 10.0  # for the client to send its request
    api_key: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()  # pages from elsewhere that may ask (CORS)
    log_requests: bool = False  # a line for each; failures of ours are logged anyway

    def __post_init__(self):
        for name in ("batch_texts", "queue_texts", "request_texts", "characters", "body_bytes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: it must be a whole number of at least 1.")
        for name in ("timeout_seconds", "client_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name}={getattr(self, name)}: it must be a number of seconds above 0.")
        if not 0 <= self.port <= 65535:
            raise SettingError(f"port={self.port}: it must lie between 0 (a free one is taken) and 65535.")
        if self.queue_texts < self.request_texts:
            raise SettingError(
                f"queue_texts={self.queue_texts} is less than a request may bring (request_texts={self.request_texts}): "
                "raise the one or lower the other."
            )


def read_api_key() -> str | None:
    """Return the key that the environment asks clients for; None where it asks for none.
    Raises `SettingError` for an empty one: somebody meant to protect the service, and it would stand open."""
    key = os.environ.get(KEY_VARIABLE)
    if key is not None and not key.strip():
        raise SettingError(f"{KEY_VARIABLE} is set but empty: give it a value, or unset it for a service without key.")
    return key and key.strip()
