"""What Redis knows of a volume right now, as values of the metrics in `forebay.metrics.catalogue`."""

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
from forebay.volume.counters import histogram

if TYPE_CHECKING:
    from celery import Celery

    from forebay.config import MediaCacheConfig

log = logging.getLogger(__name__)

_RESULTS = ("downloaded", "cached", "failed")
# A job that has ended is shown for a while, so that the last look at it finds it complete.
_ENDED_SECONDS = 600.0
_MOST_JOBS = 50


@dataclass(frozen=True, slots=True)
class Observed:
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


def counted(counters: Mapping[str, Mapping[str, float]]) -> Iterator[Observed]:
    """What processes have counted.

    Args:
        counters: the amounts, by source (or ``""``) and counter.
    """
    by_labels = {"objects": c.OBJECTS, "bytes": c.BYTES, "failures": c.FAILURES, "retries": c.RETRIES}
    for source, counts in counters.items():
        for counter, amount in sorted(counts.items()):
            name, _, label = counter.partition("|")
            if name in by_labels:
                yield Observed(by_labels[name], (source, label), amount)
        for name, metric in (("first_byte", c.FIRST_BYTE), ("object", c.OBJECT)):
            if f"{name}|sum" in counts:
                each, total = histogram(counts, name, metric.buckets)
                yield Observed(metric, (source,), total, tuple(each))
    common = counters.get("", {})
    for result in ("hit", "miss"):
        yield Observed(c.LOOKUPS, (result,), common.get(f"lookups|{result}", 0.0))
    yield Observed(c.EVICTED_OBJECTS, (), common.get("evicted_objects", 0.0))
    yield Observed(c.EVICTED_BYTES, (), common.get("evicted_bytes", 0.0))
    each, total = histogram(common, "evicted_age", c.EVICTED_AGE.buckets)
    yield Observed(c.EVICTED_AGE, (), total, tuple(each))


def observed(index: Index, config: MediaCacheConfig, app: Celery) -> Iterator[Observed]:
    """Everything there is to say of a volume.

    Raises:
        IndexUnavailableError: its index cannot be asked.
    """
    overview = index.overview()
    counters = index.counters.read()
    yield Observed(c.UP, (), 1.0)
    yield from counted(counters)
    yield from _cache(index, counters.get("", {}), overview.record)
    yield Observed(c.LEASES, (), overview.leases)
    yield Observed(c.SESSIONS, (), overview.sessions)
    yield Observed(c.CLAIMS, (), overview.claims)
    yield from _queue(app, config)
    yield from _jobs(overview.jobs)
    yield from _workers(overview.workers)


def _cache(index: Index, counts: Mapping[str, float], record: VolumeRecord | None) -> Iterator[Observed]:
    totals = index.entries.totals()
    yield Observed(c.CACHE_BYTES, (), totals.published)
    yield Observed(c.CACHE_OBJECTS, (), totals.count)
    yield Observed(c.LEASED, (), totals.leased)
    yield Observed(c.RESERVED, (), totals.reserved)
    yield Observed(c.UNINDEXED, (), totals.unindexed)
    if record is not None:
        yield Observed(c.CACHE_LIMIT, (), record.limit if record.limit >= 0 else math.inf)
        yield Observed(c.SEEN_AGE, (), _age(record.seen))
    hits, misses = counts.get("lookups|hit", 0.0), counts.get("lookups|miss", 0.0)
    if hits + misses:
        yield Observed(c.HIT_RATIO, (), hits / (hits + misses))


def _queue(app: Celery, config: MediaCacheConfig) -> Iterator[Observed]:
    try:
        waiting, age = fleet.queue_length(app, config), fleet.queue_age(app, config)
    except IndexUnavailableError as error:
        # The queue may be on another Redis, and without it there is still much to say.
        log.warning("%s", error)
        return
    yield Observed(c.QUEUE, (), waiting)
    yield Observed(c.QUEUE_AGE, (), age or 0.0)


def _jobs(fields: Mapping[str, dict[str, str]]) -> Iterator[Observed]:
    statuses = [JobStatus.parse(job, values) for job, values in fields.items()]
    for state in ("running", "done", "cancelled"):
        yield Observed(c.JOBS, (state,), sum(status.state == state for status in statuses))
    shown = [
        status
        for status in statuses
        if status.state == "running" or _age(fields[status.id]["updated"]) < _ENDED_SECONDS
    ]
    for status in shown[-_MOST_JOBS:]:
        for state in (*_RESULTS, "pending"):
            yield Observed(c.JOB_SAMPLES, (status.id, state), getattr(status, state))
        yield Observed(c.JOB_BYTES, (status.id,), status.bytes)
        if status.state == "running":
            yield Observed(c.JOB_AGE, (status.id,), _age(fields[status.id]["updated"]))


def _workers(workers: Sequence[Worker]) -> Iterator[Observed]:
    alive = sum(worker.alive for worker in workers)
    yield Observed(c.WORKERS, ("alive",), alive)
    yield Observed(c.WORKERS, ("gone",), len(workers) - alive)
    for worker in workers:
        yield Observed(c.WORKER_SAMPLES, (worker.name,), worker.done)
        yield Observed(c.WORKER_SEEN, (worker.name,), _age(worker.seen))
        if worker.alive:
            yield Observed(c.WORKER_SLOTS, (worker.name,), worker.concurrency)
            yield Observed(c.WORKER_PROGRESS, (worker.name,), _age(worker.progress))


def _age(when: Any) -> float:
    return max(0.0, time.time() - float(when))
