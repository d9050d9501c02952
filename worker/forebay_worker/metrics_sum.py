"""The metrics of several workers as one page, which their supervisor serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from forebay.errors import ConfigError
from forebay.metrics import exposition

if TYPE_CHECKING:
    from forebay.config import MediaCacheConfig

log = logging.getLogger(__name__)

# These are summed; everything else is about one process.
_SUMMED = "forebay_"


class MetricsSum(Collector):
    """Sums what workers counted, and keeps what those counted that have ended, so that no counter falls.

    Values about a process, such as its memory, are not summed: they get the label ``worker``.
    """

    def __init__(self) -> None:
        self._pages: dict[str, list[Family]] = {}
        self._of_ended: list[Family] = []
        # Prometheus is answered in threads.
        self._lock = threading.Lock()

    def put(self, worker: str, page: str) -> None:
        """Takes the page of a worker, in Prometheus's text format, in place of the one before it."""
        try:
            families = list(text_string_to_metric_families(page))
        except ValueError as error:
            # The supervisor outlives whatever a worker says.
            log.warning("the metrics of %s cannot be read: %s", worker, error)
            return
        with self._lock:
            self._pages[worker] = families

    def end(self, worker: str) -> None:
        """Notes that a process has ended, so that the next one of this name counts from zero."""
        with self._lock:
            last = [one for one in self._pages.pop(worker, []) if one.name.startswith(_SUMMED)]
            self._of_ended = _sum({"": self._of_ended, worker: last})

    def describe(self) -> list[Family]:
        """Nothing: no name of a metric is known before a worker has told it."""
        return []

    def collect(self) -> Iterable[Family]:
        """The sums, in the types of prometheus-client."""
        with self._lock:
            return _sum({"": self._of_ended, **self._pages})

    def serve(self, config: MediaCacheConfig) -> None:
        """Serves the sums where the settings ask for metrics; a port that is taken stops nothing."""
        if config.metrics_port is None:
            return
        registry = CollectorRegistry()
        registry.register(self)
        try:
            _, port = exposition.serve(registry, config.metrics_host, config.metrics_port)
        except ConfigError as error:
            log.error("%s with FIFTYONE_MEDIA_CACHE_METRICS_PORT; the workers work without", error)
        else:
            log.info("metrics at http://%s:%d/metrics", config.metrics_host, port)


def _sum(pages: Mapping[str, Iterable[Family]]) -> list[Family]:
    """Adds pages: samples of one name with the same labels become one."""
    found: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for worker, page in pages.items():
        for family in page:
            made = Family(family.name, family.documentation, family.type)
            _, values = found.setdefault(family.name, (made, {}))
            for sample in family.samples:
                labels = dict(sample.labels)
                if not family.name.startswith(_SUMMED):
                    labels["worker"] = worker
                key = sample.name, tuple(labels.items())
                values[key] = values.get(key, 0.0) + sample.value
    for family, values in found.values():
        for (name, pairs), value in values.items():
            family.add_sample(name, dict(pairs), value)
    return [family for family, _ in found.values()]
