"""The small modules that the course's notebooks import. Start reading at `training.fit`."""

__version__ = "0.1.0"
