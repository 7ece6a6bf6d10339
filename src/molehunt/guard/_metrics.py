"""Prometheus' metrics of a guard's server; nothing of an account is among them."""

from __future__ import annotations

import os

from molehunt.errors import need_extra

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where processes sum up, in the environment
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)


class Metrics:
    """Requests, images, alarms and seconds.

    With ``PROMETHEUS_MULTIPROC_DIR`` in the environment, `page` sums over all processes.
    """

    def __init__(self) -> None:
        self._library = need_extra("guard", "prometheus_client", "metrics")
        self._registry = registry = self._library.CollectorRegistry()
        self._requests = self._library.Counter(
            "molehunt_guard_requests", "Requests for answers.", ["status"], registry=registry
        )
        self._images = self._library.Counter(
            "molehunt_guard_images", "Images that were answered.", registry=registry
        )
        self._alarms = self._library.Counter(
            "molehunt_guard_alarms", "Images that raised an alarm.", ["monitor"], registry=registry
        )
        self._seconds = self._library.Histogram(
            "molehunt_guard_seconds",
            "From a request's headers to its answer.",
            buckets=_SECONDS,
            registry=registry,
        )

    @property
    def media_type(self) -> str:
        """What `page` is."""
        return str(self._library.CONTENT_TYPE_LATEST)

    def count(self, status: int, seconds: float) -> None:
        """Count a request for answers."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def count_images(self, images: int) -> None:
        """Count images that were answered."""
        self._images.inc(images)

    def count_alarm(self, monitor: str) -> None:
        """Count an image that raised an alarm."""
        self._alarms.labels(monitor).inc()

    def page(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        registry = self._registry
        if FOLDER in os.environ:
            collect = need_extra("guard", "prometheus_client.multiprocess", "metrics")
            registry = self._library.CollectorRegistry()
            collect.MultiProcessCollector(registry)
        return bytes(self._library.generate_latest(registry))
