"""The metrics that a worker serves for Prometheus: its own counters, and figures of its process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from forebay.errors import ConfigError
from forebay.metrics import catalogue, exposition
from forebay.metrics.exposition import MetricsCollector, ValuesByVolume
from forebay.metrics.values import MetricValue, counter_values

if TYPE_CHECKING:
    from forebay.cache import MediaCache

log = logging.getLogger(__name__)


def serve(cache: MediaCache) -> Any:
    """Serves metrics where the settings ask for them.

    A port that is taken, by another worker of the machine, keeps none from working.

    Returns:
        the server, if there is one.
    """
    from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

    config = cache.config
    if config.metrics_port is None:
        return None
    registry = exposition.registry(collector(cache))
    for of_process in (ProcessCollector, PlatformCollector, GCCollector):
        of_process(registry=registry)
    try:
        server, port = exposition.serve(registry, config.metrics_host, config.metrics_port)
    except ConfigError as error:
        log.error("%s with FIFTYONE_MEDIA_CACHE_METRICS_PORT; this worker runs without metrics", error)
        return None
    log.info("metrics at http://%s:%d/metrics", config.metrics_host, port)
    return server


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
