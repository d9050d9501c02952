"""The metrics: their names, labels and meaning, in one table.

The counters of all processes of a volume are summed in Redis and exported for the whole volume as
``forebay_…``. Each worker serves its own counters as ``forebay_process_…``, so that a sum over one of the
two names counts nothing twice. `docs/metrics.md` is written from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from forebay.volume.counters import AGE_BUCKETS, LATENCY_BUCKETS

MetricType = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: without the ``_total`` of a counter.
        labels: those beside ``volume``.
        text: its help text for Prometheus, with the unit.
        buckets: the upper bounds of a histogram's buckets.
    """

    name: str
    kind: MetricType
    labels: tuple[str, ...]
    text: str
    buckets: tuple[float, ...] = ()

    @property
    def shown(self) -> str:
        """The name under which Prometheus shows it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def of_process(self) -> Metric:
        """The same metric for the counters of one worker."""
        name = self.name.replace("forebay_", "forebay_process_", 1)
        return Metric(name, self.kind, self.labels, f"{self.text} By this worker.", self.buckets)


OBJECTS = Metric(
    "forebay_objects",
    "counter",
    ("source", "result"),
    "Objects that were to be fetched, by how that ended: downloaded, cached (another process had been "
    "faster, or the copy was still current), failed.",
)
BYTES = Metric(
    "forebay_bytes",
    "counter",
    ("source", "result"),
    "Bytes of these objects: downloaded, or cached.",
)
FAILURES = Metric(
    "forebay_failures", "counter", ("source", "reason"), "Objects that could not be fetched, by reason."
)
RETRIES = Metric(
    "forebay_retries",
    "counter",
    ("source", "reason"),
    "Attempts (at an object, or at a range of it) that failed and were repeated, by reason.",
)
LOOKUPS = Metric(
    "forebay_lookups",
    "counter",
    ("result",),
    "Objects that were asked for, by a program or a job: hit (the file was there) or miss.",
)
FIRST_BYTE = Metric(
    "forebay_first_byte_seconds",
    "histogram",
    ("source",),
    "Time from a request to the beginning of the source's answer, of downloaded objects.",
    LATENCY_BUCKETS,
)
OBJECT = Metric(
    "forebay_object_seconds",
    "histogram",
    ("source",),
    "Time from the first request for an object to its complete file, with retries and with waiting for room.",
    LATENCY_BUCKETS,
)
FETCHED = Metric(
    "forebay_fetched_bytes",
    "counter",
    ("source", "origin"),
    "Downloaded bytes, by where they came from: cloud, neighbour (another volume of the group), "
    "or upstream (the directory of `upstream_dir`).",
)
HIT_BYTES = Metric(
    "forebay_hit_bytes", "counter", (), "Bytes of the cached files that a program asked for and found."
)
SERVED = Metric("forebay_served_bytes", "counter", (), "Bytes that were sent to other volumes of the group.")
SAVED = Metric(
    "forebay_egress_saved_bytes",
    "counter",
    (),
    "Bytes that did not have to leave the cloud: those from neighbours and from the "
    "upstream directory, and those of files that were found.",
)
EVICTED_OBJECTS = Metric("forebay_evicted_objects", "counter", (), "Evicted objects.")
EVICTED_BYTES = Metric("forebay_evicted_bytes", "counter", (), "Evicted bytes.")
EVICTED_AGE = Metric(
    "forebay_evicted_age_seconds",
    "histogram",
    (),
    "How long ago evicted objects had been used last. Where that is short, the cache is too small.",
    AGE_BUCKETS,
)
SET_ASIDE = Metric(
    "forebay_set_aside_messages",
    "counter",
    (),
    "Messages of the queue that no worker can read, and that were set aside.",
)

# Summed over all processes of a volume.
COUNTED = (
    OBJECTS,
    BYTES,
    FAILURES,
    RETRIES,
    LOOKUPS,
    FIRST_BYTE,
    OBJECT,
    FETCHED,
    HIT_BYTES,
    SERVED,
    SAVED,
    EVICTED_OBJECTS,
    EVICTED_BYTES,
    EVICTED_AGE,
    SET_ASIDE,
)

UP = Metric("forebay_up", "gauge", (), "1 when Redis could be asked about the volume, else 0.")
SAVED_COST = Metric(
    "forebay_egress_saved_cost",
    "gauge",
    (),
    "What these bytes would have cost at `egress_price_per_gb`; 0 where that is not set.",
)
HIT_RATIO = Metric("forebay_hit_ratio", "gauge", (), "Hits per lookup, from 0 to 1, since they are counted.")
CACHE_BYTES = Metric("forebay_cache_bytes", "gauge", (), "Bytes of complete files in the cache.")
CACHE_LIMIT = Metric(
    "forebay_cache_limit_bytes", "gauge", (), "The most that the cache may hold, in bytes; +Inf for no limit."
)
CACHE_OBJECTS = Metric("forebay_cache_objects", "gauge", (), "Objects in the cache.")
LEASED = Metric("forebay_leased_bytes", "gauge", (), "Bytes in the cache that leases keep.")
RESERVED = Metric("forebay_reserved_bytes", "gauge", (), "Bytes reserved for downloads under way.")
UNINDEXED = Metric("forebay_unindexed_bytes", "gauge", (), "Bytes of files that are not in the index yet.")
LEASES = Metric("forebay_leases", "gauge", (), "Leases that have not expired.")
CLAIMS = Metric("forebay_claims", "gauge", (), "Objects claimed: being downloaded or evicted.")
SESSIONS = Metric("forebay_sessions", "gauge", (), "Processes that use the volume.")
SEEN_AGE = Metric(
    "forebay_volume_seen_age_seconds",
    "gauge",
    (),
    "Time since the last heartbeat of a process of the volume.",
)
QUEUE = Metric("forebay_queue_messages", "gauge", (), "Messages that wait in the volume's queue.")
QUEUE_AGE = Metric(
    "forebay_queue_oldest_age_seconds", "gauge", (), "How long the oldest of them has waited; 0 without any."
)
JOBS = Metric(
    "forebay_jobs", "gauge", ("state",), "Jobs that are remembered, by state: running, done, cancelled."
)
JOB_SAMPLES = Metric(
    "forebay_job_samples",
    "gauge",
    ("job", "state"),
    "Samples of a job by state: cached, downloaded, failed, pending. Of jobs that run, or ended within the "
    "last 10 minutes, and of the 50 newest of them.",
)
JOB_BYTES = Metric("forebay_job_bytes", "gauge", ("job",), "Bytes that were downloaded for such a job.")
JOB_AGE = Metric(
    "forebay_job_progress_age_seconds", "gauge", ("job",), "Time since the last activity of a running job."
)
WORKERS = Metric(
    "forebay_workers",
    "gauge",
    ("state",),
    "Workers: alive, or ended without a clean stop (reported for 10 minutes, longer while none is alive).",
)
WORKER_SLOTS = Metric(
    "forebay_worker_concurrency",
    "gauge",
    ("worker",),
    "Messages that a living worker has at a time.",
)
WORKER_SAMPLES = Metric("forebay_worker_samples", "counter", ("worker",), "Samples that a worker has ended.")
WORKER_SEEN = Metric(
    "forebay_worker_seen_age_seconds", "gauge", ("worker",), "Time since a worker's last heartbeat."
)
WORKER_PROGRESS = Metric(
    "forebay_worker_progress_age_seconds",
    "gauge",
    ("worker",),
    "Time since a living worker began or ended a message. While messages wait, this should be seconds.",
)

# Read from Redis whenever Prometheus asks.
OBSERVED = (
    UP,
    SAVED_COST,
    HIT_RATIO,
    CACHE_BYTES,
    CACHE_LIMIT,
    CACHE_OBJECTS,
    LEASED,
    RESERVED,
    UNINDEXED,
    LEASES,
    CLAIMS,
    SESSIONS,
    SEEN_AGE,
    QUEUE,
    QUEUE_AGE,
    JOBS,
    JOB_SAMPLES,
    JOB_BYTES,
    JOB_AGE,
    WORKERS,
    WORKER_SLOTS,
    WORKER_SAMPLES,
    WORKER_SEEN,
    WORKER_PROGRESS,
)

OF_VOLUME = (*COUNTED, *OBSERVED)
OF_PROCESS = tuple(metric.of_process() for metric in COUNTED)

# The label ``reason`` of failures and retries.
REASONS = {
    "not_found": "the source has no such object, or no such bucket",
    "access_denied": "the source refuses the credentials",
    "not_allowed": "outside `allowed_sources`, or a private address",
    "bad_uri": "the URI cannot be parsed",
    "too_large": "larger than the whole cache",
    "cache_full": "no room could be made, or the disk is full",
    "throttled": "the source asks for fewer requests (429, SlowDown)",
    "server_error": "the source failed (other 5xx, 408, 425)",
    "connection": "no connection, a lost one, or a time-out",
    "truncated": "fewer bytes arrived than the source had promised",
    "checksum": "other bytes arrived than the source had promised",
    "listed_checksum": "the object does not have the checksum that the list of samples gives",
    "changed": "the object changed while it was read",
    "neighbour": "another volume of the group did not send what it has; it was had another way",
    "claim_lost": "its session expired while this process was paused",
    "other": "anything else",
}
