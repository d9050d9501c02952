"""Downloading ahead of a loop: the next batches are on their way while the loop is at the present one."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from forebay.config.sizes import in_bytes
from forebay.engine import Engine
from forebay.errors import ForebayError, VolumeError
from forebay.lookahead.batch import Batch, Phase, check_sizes, fetchable, is_fetchable
from forebay.lookahead.fetching import cached_size, fetch_batch
from forebay.lookahead.finding import LEASE_SECONDS, Finder
from forebay.lookahead.parent_leases import parent_lease_name
from forebay.uri import entry_of, uri_text
from forebay.volume.cached_entries import mark
from forebay.volume.heartbeat import Heartbeat

log = logging.getLogger(__name__)

_RENEW_SECONDS = 30.0
# The first batch is small, so that the loop begins soon and the size of a sample becomes known.
_FIRST_BATCH = 16
_MAX_BATCH = 5000
# How long an abandoned loop waits for downloads under way; they end by themselves.
_CLOSE_SECONDS = 2.0
# After so many requests in a row for samples before the window, in rising order, the loop has restarted.
_MAX_BEHIND = 3


class LookAhead:
    """Downloads the samples of a loop in their order, ahead of it; `MediaCache.look_ahead` makes one.

    A batch is under a lease from when it is downloaded until the loop has left it, so that a set many
    times larger than the cache passes through. Safe to use from many threads. In a forked child, and
    once closed, it does not look ahead any more: it downloads a sample when it is asked for.

    Attributes:
        failures: the URI of each sample that could not be downloaded, and the reason.
        for_children: set it if other processes read the samples, or others look ahead beside this one: they
            may then end the lease of the batch that is needed last, for room.
    """

    # Which part of the loop asks for a sample.
    _asker = staticmethod(threading.get_ident)

    def __init__(
        self,
        engine: Engine,
        samples: Sequence[Sequence[str | os.PathLike[str]]],
        *,
        batch_size: int | None = None,
        target_size_bytes: int | str | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool | float | str = False,
    ) -> None:
        """Takes the arguments of `MediaCache.look_ahead`, and the engine of the cache."""
        target_bytes: int | None = in_bytes(target_size_bytes)
        check_sizes(batch_size, target_bytes)
        self.failures: dict[str, str] = {}
        self.for_children = False
        self._engine = engine
        self._samples = samples
        self._batch_size = batch_size
        self._lookahead = max(0, lookahead)
        self._clear = clear
        self._update = update
        limit = engine.config.limit
        target = target_bytes or engine.config.download_size_bytes
        # All batches at hand, and the one before, must find room beside each other.
        self._target = target if limit is None else max(1, min(target, limit // (self._lookahead + 2)))
        self._finder = Finder(engine, self._give_way, update=bool(update), remember=clear)
        # Never held during a call of Redis, or of anything else that may take long.
        self._lock = threading.RLock()
        self._next = 0
        self._ahead: deque[Batch] = deque()
        self._unsettled: set[Batch] = set()
        # Who has asked for samples for which batches were given up: until they are there, no batch begins.
        self._short_of_room: set[int] = set()
        # Settling the same batch twice at a time would end its lease before what is read is marked.
        self._settling = threading.Lock()
        # What was asked for although the loop had left it.
        self._behind: list[int] = []
        self._threads: list[threading.Thread] = []
        # Samples that were cached after they were fetched, and their bytes.
        self._sizes = (0.0, 0)
        self._closed = threading.Event()
        self._heartbeat: Heartbeat | None = None
        self._has_warned = False
        # Neither the threads nor a lock's owner come along to a forked child.
        self._process = os.getpid()

    # What a loop asks for

    def path(self, number: int, uri: str | os.PathLike[str]) -> str:
        """The local path of a URI, and note that the loop has come to its sample.

        The file is safe from eviction until the loop has left its batch, and for the grace period. If there
        was no room for it ahead of time, it is downloaded now.

        Args:
            number: of the sample, from 0.
            uri: one of the sample's.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        uri = uri_text(uri)
        return self._find(number, self._seek(number), uri)

    @contextmanager
    def reading(self, number: int, uri: str | os.PathLike[str]) -> Iterator[str]:
        """Like `path`, for a file that is used in a ``with`` block only: it is safe until the block's end.

        The file has no grace period: it may be evicted as soon as the loop has left its batch.

        Args:
            number: of the sample, from 0.
            uri: one of the sample's.

        Yields:
            the local path.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        uri = uri_text(uri)
        batch = self._seek(number)
        if batch is None or self.for_children or not is_fetchable(uri):
            yield self._find(number, batch, uri)
            return
        entry = entry_of(uri)
        batch.begin_reading(entry)
        try:
            with ExitStack() as held:
                yield self._find(number, batch, uri, held)
        finally:
            batch.end_reading(entry)

    def reach(self, number: int) -> None:
        """Notes that the loop has come to sample ``number``, and has left those of earlier batches."""
        self._seek(number)

    def wait(self, number: int) -> None:
        """Blocks until every URI of sample ``number``, where the loop is now, is cached or has failed."""
        batch = self._seek(number)
        if batch is None:
            return
        for uri in fetchable(self._samples[number]):
            with suppress(ForebayError):
                self._finder.await_entry(entry_of(uri), batch, leased=False)

    def close(self) -> None:
        """Stops looking ahead, and ends the leases. Downloads that run are finished, no others are begun."""
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
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._finder.out_of_turn:
            self._remove(self._finder.out_of_turn)

    def _find(self, number: int, batch: Batch | None, uri: str, held: ExitStack | None = None) -> str:
        try:
            path = self._finder.find(batch, uri, held)
        finally:
            if self._short_of_room and self._active():
                self._go_on_from(number)
        if self.failures:
            self.failures.pop(uri, None)
        return path

    # Where the loop is

    def _seek(self, number: int) -> Batch | None:
        """The batch of a sample, which the loop has come to; ``None`` when the loop had left it already."""
        if not self._active():
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
            first = self._ahead[0] if self._ahead else None
            return first if first is not None and first.first <= number < first.end else None

    def _begins_anew(self, number: int) -> bool:
        """Whether the loop has gone back to what it had left, rather than asked for something once more."""
        first = self._ahead[0].first if self._ahead else self._next
        if number >= first or (self._behind and number <= self._behind[-1]):
            self._behind.clear()
        if number >= first:
            return False
        self._behind.append(number)
        return len(self._behind) >= _MAX_BEHIND

    def _active(self) -> bool:
        """Whether it looks ahead, in this process: a thread of the parent's may have held the lock."""
        return not self._closed.is_set() and self._process == os.getpid()

    # Leaving a batch

    def _leave(self, batch: Batch) -> None:
        batch.leave()
        self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        """Gives up a batch that the loop has left; one that is still being fetched must be settled again."""
        with self._settling:
            if not batch.left or batch.phase is Phase.SETTLED:
                return
            lease, reading = batch.take_lease()
            # Other threads of the loop read these: from now on the files' own marks keep them.
            mark(self._engine.files, list(reading))
            fetched = batch.phase >= Phase.FETCHED
            try:
                if lease is not None:
                    lease.end()
                if self._clear and fetched:
                    self._remove(batch.uris)
            except ForebayError as error:
                # The loop needs nothing of this; the lease expires.
                log.warning("the lease of a batch cannot be ended: %s", error)
            finally:
                if fetched:
                    batch.advance(Phase.SETTLED)
                    with self._lock:
                        self._unsettled.discard(batch)

    def _remove(self, uris: Sequence[str]) -> None:
        """Removes what the loop has left. A user who may only read the volume is told once that it stays."""
        try:
            self._engine.open_clearing().clear([entry_of(uri) for uri in uris])
        except VolumeError as error:
            log.warning("what the loop has left stays in the cache: %s", error)
            self._clear = False
            self._finder.out_of_turn.clear()

    def _give_way(self) -> bool:
        """Gives up the batch that is needed last, and waits until it is; false when there is none."""
        batch = self._give_up_last()
        return batch is not None and batch.wait_for(Phase.SETTLED)

    def _give_up_last(self) -> Batch | None:
        if not self._active():
            return None
        with self._lock:
            if self._ahead:
                batch = self._ahead.pop()
                self._next = batch.first
            elif self._unsettled:
                # Another thread of the loop has given it up, and its room is not free yet.
                batch = next(iter(self._unsettled))
            else:
                return None
            self._short_of_room.add(self._asker())
        self._leave(batch)
        return batch

    def _go_on_from(self, number: int) -> None:
        """Looks ahead again, after the calling thread has got its sample or failed to."""
        with self._lock:
            if self._asker() in self._short_of_room:
                self._short_of_room.remove(self._asker())
                if not self._ahead:
                    self._next = max(self._next, number)
                self._fill()

    # Fetching a batch

    def _fill(self) -> None:
        """Sends the next batches on their way. Called with the lock."""
        while self._next < len(self._samples) and len(self._ahead) <= self._lookahead:
            if self._closed.is_set() or self._short_of_room:
                return
            if self._ahead and self._ahead[-1].phase < Phase.LAST_BEGUN:
                # What is needed first comes first.
                return
            if self._batch_size is None and self._ahead and not self._sizes[0]:
                # The first batch will tell how large samples are.
                return
            end = min(self._next + self._next_size(), len(self._samples))
            uris = [uri for sample in self._samples[self._next : end] for uri in fetchable(sample)]
            batch = Batch(self._next, end, list(dict.fromkeys(uris)))
            try:
                self._start(batch)
            except RuntimeError as error:
                # What no thread fetches must not be waited for.
                if not self._has_warned:
                    log.warning("cannot fetch ahead: %s; samples are fetched when asked for", error)
                self._has_warned = True
                return
            self._next = end
            self._ahead.append(batch)
            self._unsettled.add(batch)

    def _start(self, batch: Batch) -> None:
        """Has a thread fetch a batch; a `RuntimeError` says that there is none. Called with the lock."""
        if self._heartbeat is None:
            self._heartbeat = _lease_heartbeat(self)
        thread = threading.Thread(target=self._fetch, args=(batch,), name="forebay-ahead", daemon=True)
        thread.start()
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]

    def _next_size(self) -> int:
        if self._batch_size is not None:
            return self._batch_size
        count, size = self._sizes
        if not count:
            return _FIRST_BATCH
        return max(1, min(_MAX_BATCH, int(self._target * count / max(1, size))))

    def _fetch(self, batch: Batch) -> None:
        try:
            if batch.uris and not batch.left:
                entries = [entry_of(uri) for uri in batch.uris]
                name = parent_lease_name() if self.for_children else None
                batch.keep(self._engine.lease(name, entries, LEASE_SECONDS))
                fetch_batch(
                    self._engine,
                    batch,
                    self.failures,
                    update=self._update,
                    begun=lambda: self._advance(batch, Phase.LAST_BEGUN),
                )
                samples, size = cached_size(self._engine, batch)
                with self._lock:
                    count, before = self._sizes
                    self._sizes = (count + samples, before + size)
        except ForebayError as error:
            # What is missing is tried again when its turn comes, and then says why.
            log.warning("fetching ahead failed: %s", error)
        finally:
            self._advance(batch, Phase.FETCHED)
            self._settle(batch)

    def _advance(self, batch: Batch, phase: Phase) -> None:
        with self._lock:
            batch.advance(phase)
            self._fill()

    def _renew_leases(self) -> None:
        """Renews the leases of the batches at hand; called regularly by a thread of this object.

        Raises:
            ForebayError: Redis cannot be reached.
        """
        with self._lock:
            at_hand = list(self._ahead)
        for batch in at_hand:
            lease = batch.lease
            if lease is not None and not lease.renew(LEASE_SECONDS):
                # A child has taken its room, or this process was paused for longer than that.
                batch.lose(lease)


def _lease_heartbeat(ahead: LookAhead) -> Heartbeat:
    """Starts to renew the leases of a look-ahead, for as long as it exists."""
    reference = weakref.ref(ahead)

    def renew() -> None:
        kept = reference()
        if kept is None:
            heartbeat.stop()
        else:
            kept._renew_leases()

    what = "renewing the leases of a look-ahead"
    heartbeat = Heartbeat("forebay-ahead-leases", _RENEW_SECONDS, (renew,), what)
    heartbeat.start()
    return heartbeat
