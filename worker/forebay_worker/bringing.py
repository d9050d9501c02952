"""Brings objects into this volume that a neighbour has asked for, because it is this volume's turn."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from functools import partial

from forebay.cache import MediaCache
from forebay.errors import ForebayError
from forebay.fetch.orders import Orders
from forebay.uri import parse_object

# More than this is not taken on: the neighbour that asks fetches it from the cloud.
MOST = 8192
# So many that arrive are told of in one answer at most; the others are read when they are complete.
_MOST_ARRIVING = 8
# For how long a neighbour that asks again is told that an object could not be had.
_REMEMBERED_SECONDS = 30.0


# The place of an object in the request, its size in bytes, its etag, and when its source answered.
Arriving = tuple[int, int, str, int]


class Bringing:
    """What this volume brings for others, each object once, from the cloud alone.

    Its samples' rules are those of this volume's own: ``allowed_sources``, its size, its attempts.

    Args:
        cache: this volume's.
    """

    def __init__(self, cache: MediaCache) -> None:
        self._cache = cache
        # An asked volume never asks on, so that no two wait in a circle.
        self._orders = Orders(lambda: cache.engine.open_fetcher().alone())
        self._lock = threading.Lock()
        self._coming: set[str] = set()
        self._failed: dict[str, float] = {}
        self._ended = 0

    def bring(self, uris: Sequence[str], *, tells_arriving: bool = True) -> tuple[list[int], list[Arriving]]:
        """Begins to bring objects that do not come yet.

        Args:
            tells_arriving: false where no more may be read while they arrive.

        Returns:
            the places in ``uris`` of those that it does not bring, and what can be read while it arrives.
        """
        failed, arriving = list[int](), list[Arriving]()
        most = _MOST_ARRIVING if tells_arriving else 0
        arrivals = self._cache.engine.open_fetcher().arrivals
        for number, uri in enumerate(uris):
            entry = self._coming_entry(uri)
            if entry is None:
                failed.append(number)
            elif len(arriving) < most and (found := arrivals.get(entry)) is not None:
                arriving.append((number, found.size, found.info.etag or "", found.began))
        return failed, arriving

    def progress(self) -> str:
        """A text that changes whenever something has arrived on this volume."""
        files, sizes, latest = self._cache.engine.files, 0, 0
        for name in files.temporaries():
            try:
                found = os.lstat(files.temporary(name))
            except OSError:
                continue
            sizes += found.st_size
            latest = max(latest, found.st_mtime_ns)
        return f"{self._ended}.{sizes}.{latest}"

    def _coming_entry(self, uri: str) -> str | None:
        """The entry of an object that comes; ``None`` where it does not."""
        try:
            parsed = parse_object(uri)
            entry = parsed.entry
            self._cache.engine.sources.check(parsed)
        except ForebayError:
            return None
        now = time.monotonic()
        with self._lock:
            if entry in self._coming:
                return entry
            if self._failed.get(entry, 0.0) > now or len(self._coming) >= MOST:
                return None
            self._failed = {one: until for one, until in self._failed.items() if until > now}
            self._coming.add(entry)
        try:
            self._orders.place(uri, entry, partial(self._end, entry))
        except ForebayError as error:
            self._end(entry, error)
            return None
        return entry

    def _end(self, entry: str, error: Exception | None) -> None:
        with self._lock:
            self._ended += 1
            self._coming.discard(entry)
            if error is not None:
                self._failed[entry] = time.monotonic() + _REMEMBERED_SECONDS
