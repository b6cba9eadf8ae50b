"""A saved model as an HTTP service: texts in, labels and scores out, many clients at a time.

`settings` says what it may take, `batching` gathers texts of many requests into one batch, `messages` reads requests and
writes answers, `app` puts them behind addresses, `connections` bounds what a client may hold, `server` starts and stops.
Taught in notebook 08; from a terminal, `python -m helpers serve --run …`.
"""

from helpers.deploy.service.app import make_app
from helpers.deploy.service.server import run_service, start_service
from helpers.deploy.service.settings import Settings

__all__ = ["Settings", "make_app", "run_service", "start_service"]
