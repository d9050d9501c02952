"""Fetching ahead of a loop: the next batches are on their way while the loop is at the present one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING

from forebay.errors import CacheFullError, ConfigError, ForebayError, ObjectTooLargeError, SourceError
from forebay.lookahead.batch import Batch, understood
from forebay.uri import entry_of

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.fetch.fetcher import Outcome
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)

# Short, and renewed: what a killed process had leased must not fill a small cache for long.
_LEASE_SECONDS = 120.0
_RENEW_SECONDS = 30.0
_numbers = itertools.count(1)
# The first batch is small, so that the loop begins soon and the size of a sample becomes known.
_FIRST_BATCH = 16
_LARGEST_BATCH = 5000
_LOOK_SECONDS = (0.001, 0.01)
# How long an abandoned loop waits for downloads under way; they end by themselves.
_CLOSE_SECONDS = 2.0
# So many requests in a row from before the window, each for a later sample, are a loop that begins anew.
_BEHIND = 3


def check_sizes(batch_size: object, target_size_bytes: object) -> None:
    """Makes sure that batches of these sizes can be made; ``None`` is for the default.

    Raises:
        ConfigError: one of them is no number from 1.
    """
    for name, value, kind in (
        ("batch_size", batch_size, Integral),
        ("target_size_bytes", target_size_bytes, Real),
    ):
        if value is not None and not (isinstance(value, kind) and float(value) >= 1):
            raise ConfigError(f"{name}={value!r} is not allowed: must be a number from 1, or None")


class LookAhead:
    """Fetches the samples of a loop in their order, ahead of it.

    A batch is under a lease from when it is fetched until the loop has left it, so that a set many
    times larger than the cache passes through. Safe to use from many threads; in a forked child, and
    once closed, it looks ahead no more and fetches what it is asked for.

    Args:
        samples: the URIs of each sample; local ones among them are left alone.
        batch_size: samples in a batch; by default as many as have about ``target_size_bytes``.
        target_size_bytes: the size of a batch; ``download_size_bytes`` by default, and never more
            than the cache can hold of all batches at hand.
        clear: remove each batch from the cache when the loop has left it.
        lookahead: how many batches to fetch ahead of the present one.
        update: download again what has changed at its source.

    Raises:
        ConfigError: a size is not allowed.

    Attributes:
        failures: URI, and why it could not be fetched, of what has failed so far.
        for_children: whether it is child processes that read; they may then take the room of what is
            needed last: see `take_from_parent`.
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
        check_sizes(batch_size, target_size_bytes)
        self.failures: dict[str, str] = {}
        self.for_children = False
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
        # Never held during a call of Redis, or of anything else that may take long.
        self._lock = threading.RLock()
        self._next = 0
        self._ahead: deque[Batch] = deque()
        self._unsettled: set[Batch] = set()
        # What was asked for although the loop had left it, and what was fetched out of turn.
        self._behind: list[int] = []
        self._strays: list[str] = []
        self._threads: list[threading.Thread] = []
        # Samples that were fetched, and their bytes.
        self._sizes = (0, 0)
        self._closed = threading.Event()
        self._kept = False
        # Neither the threads nor a lock's owner come along to a forked child.
        self._process = os.getpid()

    # What a loop asks for

    def path(self, number: int, uri: str) -> str:
        """The local path of a URI of sample ``number``, where the loop is now.

        It is safe from eviction until the loop has left its batch, and for the grace period. What found
        no room ahead of time is fetched now.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        return self._find(self._seek(number), uri)

    @contextmanager
    def reading(self, number: int, uri: str) -> Iterator[str]:
        """Like `path`, for a file that is opened within the block: it is safe until the block's end.

        Without the grace period of a path that is handed out, it makes room for what comes as soon as
        the loop has left its batch.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        batch = self._seek(number)
        if batch is None or self.for_children or not understood(uri):
            yield self._find(batch, uri)
            return
        entry = entry_of(uri)
        with self._lock:
            batch.reading.append(entry)
        try:
            with ExitStack() as held:
                yield self._find(batch, uri, held)
        finally:
            with self._lock:
                batch.reading.remove(entry)

    def reach(self, number: int) -> None:
        """Tells that the loop has come to sample ``number``, and is done with those of earlier batches."""
        self._seek(number)

    def wait(self, number: int) -> None:
        """Waits until what can be had of sample ``number``, where the loop is now, is there."""
        batch = self._seek(number)
        for uri in self._samples[number] if batch is not None else ():
            if batch is not None and understood(uri):
                with contextlib.suppress(ForebayError):
                    self._awaited(entry_of(uri), batch, leased=False)

    def close(self) -> None:
        """Ends what is under way, and the leases. What is not cached then is not fetched any more."""
        if self._process != os.getpid():
            # The leases are the parent's.
            return
        self._closed.set()
        with self._lock:
            left = list(self._ahead)
            self._ahead.clear()
            threads = list(self._threads)
        for batch in left:
            self._leave(batch)
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._clear and self._strays:
            self._cache.clear(self._strays)

    # Where the loop is

    def _seek(self, number: int) -> Batch | None:
        """The batch of a sample, which the loop has come to; ``None`` when the loop had left it already."""
        if self._closed.is_set() or self._process != os.getpid():
            return None
        passed: list[Batch] = []
        with self._lock:
            if self._begins_anew(number):
                passed = list(self._ahead)
                self._ahead.clear()
                self._next = number
            while self._ahead and number >= self._ahead[0].end:
                passed.append(self._ahead.popleft())
            if not self._ahead:
                # The loop may have jumped over samples.
                self._next = max(self._next, number)
        # What the loop has left gives its room to the batch that is fetched next.
        for batch in passed:
            self._leave(batch)
        with self._lock:
            if not self._ahead or len(self._ahead) <= self._lookahead:
                self._fill()
            batch = self._ahead[0] if self._ahead else None  # type: ignore[assignment]
            if batch is None or not batch.first <= number < batch.end:
                return None
            return batch

    def _begins_anew(self, number: int) -> bool:
        """Whether the loop has gone back to what it had left, rather than asked for something once more."""
        first = self._ahead[0].first if self._ahead else self._next
        if number >= first or (self._behind and number <= self._behind[-1]):
            self._behind.clear()
        if number >= first:
            return False
        self._behind.append(number)
        return len(self._behind) >= _BEHIND

    def _leave(self, batch: Batch) -> None:
        batch.left.set()
        self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        """Ends the lease of a batch that the loop has left."""
        with batch.settling:
            with self._lock:
                if not batch.left.is_set() or batch.settled.is_set():
                    return
                for entry in batch.reading:
                    # Another thread of the loop: from now on the file's own mark keeps it.
                    self._cache.volume.use(entry)
                lease, batch.lease = batch.lease, None
            batch.release(lease, clear=self._clear)
            with self._lock:
                if batch.settled.is_set():
                    self._unsettled.discard(batch)

    # Finding a file

    def _find(self, batch: Batch | None, uri: str, held: ExitStack | None = None) -> str:
        """The path of a URI.

        Args:
            held: keeps it, if that is enough; otherwise the file itself bears the mark of its use.
        """
        path = None
        if batch is not None and understood(uri):
            path = self._awaited(entry_of(uri), batch, leased=held is not None)
        if path is None:
            path = self._fetch_now(uri, held)
        if self.failures:
            self.failures.pop(uri, None)
        return path

    def _awaited(self, entry: str, batch: Batch, *, leased: bool) -> str | None:
        """The path of an entry as soon as it is there; ``None`` when its batch ended without it.

        Args:
            leased: whether the batch's lease is to keep it, rather than a mark on the file.

        Raises:
            SourceError: it has been tried, and trying again will not help.
        """
        volume = self._cache.volume

        def look() -> str | None:
            if not leased:
                return volume.use(entry)
            path = None if batch.lease is None else volume.locate(entry)
            # Whoever ends the lease marks what is being read, if it is there by then.
            return path if path is None or batch.lease is not None else volume.use(entry)

        pause, longest = _LOOK_SECONDS
        while not batch.ended.is_set() and entry not in batch.outcomes:
            path = None if self._update else look()
            if path is not None:
                return path
            batch.ended.wait(pause)
            pause = min(1.5 * pause, longest)
        error = batch.outcomes.get(entry)
        if isinstance(error, ObjectTooLargeError) or (isinstance(error, SourceError) and not error.transient):
            raise error
        return look()

    def _fetch_now(self, uri: str, held: ExitStack | None) -> str:
        """The path of what the loop needs next: there already, unless it failed or found no room before.

        Samples that are larger than expected fill the cache with what is needed later: that gives way.
        """
        if self._clear and understood(uri):
            self._strays.append(uri)
        if held is not None:
            held.enter_context(self._cache.lease([uri], _LEASE_SECONDS))
        while True:
            try:
                return self._cache.local_path(uri) if held is None else self._fetch_leased(uri)
            except ObjectTooLargeError:
                raise
            except CacheFullError:
                if not self._give_way():
                    raise

    def _fetch_leased(self, uri: str) -> str:
        while True:
            outcomes: list[Outcome] = []
            self._cache.fetcher.fetch([(0, uri)], outcomes.extend, unused=True)
            if outcomes[0].error is not None:
                raise outcomes[0].error
            path = self._cache.volume.locate(entry_of(uri))
            if path is not None:
                return path

    def _give_way(self) -> bool:
        """Gives up the batch that is needed last; false when there is none."""
        if self._closed.is_set() or self._process != os.getpid():
            return False
        with self._lock:
            if self._ahead:
                batch = self._ahead.pop()
                self._next = batch.first
            elif self._unsettled:
                # Another thread of the loop has given it up, and its room is not free yet.
                batch = next(iter(self._unsettled))
            else:
                return False
        self._leave(batch)
        batch.settled.wait()
        return True

    # Fetching a batch

    def _fill(self) -> None:
        """Sends the next batches on their way. Called with the lock."""
        while self._next < len(self._samples) and len(self._ahead) <= self._lookahead:
            if self._closed.is_set():
                return
            if self._ahead and not self._ahead[-1].begun:
                # What is needed first comes first.
                return
            if self._batch_size is None and self._ahead and not self._sizes[0]:
                # The first batch will tell how large samples are.
                return
            end = min(self._next + self._next_size(), len(self._samples))
            uris = [uri for sample in self._samples[self._next : end] for uri in sample if understood(uri)]
            batch = Batch(self._cache, self._next, end, list(dict.fromkeys(uris)))
            self._next = end
            self._ahead.append(batch)
            self._unsettled.add(batch)
            thread = threading.Thread(target=self._fetch, args=(batch,), name="forebay-ahead", daemon=True)
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()
            if not self._kept:
                self._kept = True
                keeping = (weakref.ref(self), self._closed)
                threading.Thread(target=_keep, args=keeping, name="forebay-ahead-keep", daemon=True).start()

    def _next_size(self) -> int:
        if self._batch_size is not None:
            return self._batch_size
        count, size = self._sizes
        if not count:
            return _FIRST_BATCH
        return max(1, min(_LARGEST_BATCH, self._target * count // max(1, size)))

    def _fetch(self, batch: Batch) -> None:
        try:
            if batch.uris and not batch.left.is_set():
                session = self._cache.volume.session.id
                name = f"ahead-{session}.{next(_numbers):09}" if self.for_children else None
                lease = self._cache.lease(batch.uris, _LEASE_SECONDS, name)
                with self._lock:
                    batch.lease = lease
                batch.download(self.failures, update=self._update, begun=lambda: self._has_begun(batch))
                size = self._cache.stats(batch.uris)["current_size"]
                with self._lock:
                    count, before = self._sizes
                    self._sizes = (count + batch.end - batch.first, before + size)
        except ForebayError as error:
            # What is missing is tried again when its turn comes, and then says why.
            log.warning("fetching ahead failed: %s", error)
        finally:
            with self._lock:
                batch.begun = True
                batch.ended.set()
                self._fill()
            self._settle(batch)

    def _has_begun(self, batch: Batch) -> None:
        with self._lock:
            batch.begun = True
            self._fill()

    def _renew(self) -> None:
        with self._lock:
            held = [(batch, batch.lease) for batch in self._ahead]
        for batch, lease in held:
            if lease is not None and not lease.renew(_LEASE_SECONDS):
                # A child has taken its room, or this process was paused for longer than that.
                batch.lease = None


def _keep(ahead: weakref.ref[LookAhead], closed: threading.Event) -> None:
    """Renews the leases of a look-ahead for as long as somebody has it."""
    while not closed.wait(_RENEW_SECONDS):
        kept = ahead()
        if kept is None:
            return
        try:
            kept._renew()
        except ForebayError as error:
            log.warning("the leases on what was fetched ahead cannot be renewed: %s", error)
        del kept


def take_from_parent(volume: Volume) -> bool:
    """Ends the last lease on what the parent process has fetched ahead, for a child that needs its room now.

    Returns:
        false when there is none.
    """
    parents = f"ahead-{volume.session.id.partition('-')[0]}-{os.getppid()}-"
    names = [name for name, _, _ in volume.index.leases() if name.startswith(parents)]
    if not names:
        return False
    volume.index.end_lease(max(names))
    return True
