"""What the service counts, for Prometheus: traffic, the batches, and what the model says, by which drift shows."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from helpers.deploy.answers import Prediction

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LENGTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
TENTHS = tuple(tenth / 10 for tenth in range(1, 11))


class Metrics:
    """The counters of one service, in a registry of their own: two services in one process do not mix."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, open files; on Linux
        where = {"registry": self.registry, "namespace": "classifier"}
        self._requests = Counter("requests", "Requests by path and status", ["path", "status"], **where)
        self._seconds = Histogram("request_seconds", "From request to answer", ["path"], buckets=SECONDS, **where)
        self._texts = Counter("texts", "Texts that the model was asked about", **where)
        self._batch = Histogram("batch_texts", "Texts computed at once", buckets=SIZES, **where)
        self._model = Histogram("model_seconds", "Computing one batch", buckets=SECONDS, **where)
        self._labels = Counter("predictions", "Texts by predicted label", ["label"], **where)
        self._confidence = Histogram("confidence", "How sure the model was", buckets=TENTHS, **where)
        self._characters = Histogram("text_characters", "How long the texts were", buckets=LENGTHS, **where)
        self._truncated = Counter("truncated", "Texts that lost their end", **where)
        self.waiting = Gauge("waiting_texts", "Texts that wait for the model", **where)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count one request to a known `path`, or to "other"."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def count_batch(self, texts: list[str], outcomes: list, seconds: float) -> None:
        """Count one batch: its size and time, how long its texts were, and what the model said of them."""
        self._batch.observe(len(texts))
        self._model.observe(seconds)
        self._texts.inc(len(texts))
        for text, outcome in zip(texts, outcomes, strict=True):
            self._characters.observe(len(text))
            if isinstance(outcome, Prediction):
                self._confidence.observe(outcome.confidence)
                for label in outcome.labels or ("none",):
                    self._labels.labels(label).inc()
                if outcome.truncated:
                    self._truncated.inc()

    def write(self) -> bytes:
        """Return all counters in Prometheus' text format."""
        return generate_latest(self.registry)
