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
from forebay.metrics.observe import Observed

log = logging.getLogger(__name__)

# What is said of each volume.
Report = Mapping[str, Iterable[Observed]]
LOOPBACK = "127.0.0.1"


class Collector:
    """Asks when Prometheus does.

    Args:
        ask: what to say now.
        metrics: those that may be among it, in this order.
    """

    def __init__(self, ask: Callable[[], Report], metrics: Iterable[Metric]) -> None:
        self._ask = ask
        self._metrics = tuple(metrics)

    def describe(self) -> list[Family]:
        """Nothing: to be registered must not mean to be asked."""
        return []

    def collect(self) -> Iterator[Family]:
        """The metrics, as prometheus-client wants them."""
        families = {metric.name: _family(metric) for metric in self._metrics}
        for volume, values in self._ask().items():
            for one in values:
                _add(families[one.metric.name], volume, one)
        yield from (family for family in families.values() if family.samples)


def registry(*collectors: Collector) -> CollectorRegistry:
    """A registry of nothing but these."""
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
        port: 0 for one that is free.

    Returns:
        the server, whose ``shutdown`` ends it, and its port.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served at {host}:{port} ({error.strerror or error}): choose another port"
        ) from None
    return server, int(server.server_port)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``[HOST:]PORT``; the host is this machine's loopback by default.

    Raises:
        ConfigError: it is no such address.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{address!r} is no address: write PORT or HOST:PORT, as 9464 or 0.0.0.0:9464")
    return host.strip("[]") or LOOPBACK, int(port)


def _family(metric: Metric) -> Any:
    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    return kinds[metric.kind](metric.name, metric.text, labels=("volume", *metric.labels))


def _add(family: Any, volume: str, one: Observed) -> None:
    labels = (volume, *one.labels)
    if one.metric.kind == "histogram":
        bounds = (*one.metric.buckets, math.inf)
        each = zip(bounds, accumulate(one.buckets), strict=True)
        family.add_metric(labels, [("+Inf" if b == math.inf else str(b), n) for b, n in each], one.value)
    else:
        family.add_metric(labels, one.value)
