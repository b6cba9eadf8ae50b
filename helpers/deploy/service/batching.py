"""Micro-batching: one thread computes; what comes in meanwhile waits, and is the next batch.

Nothing waits for a batch to fill: a lone text is computed at once, and the busier the service, the larger its batches.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from helpers.deploy.answers import Prediction
from helpers.deploy.service.messages import RequestError, describe_fault
from helpers.deploy.service.metrics import Metrics
from helpers.deploy.service.settings import Settings
from helpers.exceptions import PlainError

log = logging.getLogger("course.service")


class Job:
    """The texts of one request, and the future that takes their predictions. It is computed in parts, if it is large."""

    def __init__(self, texts: Sequence[str], size: int):
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()
        self.answers: list = [None] * len(texts)
        self.parts = deque((start, texts[start : start + size]) for start in range(0, len(texts), size))
        self.left = len(self.parts)


class Batcher:
    """Answers texts of many requests at a time. `predict` is called in one thread, which `close` ends."""

    def __init__(self, predict: Callable[[list[str]], list[Prediction]], settings: Settings, metrics: Metrics):
        self._predict, self._settings, self._metrics = predict, settings, metrics
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._rate = 100.0  # texts per second, a guess until the first batch
        self._busy_since: float | None = None
        self.waiting = 0  # texts
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def answer(self, texts: Sequence[str]) -> list[Prediction]:
        """Return a prediction per text. Raises `RequestError`: 503 if too many wait, 504 if it takes too long."""
        job = Job(texts, self._settings.batch_texts)
        with self._changed:
            if self.waiting + len(texts) > self._settings.queue_texts:
                seconds = max(1, math.ceil(self.waiting / self._rate))
                raise RequestError(
                    503, f"Too many texts are waiting: ask again in {seconds} s.", {"retry-after": str(seconds)}
                )
            self._jobs.append(job)
            self.waiting += len(texts)
            self._changed.notify()
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await job.future  # cancelled when the time is up, so that nothing of it is computed any more
        except TimeoutError:
            raise RequestError(
                504, f"No answer within {self._settings.timeout_seconds:g} s: ask again later, or for fewer texts."
            ) from None

    @property
    def stuck(self) -> bool:
        """Whether one batch has been computing for so long that all who wait for it have given up."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > 2 * self._settings.timeout_seconds

    def close(self) -> None:
        """Answer what was taken, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            texts = [text for _, _, part in batch for text in part]
            self._busy_since = time.monotonic()
            outcomes = self._predict_safely(texts)
            seconds = time.monotonic() - self._busy_since
            self._busy_since = None
            self._rate += 0.2 * (len(texts) / max(seconds, 1e-6) - self._rate)
            try:
                self._metrics.count_batch(texts, outcomes, seconds)
            except Exception as error:  # whatever it is, the thread must go on, and the answers are there
                log.error("A batch was not counted: %s", describe_fault(error))
            self._hand_out(batch, outcomes)

    def _take(self) -> list[tuple[Job, int, Sequence[str]]]:
        """Return what is computed next, in the order in which it came; wait for it. Empty at the end."""
        with self._changed:
            while True:
                batch, room = [], self._settings.batch_texts
                while self._jobs and len(self._jobs[0].parts[0][1]) <= room:
                    job = self._jobs[0]
                    start, part = job.parts.popleft()
                    if not job.parts:
                        self._jobs.popleft()
                    self.waiting -= len(part)
                    if not job.future.done():  # whoever gave up needs no answer
                        room -= len(part)
                        batch.append((job, start, part))
                if batch or (self._closing and not self._jobs):
                    return batch
                if not self._jobs:
                    self._changed.wait()

    def _predict_safely(self, texts: list[str]) -> list[Prediction | RequestError]:
        """Return a prediction per text, or why there is none: a text that fails must not fail its neighbours."""
        try:
            return list(self._predict(texts))
        except Exception as error:
            if len(texts) > 1:
                return [outcome for text in texts for outcome in self._predict_safely([text])]
            if isinstance(error, PlainError):
                return [RequestError(422, str(error))]
            log.error("The model failed: %s", describe_fault(error))
            return [RequestError(500, "The model failed on this text: this is our fault, and it was logged.")]

    def _hand_out(self, batch: list, outcomes: list[Prediction | RequestError]) -> None:
        """Bring the outcomes to the event loops that wait for them: one call for all jobs of a loop."""
        place, by_loop = 0, {}
        for job, start, part in batch:
            job.answers[start : start + len(part)] = outcomes[place : place + len(part)]
            place += len(part)
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_finish, jobs)
            except RuntimeError:  # the loop was closed: nobody waits any more
                continue


def _finish(jobs: list[Job]) -> None:
    for job in jobs:
        job.left -= 1
        if job.left or job.future.done():
            continue
        refusal = next((answer for answer in job.answers if isinstance(answer, RequestError)), None)
        if refusal is None:
            job.future.set_result(job.answers)
        else:
            job.future.set_exception(refusal)
