"""The metrics that a worker serves for Prometheus: its own counters, and figures of its process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.errors import ConfigError
from forebay.metrics import catalogue, exposition
from forebay.metrics.exposition import MetricsCollector, ValuesByVolume
from forebay.metrics.values import MetricValue, counter_values

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from forebay.cache import MediaCache

log = logging.getLogger(__name__)


def serve(cache: MediaCache) -> Any:
    """Serves metrics where the settings ask for them.

    A port that is taken, by another worker of the machine, keeps none from working.

    Returns:
        the server, if there is one.
    """
    config = cache.config
    if config.metrics_port is None:
        return None
    try:
        server, port = exposition.serve(registry(cache), config.metrics_host, config.metrics_port)
    except ConfigError as error:
        log.error("%s with FIFTYONE_MEDIA_CACHE_METRICS_PORT; this worker runs without metrics", error)
        return None
    log.info("metrics at http://%s:%d/metrics", config.metrics_host, port)
    return server


def page(cache: MediaCache) -> Callable[[], str] | None:
    """Returns the function that makes the page that a supervisor adds to those of its other workers.

    Returns:
        ``None`` where the settings ask for no metrics.
    """
    if cache.config.metrics_port is None:
        return None
    return partial(exposition.text, registry(cache))


def registry(cache: MediaCache) -> CollectorRegistry:
    """Collects the counters of this process, and its CPU, memory and descriptors."""
    from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

    made = exposition.registry(collector(cache))
    for of_process in (ProcessCollector, PlatformCollector, GCCollector):
        of_process(registry=made)
    return made


def collector(cache: MediaCache) -> MetricsCollector:
    """A collector of the counters of this process."""

    def ask() -> ValuesByVolume:
        counters: dict[str, dict[str, float]] = {}
        for (counter, source), amount in cache.engine.counters.counts().items():
            counters.setdefault(source, {})[counter] = amount
        values = (
            MetricValue(one.metric.of_process(), one.labels, one.value, one.buckets)
            for one in counter_values(counters)
        )
        return {cache.config.volume: values}

    return MetricsCollector(ask, catalogue.OF_PROCESS)
