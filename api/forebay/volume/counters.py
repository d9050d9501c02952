"""The counters of a process, and how Redis learns of them.

Downloads and evictions are counted a batch at a time, hits one by one and without a lock. The counts stay
in memory, and the heartbeat of a process that talks to the index adds what is new to the volume's totals
in Redis: one round trip every few seconds, whatever was done meanwhile.

Counters are named by strings: ``objects|downloaded``, or ``object|3`` for the fourth bucket of a
histogram; those that are kept for each source have its name beside them.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.uri import MediaURI

if TYPE_CHECKING:  # a process that only ever hits does without the index
    from forebay.index import Index

# Seconds.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
AGE_BUCKETS = (10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 3 * 86400.0, 7 * 86400.0, 30 * 86400.0)

# At most so many sources of a volume have counters of their own; a manifest of web pages may have thousands.
MAX_SOURCES = 64
OTHER = "other"

# The name of a counter, and the source that it is for, or "".
Counter = tuple[str, str]


@dataclass(slots=True)
class Ended:
    """The result of fetching one object.

    Attributes:
        uri: the object; ``None`` where it cannot be told.
        result: ``downloaded``, ``cached`` or ``failed``.
        size: bytes.
        first_byte: seconds from the last request to its answer.
        seconds: from the first request to the complete file.
        reason: why it failed.
        retries: why attempts were repeated.
        origin: where downloaded bytes came from: ``cloud``, ``neighbour``, or ``upstream``.
    """

    uri: MediaURI | None
    result: str
    size: int = 0
    first_byte: float = 0.0
    seconds: float = 0.0
    reason: str = ""
    retries: Sequence[str] = ()
    origin: str = "cloud"


class Counters:
    """The counters of one process for one volume; safe to use from many threads.

    Attributes:
        hits: lookups that found their file. Counted without a lock: a hit takes microseconds.
        misses: lookups that did not.
        hit_bytes: of the files that were found; counted so, too, so that threads may mix two files up.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.hit_bytes = 0
        self._lock = threading.Lock()
        self._counts: defaultdict[Counter, float] = defaultdict(float)
        self._sent: dict[Counter, float] = {}
        self._sources: dict[tuple[str, str], str] = {}
        self._id = os.urandom(6).hex()
        self._flushes = 0
        self._unanswered: dict[Counter, float] = {}
        self._flushing = threading.Lock()

    def ended(self, objects: Iterable[Ended]) -> None:
        """Counts fetches that have ended."""
        with self._lock:
            counts = self._counts
            for one in objects:
                source = self._source(one.uri)
                counts["objects|" + one.result, source] += 1
                if one.result == "failed":
                    counts["failures|" + one.reason, source] += 1
                else:
                    counts["bytes|" + one.result, source] += one.size
                if one.result == "downloaded":
                    counts["fetched|" + one.origin, source] += one.size
                    _observe(counts, "first_byte", LATENCY_BUCKETS, one.first_byte, source)
                    _observe(counts, "object", LATENCY_BUCKETS, one.seconds, source)
                for reason in one.retries:
                    counts["retries|" + reason, source] += 1

    def evicted(self, ages: Iterable[float], freed: int) -> None:
        """Counts evicted objects.

        Args:
            ages: how long ago each had been used last, in seconds.
            freed: their bytes.
        """
        with self._lock:
            self._counts["evicted_bytes", ""] += freed
            for age in ages:
                self._counts["evicted_objects", ""] += 1
                _observe(self._counts, "evicted_age", AGE_BUCKETS, age, "")

    def served(self, size: int) -> None:
        """Counts bytes that were sent to a neighbour."""
        with self._lock:
            self._counts["served_bytes", ""] += size

    def set_aside(self) -> None:
        """Counts a message of the queue that no worker can read."""
        with self._lock:
            self._counts["set_aside", ""] += 1

    def counts(self) -> dict[Counter, float]:
        """Everything that was counted so far."""
        with self._lock:
            counts = dict(self._counts)
        if self.hits:
            counts["lookups|hit", ""] = self.hits
        if self.misses:
            counts["lookups|miss", ""] = self.misses
        if self.hit_bytes:
            counts["hit_bytes", ""] = self.hit_bytes
        return counts

    def flush(self, index: Index) -> None:
        """Adds what is new to the volume's totals.

        Raises:
            IndexUnavailableError: Redis does not come back; the next call sends it again.
        """
        with self._flushing:
            if not self._unanswered:
                counts = self.counts()
                new = {name: value - self._sent.get(name, 0.0) for name, value in counts.items()}
                self._unanswered = {name: value for name, value in new.items() if value}
                self._sent = counts
                self._flushes += 1
            if self._unanswered:
                # With the same number, so that it counts once although the first answer was lost.
                index.counters.add(self._id, self._flushes, self._unanswered, MAX_SOURCES)
                self._unanswered = {}

    def _source(self, uri: MediaURI | None) -> str:
        if uri is None:
            return OTHER
        key = (uri.scheme, uri.bucket)
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                return OTHER
            source = self._sources[key] = f"{uri.scheme}://{uri.bucket}"
        return source


def histogram(counts: Mapping[str, float], name: str, buckets: Sequence[float]) -> tuple[list[float], float]:
    """The histogram ``name`` among the counters of one source.

    Returns:
        how many observations are in each bucket alone, the one without an upper bound last; and their sum.
    """
    each = [counts.get(f"{name}|{number}", 0.0) for number in range(len(buckets) + 1)]
    return each, counts.get(f"{name}|sum", 0.0)


def _observe(
    counts: defaultdict[Counter, float], name: str, buckets: Sequence[float], value: float, source: str
) -> None:
    counts[f"{name}|{bisect_left(buckets, value)}", source] += 1
    counts[name + "|sum", source] += value
