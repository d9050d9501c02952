"""Bringing samples into the cache: claim what is missing, transfer it, commit it to the index.

Claims and commits travel in batches, reservations in blocks, so that an object costs a small part of
a round trip. An entry that another process has claimed is waited for, not downloaded again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from forebay import logs
from forebay.backoff import Backoff
from forebay.errors import ForebayError, IndexUnavailableError, SourceError
from forebay.eviction.room import Room
from forebay.fetch.outcome import Outcome
from forebay.fetch.transfer import Destination, Transfer
from forebay.fetch.work import Item, Work, items_of
from forebay.index import Claimed, Download, SessionLostError
from forebay.processes import is_identity_alive
from forebay.sources.base import SourceLookup
from forebay.threads import run_in_threads
from forebay.uri import MediaURI
from forebay.volume.counters import Counters, Ended
from forebay.volume.recovery import Recovery
from forebay.volume.reservation import Reservation

BATCH = 128
# Downloads that are slower than this are published one by one, faster ones in batches.
FLUSH_SECONDS = 0.25
# How many objects a thread claims ahead of the one that it downloads.
CLAIMS_PER_THREAD = 8
# How often a claim may be lost before a sample counts as failed: more than that is no accident.
_MAX_LOST_CLAIMS = 5

Report = Callable[[list[Outcome]], None]


class Fetcher:
    """Downloads objects into a volume.

    Args:
        destination: where to.
        recovery: keeps the index true to the files.
        room: makes room.
        counters: of this process.
        sources: where from.
    """

    def __init__(
        self,
        destination: Destination,
        recovery: Recovery,
        room: Room,
        counters: Counters,
        sources: SourceLookup,
    ) -> None:
        self._destination = destination
        self._recovery = recovery
        self._room = room
        self._counters = counters
        self._sources = sources

    def reading_from(self, sources: SourceLookup) -> Fetcher:
        """A fetcher into the same volume from other sources."""
        return Fetcher(self._destination, self._recovery, self._room, self._counters, sources)

    def fetch(
        self,
        samples: Iterable[tuple[int, str]],
        report: Report,
        *,
        update: bool = False,
        threads: int = 1,
        cancelled: Callable[[], bool] = lambda: False,
        begun: Callable[[], object] = lambda: None,
        unused: bool = False,
    ) -> None:
        """Brings samples into the cache; returns when each has been reported.

        Args:
            samples: number and URI of each.
            report: is told of outcomes, a few at a time, from any thread but never from two at once.
            update: download again what has changed at its source.
            threads: how many downloads at a time.
            cancelled: asked before each download; samples left then are not reported.
            begun: called when the last download that is known of begins, from any thread; must be quick.
            unused: no caller waits for these paths, or a lease keeps them: what is downloaded is not in
                its grace period.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        run = _Run(
            self._destination,
            self._recovery,
            self._room,
            self._counters,
            self._sources,
            report,
            update,
            cancelled,
            begun,
            unused,
        )
        run.run(samples, threads)

    def fetch_one(self, uri: str, *, unused: bool = False) -> None:
        """Brings one object into the cache.

        Raises:
            ForebayError: it cannot be had.
        """
        outcomes: list[Outcome] = []
        self.fetch([(0, uri)], outcomes.extend, unused=unused)
        if outcomes[0].error is not None:
            raise outcomes[0].error


class _Run:
    """One call of `Fetcher.fetch`."""

    def __init__(
        self,
        destination: Destination,
        recovery: Recovery,
        room: Room,
        counters: Counters,
        sources: SourceLookup,
        report: Report,
        update: bool,
        cancelled: Callable[[], bool],
        begun: Callable[[], object],
        unused: bool,
    ) -> None:
        self._destination = destination
        self._index = destination.index
        self._session = destination.session
        self._files = destination.files
        self._recovery = recovery
        self._room = room
        self._counters = counters
        self._sources = sources
        self._report = report
        self._update = update
        self._cancelled = cancelled
        self._begun = begun
        self._idle = destination.config.grace_seconds if unused else 0.0
        self._failure: BaseException | None = None

    def run(self, samples: Iterable[tuple[int, str]], threads: int) -> None:
        self._recovery.check()
        items, broken = items_of(samples)
        if broken:
            self._counters.ended(Ended(None, "failed", reason="bad_uri") for _ in broken)
            self._report(broken)
        self._work = Work(pending=deque(items))
        if items:
            threads = min(threads, len(items))
            # What is claimed ahead keeps others waiting, so it is little where one thread does it all.
            self._ahead = min(BATCH, CLAIMS_PER_THREAD * threads)
            try:
                run_in_threads(self._work_off, threads, "forebay-fetch")
            finally:
                # What was reserved in advance is for others to use.
                self._session.trim()

    # Which object is next

    def _work_off(self) -> None:
        try:
            while self._failure is None and (item := self._next()) is not None:
                self._download(item)
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            if self._failure is not None or self._cancelled():
                self._give_up()

    def _next(self) -> Item | None:
        """The next object that this process has the claim on; ``None`` when there is nothing left."""
        work, pause = self._work, Backoff(0.005, 0.25)
        with work.lock:
            while self._failure is None and not self._cancelled():
                if not work.claimed and work.pending:
                    self._claim([work.pending.popleft() for _ in range(min(self._ahead, len(work.pending)))])
                if work.claimed:
                    item = work.claimed.popleft()
                    if not (work.claimed or work.pending):
                        self._begun()
                    return item
                if work.pending:
                    continue
                self._flush()
                if work.waiting:
                    work.lock.wait(pause.next())
                    work.pending.extend(work.waiting)
                    work.waiting.clear()
                elif not work.pending:
                    work.lock.notify_all()
                    break
        return None

    def _claim(self, batch: list[Item]) -> None:
        answers = self._session.claim([item.entry for item in batch], always=self._update)
        try:
            self._sort(batch, answers)
        except BaseException:
            self._session.release(
                [(item.entry, token) for item, (token, a) in zip(batch, answers, strict=True) if a.granted]
            )
            raise

    def _sort(self, batch: list[Item], answers: list[tuple[str, Claimed]]) -> None:
        """Puts each item where its claim's answer says that it belongs."""
        outcomes: list[Outcome] = []
        found: list[Ended] = []
        for item, (token, answer) in zip(batch, answers, strict=True):
            item.token = token
            if answer.granted:
                item.old = answer.value or self._recovery.adopt(item.entry, token)
                if item.old and not self._update:
                    self._drop(item)
                    found.append(item.found(item.old))
                    outcomes += item.outcomes("cached")
                else:
                    self._work.claimed.append(item)
            elif answer.holder:
                self._await(item, answer)
            elif self._files.touch(item.entry) is not None:
                found.append(item.found(answer.value))
                outcomes += item.outcomes("cached")
            else:
                # The index says that it is there, and the disk that it is not: the disk is right, unless
                # an evictor is between the two.
                self._index.entries.forget([(item.entry, answer.value)])
                self._work.pending.append(item)
        if outcomes:
            self._counters.ended(found)
            self._report(outcomes)

    def _await(self, item: Item, answer: Claimed) -> None:
        """Waits for the holder of the claim, or cleans up after it."""
        holder = answer.holder.rpartition(".")[0]
        if answer.holder_alive and is_identity_alive(holder):
            self._work.waiting.append(item)
        else:
            self._recovery.reap(holder)
            self._work.pending.append(item)

    def _give_up(self) -> None:
        """Gives back the claims on what will not be downloaded."""
        with self._work.lock:
            self._flush()
            self._release_ahead()
            self._work.pending.clear()
            self._work.waiting.clear()

    def _release_ahead(self) -> None:
        """Gives back the claims on what has not been begun; it is claimed again when its turn comes."""
        work = self._work
        if work.claimed:
            self._session.release([(item.entry, item.token) for item in work.claimed])
            work.pending.extendleft(reversed(work.claimed))
            work.claimed.clear()

    # One object

    def _download(self, item: Item) -> None:
        # A caller may have been given the path of the copy that is replaced, and not have opened it yet.
        idle = 0.0 if item.old else self._idle
        transfer = Transfer(
            item.uri, item.entry, item.token, item.old, self._destination, self._make_room, idle=idle
        )
        logs.sample.set(item.uri)
        try:
            download = transfer.run(self._sources)
        except SessionLostError:
            self._again(item)
        except IndexUnavailableError:
            # Nothing is wrong with the sample: it stays to be done.
            self._drop(item)
            raise
        except ForebayError as error:
            _take_over(item, transfer)
            self._sources.record(item.uri, error)
            self._fail(item, error)
        except BaseException:
            self._drop(item)
            raise
        else:
            _take_over(item, transfer)
            self._sources.record(item.uri, None)
            self._done(item, download)
        finally:
            logs.sample.set(None)

    def _make_room(self, reservation: Reservation, size: int, what: MediaURI) -> None:
        """Reserves ``size`` bytes, and makes room where there is none."""
        if reservation.grow(size) is not None:
            # What is finished can be evicted once it is published, and not before; what is to be
            # updated, only without a claim on it.
            with self._work.lock:
                self._flush()
                self._release_ahead()
            self._room.make(reservation, size, what.redacted)

    # How it ended

    def _done(self, item: Item, download: Download | None) -> None:
        work = self._work
        with work.lock:
            work.done.append((item, download))
            if len(work.done) >= BATCH or time.monotonic() - work.flushed > FLUSH_SECONDS:
                self._flush()

    def _flush(self) -> None:
        """Publishes what is downloaded, in one call."""
        work = self._work
        with work.lock:
            work.flushed = time.monotonic()
            if not work.done:
                return
            done = work.done
            kept = [item for item, download in done if download is None]
            stored = [(item, download) for item, download in done if download is not None]
            outcomes: list[Outcome] = []
            ended: list[Ended] = []
            if kept:
                self._session.release([(item.entry, item.token) for item in kept])
                self._index.entries.present([item.entry for item in kept])
                for item in kept:
                    ended.append(item.found(item.old))
                    outcomes += item.outcomes("cached")
            published = self._session.commit([download for _, download in stored]) if stored else []
            work.done = []
            for (item, download), ours in zip(stored, published, strict=True):
                if ours:
                    times = (item.first_byte, item.seconds)
                    ended.append(Ended(item.uri, "downloaded", download.size, *times, retries=item.retries))
                    outcomes += item.outcomes("downloaded", download.size)
                else:
                    self._again(item)
            if outcomes:
                self._counters.ended(ended)
                self._report(outcomes)

    def _again(self, item: Item) -> None:
        """Claims an item anew whose claim was lost, or whose partial file was."""
        self._drop(item)
        with self._work.lock:
            item.lost += 1
            if item.lost > _MAX_LOST_CLAIMS:
                reason = (
                    f"its claim expired {item.lost} times: this process was probably paused (swap, suspend)"
                )
                self._counters.ended([Ended(item.uri, "failed", reason="claim_lost", retries=item.retries)])
                self._report(item.outcomes("failed", error=SourceError(item.uri.redacted, reason)))
            else:
                self._work.pending.append(item)

    def _fail(self, item: Item, error: ForebayError) -> None:
        if isinstance(error, SourceError):
            error.attempts = item.attempts
        self._drop(item)
        self._counters.ended([Ended(item.uri, "failed", reason=error.kind, retries=item.retries)])
        with self._work.lock:
            self._report(item.outcomes("failed", error=error))

    def _drop(self, item: Item) -> None:
        self._session.release([(item.entry, item.token)])


def _take_over(item: Item, transfer: Transfer) -> None:
    """Adds to an item what its transfer has counted."""
    item.attempts += transfer.attempts
    item.retries += transfer.retries
    item.first_byte, item.seconds = transfer.first_byte, transfer.seconds
