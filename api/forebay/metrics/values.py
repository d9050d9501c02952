"""Reads the values of the metrics in `forebay.metrics.catalogue` from a volume's index."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay.errors import IndexUnavailableError
from forebay.index import Index
from forebay.index.registry import VolumeRecord
from forebay.index.workers import Worker
from forebay.jobs import fleet
from forebay.jobs.status import JobStatus
from forebay.metrics import catalogue as c
from forebay.metrics.catalogue import Metric
from forebay.metrics.egress import Egress
from forebay.volume.counters import histogram

if TYPE_CHECKING:
    from celery import Celery

    from forebay.config import MediaCacheConfig

log = logging.getLogger(__name__)

_RESULTS = ("downloaded", "cached", "failed")
# A job that has ended is shown for this long, so that Prometheus gets its final counts.
_ENDED_SECONDS = 600.0
_MAX_JOBS = 50


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value of a metric.

    Attributes:
        labels: the values of the metric's labels.
        value: the value; of a histogram, the sum of what was observed.
        buckets: of a histogram, how many observations are in each bucket alone, the unbounded one last.
    """

    metric: Metric
    labels: tuple[str, ...]
    value: float
    buckets: tuple[float, ...] = ()


def counter_values(counters: Mapping[str, Mapping[str, float]]) -> Iterator[MetricValue]:
    """The values of the counters.

    Args:
        counters: the counts, by source (or ``""``) and the counter's name.
    """
    by_labels = {"objects": c.OBJECTS, "bytes": c.BYTES, "failures": c.FAILURES, "retries": c.RETRIES}
    by_labels["fetched"] = c.FETCHED
    for source, counts in counters.items():
        for counter, amount in sorted(counts.items()):
            name, _, label = counter.partition("|")
            if name in by_labels:
                yield MetricValue(by_labels[name], (source, label), amount)
        for name, metric in (("first_byte", c.FIRST_BYTE), ("object", c.OBJECT)):
            if f"{name}|sum" in counts:
                each, total = histogram(counts, name, metric.buckets)
                yield MetricValue(metric, (source,), total, tuple(each))
    common = counters.get("", {})
    for result in ("hit", "miss"):
        yield MetricValue(c.LOOKUPS, (result,), common.get(f"lookups|{result}", 0.0))
    egress = Egress.of(counters)
    yield MetricValue(c.HIT_BYTES, (), egress.from_cache)
    yield MetricValue(c.SERVED, (), egress.sent)
    yield MetricValue(c.SAVED, (), egress.saved)
    yield MetricValue(c.EVICTED_OBJECTS, (), common.get("evicted_objects", 0.0))
    yield MetricValue(c.EVICTED_BYTES, (), common.get("evicted_bytes", 0.0))
    each, total = histogram(common, "evicted_age", c.EVICTED_AGE.buckets)
    yield MetricValue(c.EVICTED_AGE, (), total, tuple(each))
    yield MetricValue(c.SET_ASIDE, (), common.get("set_aside", 0.0))


def volume_values(index: Index, config: MediaCacheConfig, app: Celery) -> Iterator[MetricValue]:
    """All values of a volume.

    Raises:
        IndexUnavailableError: its Redis does not answer.
    """
    overview = index.overview()
    counters = index.counters.read()
    yield MetricValue(c.UP, (), 1.0)
    yield from counter_values(counters)
    cost = Egress.of(counters).saved_cost(config.egress_price_per_gb)
    yield MetricValue(c.SAVED_COST, (), cost or 0.0)
    yield from _cache(index, counters.get("", {}), overview.record)
    yield MetricValue(c.LEASES, (), overview.leases)
    yield MetricValue(c.SESSIONS, (), overview.sessions)
    yield MetricValue(c.CLAIMS, (), overview.claims)
    yield from _queue(app, config)
    yield from _jobs(overview.jobs)
    yield from _workers(overview.workers)


def _cache(index: Index, counts: Mapping[str, float], record: VolumeRecord | None) -> Iterator[MetricValue]:
    totals = index.entries.totals()
    yield MetricValue(c.CACHE_BYTES, (), totals.published)
    yield MetricValue(c.CACHE_OBJECTS, (), totals.count)
    yield MetricValue(c.LEASED, (), totals.leased)
    yield MetricValue(c.RESERVED, (), totals.reserved)
    yield MetricValue(c.UNINDEXED, (), totals.unindexed)
    if record is not None:
        yield MetricValue(c.CACHE_LIMIT, (), record.limit if record.limit >= 0 else math.inf)
        yield MetricValue(c.SEEN_AGE, (), _age(record.seen))
    hits, misses = counts.get("lookups|hit", 0.0), counts.get("lookups|miss", 0.0)
    if hits + misses:
        yield MetricValue(c.HIT_RATIO, (), hits / (hits + misses))


def _queue(app: Celery, config: MediaCacheConfig) -> Iterator[MetricValue]:
    try:
        waiting, age = fleet.queue_length(app, config), fleet.queue_age(app, config)
    except IndexUnavailableError as error:
        # The queue may be on another Redis; the other values are still known.
        log.warning("%s", error)
        return
    yield MetricValue(c.QUEUE, (), waiting)
    yield MetricValue(c.QUEUE_AGE, (), age or 0.0)


def _jobs(fields: Mapping[str, dict[str, str]]) -> Iterator[MetricValue]:
    statuses = [JobStatus.parse(job, values) for job, values in fields.items()]
    for state in ("running", "done", "cancelled"):
        yield MetricValue(c.JOBS, (state,), sum(status.state == state for status in statuses))
    shown = [
        status
        for status in statuses
        if status.state == "running" or _age(fields[status.id]["updated"]) < _ENDED_SECONDS
    ]
    for status in shown[-_MAX_JOBS:]:
        for state in (*_RESULTS, "pending"):
            yield MetricValue(c.JOB_SAMPLES, (status.id, state), getattr(status, state))
        yield MetricValue(c.JOB_BYTES, (status.id,), status.bytes)
        if status.state == "running":
            yield MetricValue(c.JOB_AGE, (status.id,), _age(fields[status.id]["updated"]))


def _workers(workers: Sequence[Worker]) -> Iterator[MetricValue]:
    alive = sum(worker.alive for worker in workers)
    yield MetricValue(c.WORKERS, ("alive",), alive)
    yield MetricValue(c.WORKERS, ("gone",), len(workers) - alive)
    for worker in workers:
        yield MetricValue(c.WORKER_SAMPLES, (worker.name,), worker.done)
        yield MetricValue(c.WORKER_SEEN, (worker.name,), _age(worker.seen))
        if worker.alive:
            yield MetricValue(c.WORKER_SLOTS, (worker.name,), worker.concurrency)
            yield MetricValue(c.WORKER_PROGRESS, (worker.name,), _age(worker.progress))


def _age(when: Any) -> float:
    return max(0.0, time.time() - float(when))
