"""Progress of long steps: a bar for people, a line every few seconds for logs, nothing for stored outputs."""

import os
import sys
import time

from tqdm import tqdm


class ProgressBar:
    """Counts steps. `COURSE_PROGRESS` says how it shows: "bar" (the default), "lines" or "off"; `silent` shows nothing."""

    def __init__(self, total: int, start: int = 0, every_seconds: float = 5.0, *, silent: bool = False):
        self.mode = "off" if silent else os.environ.get("COURSE_PROGRESS", "bar")
        self.total, self.count, self.every_seconds = total, start, every_seconds
        self.last_line = time.monotonic()
        hidden = self.mode != "bar"
        self.bar = tqdm(total=total, initial=start, file=sys.stdout, leave=False, disable=hidden, dynamic_ncols=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()

    def advance(self, text: str) -> None:
        """Count one step; `text` says where we are."""
        self.count += 1
        self.bar.set_description_str(text, refresh=False)
        self.bar.update()
        if self.mode == "lines" and time.monotonic() - self.last_line > self.every_seconds:
            self.show(f"step {self.count}/{self.total}, {text}")

    def show(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self.mode == "lines":
            print(text, flush=True)
            self.last_line = time.monotonic()
        elif self.mode == "bar":
            self.bar.write(text, file=sys.stdout)
