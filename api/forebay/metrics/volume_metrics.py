"""The metrics of whole volumes, from their indexes in Redis."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.config import MediaCacheConfig
from forebay.errors import IndexUnavailableError
from forebay.index.connection import Connection
from forebay.index.index import Index
from forebay.index.registry import VolumeRegistry
from forebay.jobs.celery_app import broker_url, celery_app
from forebay.metrics import catalogue
from forebay.metrics.exposition import MetricsCollector, ValuesByVolume
from forebay.metrics.values import MetricValue, volume_values

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

# Prometheus gives up after 10 seconds.
_PATIENCE_SECONDS = 2.0


class VolumeMetrics:
    """Reads the metrics of volumes, and touches none of their files.

    Args:
        url: the Redis of their indexes.
        names: which volumes; ``None`` for all that Redis knows at the time of each report.
    """

    def __init__(self, config: MediaCacheConfig, url: str, names: Sequence[str] | None) -> None:
        self._config = config
        self._connection = Connection(url, patience=_PATIENCE_SECONDS)
        self._broker = broker_url(config, url)
        self._names = names
        self._last: Sequence[str] = names or ()
        self._apps: dict[str, Celery] = {}

    def collector(self) -> MetricsCollector:
        """A collector of these metrics for Prometheus."""
        return MetricsCollector(self.report, catalogue.OF_VOLUME)

    def report(self) -> ValuesByVolume:
        """The values now, by volume. Where Redis does not answer, only ``forebay_up`` with the value 0."""
        if self._names is None:
            try:
                self._last = [record.name for record in VolumeRegistry(self._connection).all()]
            except IndexUnavailableError as error:
                log.warning("%s", error)
                return {name: [MetricValue(catalogue.UP, (), 0.0)] for name in self._last}
        return {name: self._of(name) for name in self._last}

    def _of(self, name: str) -> list[MetricValue]:
        config = self._config.model_copy(update={"volume": name})
        if name not in self._apps:
            self._apps[name] = celery_app(config, self._broker)
        try:
            return list(volume_values(Index(self._connection, name), config, self._apps[name]))
        except IndexUnavailableError as error:
            log.warning("%s", error)
            return [MetricValue(catalogue.UP, (), 0.0)]
