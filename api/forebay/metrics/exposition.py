"""Metrics in the format of Prometheus, and over HTTP."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, core, generate_latest, start_http_server
from prometheus_client.core import Metric as Family

from forebay.errors import ConfigError
from forebay.metrics.catalogue import Metric
from forebay.metrics.values import MetricValue
from forebay.uri import shown

log = logging.getLogger(__name__)

# The values of each volume, by its name.
ValuesByVolume = Mapping[str, Iterable[MetricValue]]
LOOPBACK = "127.0.0.1"


class MetricsCollector:
    """A collector for prometheus-client, which reads the values whenever Prometheus asks.

    Args:
        ask: returns the values now.
        metrics: the metrics that may be among them, in the order in which they are shown.
    """

    def __init__(self, ask: Callable[[], ValuesByVolume], metrics: Iterable[Metric]) -> None:
        self._ask = ask
        self._metrics = tuple(metrics)

    def describe(self) -> list[Family]:
        """Returns nothing, so that registering the collector does not read any values."""
        return []

    def collect(self) -> Iterator[Family]:
        """The metrics in the types of prometheus-client."""
        families = {metric.name: _family(metric) for metric in self._metrics}
        for volume, values in self._ask().items():
            for one in values:
                _add(families[one.metric.name], volume, one)
        yield from (family for family in families.values() if family.samples)


def registry(*collectors: MetricsCollector) -> CollectorRegistry:
    """A registry with these collectors alone."""
    made = CollectorRegistry()
    for collector in collectors:
        made.register(collector)
    return made


def text(registry: CollectorRegistry) -> str:
    """All metrics in Prometheus's text format."""
    return generate_latest(registry).decode()


def serve(registry: CollectorRegistry, host: str, port: int) -> tuple[Any, int]:
    """Serves metrics over HTTP, at any path, from a thread of its own.

    Args:
        host: the address to listen at.
        port: 0 for one that is free.

    Returns:
        the server, whose ``shutdown`` ends it, and its port.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except (OSError, UnicodeError) as error:  # the latter of a host that no name server could know
        reason = (error.strerror if isinstance(error, OSError) else "no such host") or error
        raise ConfigError(
            f"metrics cannot be served at {host}:{port} ({reason}): choose another host or port",
            setting="metrics_port",
        ) from None
    return server, int(server.server_port)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``[HOST:]PORT``; the host is this machine's loopback by default.

    Raises:
        ConfigError: the text is not such an address.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{shown(address)} is no address: write PORT or HOST:PORT, as 9464 or 0.0.0.0:9464")
    return host.strip("[]") or LOOPBACK, int(port)


def _family(metric: Metric) -> Any:
    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    return kinds[metric.kind](metric.name, metric.text, labels=("volume", *metric.labels))


def _add(family: Any, volume: str, one: MetricValue) -> None:
    labels = (volume, *one.labels)
    if one.metric.kind == "histogram":
        bounds = (*one.metric.buckets, math.inf)
        each = zip(bounds, accumulate(one.buckets), strict=True)
        family.add_metric(labels, [("+Inf" if b == math.inf else str(b), n) for b, n in each], one.value)
    else:
        family.add_metric(labels, one.value)
