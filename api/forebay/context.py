"""A download context: a loop over paths, with the next batches already on their way."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import Self

from forebay.errors import CacheFullError, ForebayError, ObjectTooLargeError, UriError
from forebay.jobs import JobStatus
from forebay.progress import reporter
from forebay.uri import entry_of, is_local, redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache, ProgressOption
    from forebay.leases import Lease

log = logging.getLogger(__name__)

_LEASE_SECONDS = 3600.0
_RENEW_SECONDS = 300.0
# The first batches are small, so that the loop begins soon and the size of a sample becomes known.
_FIRST_BATCH = 16
_LARGEST_BATCH = 5000


@dataclass
class _Batch:
    uris: list[str]
    lease: Lease | None = None
    arrived: threading.Event = field(default_factory=threading.Event)


class DownloadContext:
    """Iterates through the local paths of URIs, in order. Usable in a ``with`` statement, or at once.

    What has been fetched ahead is under a lease until the loop has left its batch. A sample that found
    no room ahead of time is fetched when its turn comes.

    Attributes:
        failures: URI (without secrets) and error of each sample that could not be had.
    """

    def __init__(
        self,
        cache: MediaCache,
        uris: Iterable[str],
        *,
        batch_size: int | None,
        target_size_bytes: int | None,
        clear: bool,
        lookahead: int,
        update: bool,
        skip_failures: bool,
        progress: ProgressOption,
    ) -> None:
        self._cache = cache
        self._rest = deque(uris)
        self._batch_size = batch_size
        self._lookahead = max(0, lookahead)
        self._clear = clear
        self._update = update
        self._skip_failures = skip_failures
        self._opened = ExitStack()
        self._show = self._opened.enter_context(reporter(progress))
        self._passed = 0
        self._total = len(self._rest)
        limit = cache.config.limit
        target = target_size_bytes or cache.config.download_size_bytes
        # All batches at hand, and the one before, must find room beside each other.
        self._target = target if limit is None else max(1, min(target, limit // (self._lookahead + 2)))
        self._closed = threading.Event()
        self._ahead: deque[_Batch] = deque()
        self._sizes = (0, 0)
        self._began = self._renewed = time.monotonic()
        self.failures: list[tuple[str, Exception]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the leases on what was fetched ahead."""
        self._opened.close()
        self._closed.set()
        self._rest.clear()
        while self._ahead:
            self._leave(self._ahead.popleft())

    def __iter__(self) -> Iterator[str]:
        try:
            while self._look_ahead():
                batch = self._ahead[0]
                for uri in batch.uris:
                    yield self._path(uri, batch)
                    self._pass_by()
                    self._renew()
                    self._look_ahead()
                self._ahead.popleft()
                # The next batch begins its way before this one's room is needed.
                self._leave(batch)
        finally:
            self.close()

    def _pass_by(self) -> None:
        """Counts a sample that the loop has left."""
        self._passed += 1
        if self._show is not None:
            self._show(
                JobStatus.of_loop(
                    total=self._total,
                    passed=self._passed,
                    failed=len(self.failures),
                    elapsed_seconds=time.monotonic() - self._began,
                )
            )

    def _look_ahead(self) -> bool:
        """Sends the next batches on their way; false when the loop is at its end."""
        while self._rest and len(self._ahead) <= self._lookahead and not self._in_the_dark():
            batch = _Batch([self._rest.popleft() for _ in range(min(self._next_size(), len(self._rest)))])
            self._ahead.append(batch)
            threading.Thread(target=self._fetch, args=(batch,), name="forebay-ahead", daemon=True).start()
        return bool(self._ahead)

    def _in_the_dark(self) -> bool:
        """Whether to wait with the next batch until the first one tells how large samples are."""
        return self._batch_size is None and bool(self._ahead) and not self._sizes[0]

    def _next_size(self) -> int:
        if self._batch_size is not None:
            return max(1, self._batch_size)
        count, size = self._sizes
        if not count:
            return _FIRST_BATCH
        return max(1, min(_LARGEST_BATCH, self._target * count // max(1, size)))

    def _fetch(self, batch: _Batch) -> None:
        try:
            remote = [uri for uri in batch.uris if _understood(uri)]
            if remote and not self._closed.is_set():
                batch.lease = self._cache.lease(remote, _LEASE_SECONDS)
                job = self._cache.download_media(remote, update=self._update, wait=False)
                job.wait(progress=lambda _: job.cancel() if self._closed.is_set() else None)
                job.forget()
                stats = self._cache.stats(remote)
                count, size = self._sizes
                self._sizes = (count + stats["current_count"], size + stats["current_size"])
        except ForebayError as error:
            # What is missing is tried again when its turn comes, and then says why.
            log.warning("fetching ahead failed: %s", error)
        finally:
            batch.arrived.set()

    def _path(self, uri: str, batch: _Batch) -> str:
        volume = self._cache.volume
        if _understood(uri) and (self._update or volume.use(entry_of(uri)) is None):
            batch.arrived.wait()
        try:
            return self._fetch_now(uri)
        except ForebayError as error:
            if not self._skip_failures:
                raise
            log.warning("%s", error)
            self.failures.append((redact(uri), error))
            return volume.layout.path(entry_of(uri)) if _understood(uri) else uri

    def _fetch_now(self, uri: str) -> str:
        """The path of what the loop needs next: there already, unless it failed or found no room before.

        Samples that are larger than expected fill the cache with what is needed later: that gives way.
        """
        for batch in reversed(self._ahead):
            try:
                return self._cache.local_path(uri)
            except ObjectTooLargeError:
                raise
            except CacheFullError:
                batch.arrived.wait()
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
        batch.arrived.wait()
        if batch.lease is not None:
            batch.lease.end()
        if self._clear:
            self._cache.clear(uri for uri in batch.uris if _understood(uri))


def _understood(uri: str) -> bool:
    """Whether a URI is a remote one that can be fetched at all."""
    try:
        return not is_local(uri) and bool(entry_of(uri))
    except UriError:
        return False
