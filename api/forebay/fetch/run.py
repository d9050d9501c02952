"""One fetch: claims, transfers and commits of many objects, by one thread; others move the bytes."""

from __future__ import annotations

import contextlib
import heapq
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable

from forebay import logs
from forebay.backoff import Backoff
from forebay.config.freshness import Freshness
from forebay.errors import CacheFullError, ForebayError, IndexUnavailableError, SourceError
from forebay.eviction.room import Room, RoomRequest
from forebay.fetch.checks_due import stays_unchecked
from forebay.fetch.destination import Destination
from forebay.fetch.outcome import Report, SampleOutcome
from forebay.fetch.refusals import as_forebay_error
from forebay.fetch.steps import Step, YieldedError
from forebay.fetch.supply import Supply
from forebay.fetch.transfer import Transfer
from forebay.fetch.work import Item
from forebay.index import Claimed, Download, SessionLostError
from forebay.sources.sources import Sources
from forebay.volume.counters import Counters, Ended
from forebay.volume.recovery import Recovery

# Downloads that are slower than so many seconds are published one by one, faster ones in batches.
BATCH, FLUSH_SECONDS = 128, 0.25
# How often a claim may be lost before a sample counts as failed: more than that is no accident.
_MAX_LOST_CLAIMS = 5
_CANCELLED_SECONDS = 0.1  # How often it is asked whether the fetch was cancelled.
_GIVE_UP_SECONDS, _ROOM_SECONDS = 5.0, 0.01
# With so many transfers in flight, their events are handled so many seconds apart.
_GATHER_FROM, _GATHER_SECONDS = 16, 0.004


class Run:
    """One call of `Fetcher.fetch`. Everything but the bytes happens in the calling thread."""

    flush_seconds = FLUSH_SECONDS

    def __init__(
        self,
        destination: Destination,
        recovery: Recovery,
        room: Room,
        counters: Counters,
        sources: Sources,
        report: Report,
    ) -> None:
        self._destination = destination
        self._index = destination.index
        self._session = destination.session
        self._files = destination.files
        self._recovery = recovery
        self._room = room
        self._counters = counters
        self._sources = sources
        self._transport = sources.open_transport()
        self._report = report
        self._max_flying = destination.config.max_requests
        # Events of transfers, from the transport's threads; without a transfer, only to end the wait for one.
        self._events: queue.SimpleQueue[tuple[Transfer | None, object]] = queue.SimpleQueue()
        self._supply, self._pending = Supply(), deque[Item]()
        self._claimed: deque[Item] = deque()
        # Claimed by others; looked at again when a pause is over.
        self._waiting: list[Item] = []
        self._look_at = 0.0
        self._look_pause = Backoff(*destination.look_seconds)
        self._flying: set[Transfer] = set()
        self._delayed: list[tuple[float, int, Transfer]] = []
        self._short_of_room: deque[tuple[Transfer, RoomRequest]] = deque()
        # To be committed; without a download where the cached copy is still current.
        self._done: list[tuple[Item, Download | None]] = []
        self._flushed = time.monotonic()
        self._is_stopping = self._is_given_up = False
        self._given_up: list[Item] = []

    def work_off(
        self,
        items: Iterable[list[Item]],
        *,
        fresh: Freshness,
        cancelled: Callable[[], bool],
        begun: Callable[[], object],
        idle: float,
    ) -> None:
        self._fresh, self._idle, self._supply = fresh, idle, Supply(items)
        has_begun = False
        try:
            while True:
                if not self._is_stopping and cancelled():
                    self._is_stopping = True
                    self._give_back()
                if not self._is_stopping:
                    self._begin_more()
                    if not (has_begun or self._pending or self._claimed or self._waiting or self._supply):
                        has_begun = True
                        begun()
                # What turns out to have lost its claim is pending again.
                if self._done and (self._is_idle or time.monotonic() - self._flushed > self.flush_seconds):
                    self._flush()
                if self._is_idle:
                    break
                self._handle_events()
        except BaseException:
            self._give_up()
            raise
        self._session.release_unused()

    @property
    def _is_idle(self) -> bool:
        return not (self._flying or self._pending or self._claimed or self._waiting or self._supply)

    def _begin_more(self) -> None:
        now = time.monotonic()
        if self._waiting and now >= self._look_at:
            self._waiting = self._destination.look_again(self._waiting, self._pending)
            self._look_at = now + self._look_pause.next()
        if self._short_of_room:
            # Others would only wait, too, and what they have claims on could not be evicted.
            return
        self._supply.take(self._pending, len(self._waiting))
        # The next claims are asked for while the present ones are being worked off.
        while self._pending and len(self._claimed) < min(BATCH, self._max_flying) // 2 + 1:
            size = min(BATCH, 8 * self._max_flying, len(self._pending))
            self._claim([self._pending.popleft() for _ in range(size)])
            if not self._claimed and self._waiting:
                break
        while self._claimed and len(self._flying) < self._max_flying and not self._short_of_room:
            item = self._claimed.popleft()
            # A caller may have the path of the copy that is replaced, and not have opened it yet.
            idle = 0.0 if item.old else self._idle
            transfer = Transfer(item, self._destination, self._transport, self._events, idle=idle)
            self._flying.add(transfer)
            self._next(transfer, transfer.start(self._sources))

    def _claim(self, batch: list[Item]) -> None:
        since = [self._fresh.since(item.uri) for item in batch]
        answers = self._session.claim([item.entry for item in batch], since=since)
        try:
            self._sort(batch, answers)
        except BaseException:
            self._session.release(
                [(i.entry, t) for i, (t, a) in zip(batch, answers, strict=True) if a.granted]
            )
            raise
        if (neighbours := self._destination.neighbours) is not None and not self._fresh.is_always:
            self._waiting += neighbours.divide(self._claimed, self._session.release, self._fresh.since)

    def _sort(self, batch: list[Item], answers: list[tuple[str, Claimed]]) -> None:
        """Puts each item where its claim's answer says that it belongs."""
        outcomes, found = list[SampleOutcome](), list[Ended]()
        for item, (token, answer) in zip(batch, answers, strict=True):
            item.token = token
            if answer.granted:
                item.old = answer.value or self._recovery.adopt(item.entry, token)
                if item.old and item.is_fresh(self._fresh):
                    self._release(item)
                    found.append(item.found(item.old))
                    outcomes += item.outcomes("cached")
                else:
                    self._claimed.append(item)
            elif answer.holder:
                (self._pending if self._recovery.reap_if_gone(answer) else self._waiting).append(item)
            elif (obstacle := self._files.obstacle(item.entry)) is not None:
                self._fail(item, obstacle)
            elif self._files.touch(item.entry) is not None:
                found.append(item.found(answer.value))
                outcomes += item.outcomes("cached")
            else:
                # The index says that it is there, and the disk that it is not: the disk is right, unless
                # an evictor is between the two.
                self._index.entries.forget([(item.entry, answer.value)])
                self._pending.append(item)
        if outcomes:
            self._counters.ended(found)
            self._report(outcomes)

    # Events

    def _handle_events(self) -> None:
        """Waits until a transfer reports or something else is due, and handles the reports."""
        self._make_room()
        if len(self._flying) > _GATHER_FROM:
            # To wake up for each of many is most of the work.
            time.sleep(_GATHER_SECONDS)
        try:
            transfer, event = self._events.get(timeout=self._patience())
        except queue.Empty:
            pass
        else:
            while True:
                if transfer in self._flying:
                    self._next(transfer, transfer.handle(event))
                try:
                    transfer, event = self._events.get_nowait()
                except queue.Empty:
                    break
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, transfer = heapq.heappop(self._delayed)
            if transfer in self._flying:
                self._next(transfer, transfer.resume(self._sources))

    def _patience(self) -> float:
        """For how many seconds there is nothing to do but to wait for events."""
        now = time.monotonic()
        until = now + _CANCELLED_SECONDS
        if self._done:
            until = min(until, self._flushed + self.flush_seconds)
        if self._delayed:
            until = min(until, self._delayed[0][0])
        if self._waiting:
            until = min(until, self._look_at)
        if self._short_of_room:
            until = min(until, self._short_of_room[0][1].try_at)
        return max(0.0, until - now)

    def _next(self, transfer: Transfer, step: Step) -> None:
        """Does what a transfer needs next."""
        if self._short_of_room and step is not Step.EVENT:
            # Where it waits for room, it does so no longer: its request has failed meanwhile.
            self._short_of_room = deque(pair for pair in self._short_of_room if pair[0] is not transfer)
        if step is Step.DONE:
            self._flying.discard(transfer)
            self._ended(transfer)
        elif step is Step.PAUSE and self._is_stopping:
            self._next(transfer, transfer.give_way())
        elif step is Step.PAUSE:
            heapq.heappush(self._delayed, (transfer.try_at, id(transfer), transfer))
        elif step is Step.ROOM:
            what = transfer.item.uri.redacted
            self._short_of_room.append((transfer, RoomRequest(transfer.reservation, transfer.wanted, what)))
            self._make_room()

    def _make_room(self) -> None:
        """Makes room for the transfers that wait for it, in their order."""
        while self._short_of_room and self._short_of_room[0][1].try_at <= time.monotonic():
            transfer, request = self._short_of_room[0]
            try:
                if self._try_for_room(transfer, request):
                    step = transfer.proceed()
                elif self._is_stopping:
                    # The canceller may have the very room that is missing.
                    step = transfer.give_way()
                else:
                    return
            except IndexUnavailableError:
                raise
            except (ForebayError, SessionLostError) as error:
                step = transfer.fail(error)
            if self._short_of_room and self._short_of_room[0][0] is transfer:
                self._short_of_room.popleft()
            self._next(transfer, step)

    def _try_for_room(self, transfer: Transfer, request: RoomRequest) -> bool:
        """Makes room, if need be with what the other transfers of this fetch have; false to wait for it."""
        if request.reservation.grow(request.size) is None:
            return True
        # What is finished can be evicted once it is published, and not before; what is to be updated, only
        # without a claim on it.
        self._flush()
        self._release_claimed()
        try:
            if self._room.attempt(request):
                return True
        except CacheFullError:
            # What others here hold is free, or can be evicted, in a moment.
            if not self._flying - {transfer}:
                raise
            request.try_at = time.monotonic() + _ROOM_SECONDS
        for other in [one for one in self._flying if one is not transfer and not one.reservation.size]:
            self._next(other, other.give_way())
        return False

    def _ended(self, transfer: Transfer) -> None:
        item, error = transfer.item, transfer.error
        if error is None:
            self._sources.record(item.uri, None)
            self._done.append((item, transfer.download))
            if len(self._done) >= BATCH and not self._is_given_up:
                self._flush()
        elif self._is_given_up:
            self._given_up.append(item)
        elif isinstance(error, YieldedError) or item.is_to_be_had_another_way(error):
            item.attempts -= 1
            self._release(item)
            if not self._is_stopping:
                self._pending.append(item)
        elif isinstance(error, SessionLostError):
            self._again(item)
        elif isinstance(error, IndexUnavailableError):
            # Nothing is wrong with the sample: it stays to be done.
            self._release(item)
            raise error
        else:
            failure = as_forebay_error(item.uri, error)
            self._sources.record(item.uri, failure)
            if stays_unchecked(item, failure, self._fresh, self._files):
                self._done.append((item, None))
            else:
                self._fail(item, failure)

    def _flush(self) -> None:
        """Publishes what is downloaded, in one call."""
        self._flushed = time.monotonic()
        kept = [item for item, download in self._done if download is None]
        stored = [(item, download) for item, download in self._done if download is not None]
        outcomes, ended = list[SampleOutcome](), list[Ended]()
        if kept:
            self._index.entries.renew([(i.entry, i.token, i.old, i.checked()) for i in kept])
            self._session.release([(item.entry, item.token) for item in kept])
            self._index.entries.present([item.entry for item in kept])
            for item in kept:
                ended.append(item.found(item.old))
                outcomes += item.outcomes("cached")
        published = self._session.commit([download for _, download in stored]) if stored else []
        self._done = []
        for (item, download), ours in zip(stored, published, strict=True):
            if ours:
                ended.append(item.downloaded(download.size))
                outcomes += item.outcomes("downloaded", download.size)
            else:
                self._again(item)
        if outcomes:
            self._counters.ended(ended)
            self._report(outcomes)

    def _again(self, item: Item) -> None:
        """Claims an item anew whose claim was lost, or whose partial file was."""
        self._release(item)
        if self._is_stopping:
            return
        item.lost += 1
        if item.lost > _MAX_LOST_CLAIMS:
            reason = f"its claim expired {item.lost} times: this process was probably paused (swap, suspend)"
            self._counters.ended([Ended(item.uri, "failed", reason="claim_lost", retries=item.retries)])
            self._report(item.outcomes("failed", error=SourceError(item.uri.redacted, reason)))
        else:
            self._pending.append(item)

    def _fail(self, item: Item, error: ForebayError) -> None:
        if isinstance(error, SourceError):
            error.attempts = item.attempts
        self._release(item)
        with logs.about(item.uri, logs.sample):
            self._counters.ended([Ended(item.uri, "failed", reason=error.kind, retries=item.retries)])
            self._report(item.outcomes("failed", error=error))

    def _release(self, item: Item) -> None:
        self._session.release([(item.entry, item.token)])

    def _release_claimed(self) -> None:
        """Gives back the claims on what has not been begun; it is claimed again when its turn comes."""
        if self._claimed:
            self._session.release([(item.entry, item.token) for item in self._claimed])
            self._pending.extendleft(reversed(self._claimed))
            self._claimed.clear()

    def _give_back(self) -> None:
        """Gives back everything that has not been begun, or pauses; downloads under way are finished."""
        self._release_claimed()
        self._supply.end()
        self._pending.clear()
        self._waiting.clear()
        paused = {transfer for _, _, transfer in self._delayed}
        self._delayed.clear()
        for transfer in [one for one in self._flying if one in paused or not one.is_begun]:
            self._next(transfer, transfer.give_way())

    def _give_up(self) -> None:
        """Ends everything after an error or an interrupt; publishes what is complete.

        Redis is asked only at the end, as it may be what failed: each call would wait for it.
        """
        self._is_stopping = self._is_given_up = True
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        for transfer in list(self._flying):
            self._next(transfer, transfer.give_way())
        # A file that is still written to, on a disk that hangs, say, is left to recovery.
        while self._flying and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                ending, event = self._events.get(timeout=0.05)
                if ending in self._flying:
                    self._next(ending, ending.handle(event))
        left = [*self._given_up, *self._claimed, *(one.item for one in self._flying)]
        claims = [(item.entry, item.token) for item in left]
        try:
            self._flush()
            self._session.release(claims)
        except (ForebayError, SessionLostError):
            for item, download in self._done:
                claims.append((item.entry, item.token))
                if download is not None:
                    self._session.leave(download)
            self._session.abandon(claims)
