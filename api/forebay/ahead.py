"""Fetching ahead of a loop: the next batches are on their way while the loop is at the present one."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forebay.errors import CacheFullError, ForebayError, ObjectTooLargeError, UriError
from forebay.uri import entry_of, is_local, redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.jobs import Job
    from forebay.leases import Lease

log = logging.getLogger(__name__)

_LEASE_SECONDS = 3600.0
_RENEW_SECONDS = 300.0
# The first batches are small, so that the loop begins soon and the size of a sample becomes known.
_FIRST_BATCH = 16
_LARGEST_BATCH = 5000
_LOOK_SECONDS = 0.01


@dataclass
class _Batch:
    """Samples ``first`` up to, not including, ``end``, and what must be fetched for them.

    ``left`` is set when the loop has passed by; ``ended`` when nothing is being fetched any more.
    """

    first: int
    end: int
    uris: list[str]
    lease: Lease | None = None
    left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class LookAhead:
    """Fetches the samples of a loop in their order, ahead of it.

    A batch is under a lease from when it is fetched until the loop has left it, so that a set many
    times larger than the cache passes through. Safe to use from many threads.

    Args:
        samples: the URIs of each sample; local ones among them are left alone.
        batch_size: samples in a batch; by default as many as have about ``target_size_bytes``.
        target_size_bytes: the size of a batch; ``download_size_bytes`` by default, and never more
            than the cache can hold of all batches at hand.
        clear: remove each batch from the cache when the loop has left it.
        lookahead: how many batches to fetch ahead of the present one.
        update: download again what has changed at its source.

    Attributes:
        failures: the reason for each URI that could not be fetched ahead.
    """

    def __init__(
        self,
        cache: MediaCache,
        samples: Sequence[Sequence[str]],
        *,
        batch_size: int | None = None,
        target_size_bytes: int | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool = False,
    ) -> None:
        self.failures: dict[str, str] = {}
        self._cache = cache
        self._samples = samples
        self._batch_size = batch_size
        self._lookahead = max(0, lookahead)
        self._clear = clear
        self._update = update
        limit = cache.config.limit
        target = target_size_bytes or cache.config.download_size_bytes
        # All batches at hand, and the one before, must find room beside each other.
        self._target = target if limit is None else max(1, min(target, limit // (self._lookahead + 2)))
        self._lock = threading.RLock()
        self._next = 0
        self._ahead: deque[_Batch] = deque()
        self._threads: list[threading.Thread] = []
        # What was fetched out of turn, to be cleared at the end.
        self._strays: list[str] = []
        # Samples that were fetched, and their bytes.
        self._sizes = (0, 0)
        self._renewed = time.monotonic()

    def path(self, number: int, uri: str) -> str:
        """The local path of a URI of sample ``number``, where the loop is now.

        What found no room ahead of time, or failed, is fetched now.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        batch = self.reach(number)
        if batch is not None and understood(uri):
            path = self._awaited(entry_of(uri), batch)
            if path is not None:
                return path
        return self._fetch_now(uri)

    def reach(self, number: int) -> _Batch | None:
        """Tells that the loop has come to sample ``number``, and is done with those of earlier batches.

        Returns:
            the batch of the sample; ``None`` when the loop had left it already.
        """
        with self._lock:
            passed = []
            while self._ahead and number >= self._ahead[0].end:
                passed.append(self._ahead.popleft())
            if not self._ahead:
                # The loop may have jumped over samples.
                self._next = max(self._next, number)
            # The next batch begins its way before the room of the one before is needed.
            self._fill()
            for batch in passed:
                self._leave(batch)
            self._renew()
            return self._ahead[0] if self._ahead and number >= self._ahead[0].first else None

    def wait(self, number: int) -> None:
        """Waits until the batch of sample ``number``, where the loop is now, has been fetched."""
        batch = self.reach(number)
        if batch is not None:
            batch.ended.wait()

    def close(self) -> None:
        """Ends what is under way, and the leases. What is not cached then is not fetched any more."""
        with self._lock:
            self._next = len(self._samples)
            while self._ahead:
                self._leave(self._ahead.popleft())
        for thread in self._threads:
            thread.join()
        if self._clear and self._strays:
            self._cache.clear(self._strays)

    def _fill(self) -> None:
        """Sends the next batches on their way."""
        while self._next < len(self._samples) and len(self._ahead) <= self._lookahead:
            if self._batch_size is None and self._ahead and not self._sizes[0]:
                # The first batch will tell how large samples are.
                return
            end = min(self._next + self._next_size(), len(self._samples))
            uris = [uri for sample in self._samples[self._next : end] for uri in sample if understood(uri)]
            batch = _Batch(self._next, end, list(dict.fromkeys(uris)))
            self._next = end
            self._ahead.append(batch)
            thread = threading.Thread(target=self._fetch, args=(batch,), name="forebay-ahead", daemon=True)
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _next_size(self) -> int:
        if self._batch_size is not None:
            return max(1, self._batch_size)
        count, size = self._sizes
        if not count:
            return _FIRST_BATCH
        return max(1, min(_LARGEST_BATCH, self._target * count // max(1, size)))

    def _fetch(self, batch: _Batch) -> None:
        try:
            if batch.uris and not batch.left.is_set():
                batch.lease = self._cache.lease(batch.uris, _LEASE_SECONDS)
                job = self._cache.download_media(batch.uris, update=self._update, wait=False)
                job.wait(progress=lambda _: job.cancel() if batch.left.is_set() else None)
                self._note_failures(job, batch)
                job.forget()
                size = self._cache.stats(batch.uris)["current_size"]
                with self._lock:
                    count, before = self._sizes
                    self._sizes = (count + batch.end - batch.first, before + size)
        except ForebayError as error:
            # What is missing is tried again when its turn comes, and then says why.
            log.warning("fetching ahead failed: %s", error)
        finally:
            with self._lock:
                batch.ended.set()
                if batch.left.is_set():
                    self._release(batch)
                else:
                    self._fill()

    def _note_failures(self, job: Job, batch: _Batch) -> None:
        failures = job.failures() if job.failed else []
        if failures:
            full = {redact(uri): uri for uri in batch.uris}
            self.failures.update((full[failure.uri], failure.reason) for failure in failures)

    def _awaited(self, entry: str, batch: _Batch) -> str | None:
        """The path of an entry as soon as it is there; ``None`` when its batch ended without it."""
        while not batch.ended.is_set():
            path = None if self._update else self._cache.volume.use(entry)
            if path is not None:
                return path
            batch.ended.wait(None if self._update else _LOOK_SECONDS)
        return self._cache.volume.use(entry)

    def _fetch_now(self, uri: str) -> str:
        """The path of what the loop needs next: there already, unless it failed or found no room before.

        Samples that are larger than expected fill the cache with what is needed later: that gives way.
        """
        with self._lock:
            ahead = list(self._ahead)
            if self._clear and understood(uri):
                self._strays.append(uri)
        for batch in reversed(ahead):
            try:
                return self._cache.local_path(uri)
            except ObjectTooLargeError:
                raise
            except CacheFullError:
                batch.ended.wait()
                if batch.lease is not None:
                    batch.lease.end()
        return self._cache.local_path(uri)

    def _renew(self) -> None:
        if time.monotonic() - self._renewed > _RENEW_SECONDS:
            self._renewed = time.monotonic()
            for batch in self._ahead:
                if batch.lease is not None:
                    batch.lease.renew(_LEASE_SECONDS)

    def _leave(self, batch: _Batch) -> None:
        batch.left.set()
        if batch.ended.is_set():
            self._release(batch)

    def _release(self, batch: _Batch) -> None:
        if batch.lease is not None:
            batch.lease.end()
        if self._clear:
            self._cache.clear(batch.uris)


def understood(uri: str) -> bool:
    """Whether a URI is a remote one that can be fetched at all."""
    try:
        return not is_local(uri) and bool(entry_of(uri))
    except UriError:
        return False
