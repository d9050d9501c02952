"""One object's way from its source to its place on the volume.

A transfer lives on two sides. The fetcher's thread starts it, makes room, follows redirects and decides about
further attempts. The transport's threads write the bytes, and hand each event to the fetcher's queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from forebay.backoff import Backoff
from forebay.errors import ForebayError, NotModifiedError, ObjectChangedError, TransientSourceError
from forebay.fetch.copies import copy_of
from forebay.fetch.destination import Destination
from forebay.fetch.kept_copy import KeptCopy
from forebay.fetch.object_ranges import Ranges
from forebay.fetch.object_sink import InRanges, ObjectSink
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.refusals import disk_error, too_large
from forebay.fetch.steps import Completed, Step, YieldedError
from forebay.fetch.work import Item
from forebay.index import Download, SessionLostError
from forebay.retry import retry_pauses
from forebay.sources.base import Asking, ObjectInfo, SourceLookup
from forebay.transport import Exchange, Kind, Outcome, Request, Sink, Transport, TransportError
from forebay.volume.disk import FULL


class Transfer:
    """The transfer of one object.

    Args:
        item: the object; its token is that of our claim on it.
        destination: where to.
        transport: moves the bytes.
        events: where threads report: an `Exchange` that has ended, how many bytes are needed in all, or
            `Completed`.
        idle: for how many seconds the entry counts as not used when it appears.

    Attributes:
        item: the object.
        download, error: once it is done; both ``None`` where the cached copy is still current.
        try_at: when the next attempt is due, on the monotonic clock.
        wanted: to how many bytes the reservation is to grow.
        reservation: of its bytes.
    """

    download: Download | None = None
    error: BaseException | None = None
    try_at = 0.0
    wanted = 0
    _began = 0.0
    _source: Asking | None = None
    _request: Request | None = None
    _exchange: Exchange | None = None
    _sink: ObjectSink | None = None
    _ranges: Ranges | None = None
    _pauses: Backoff | None = None
    _in_ranges = True
    _is_cancelled = False
    _is_completing = False  # Whether a thread of the volume's is completing the file.
    # Why it failed while ranges of it were in flight, which must end first: they write into its file.
    _failure: BaseException | None = None

    def __init__(
        self,
        item: Item,
        destination: Destination,
        transport: Transport,
        events: SimpleQueue[tuple[Transfer | None, object]],
        *,
        idle: float,
    ) -> None:
        self.item = item
        self.reservation = destination.session.reservation(item.token)
        # What it has at least. Of a block that is known: its answer need not wait for the reservation.
        self._min_size = 0 if item.block is None else item.block.end - item.block.start
        self._to = destination
        self._config = destination.config
        self._transport = transport
        self._events = events
        self._file = PartialFile(item, destination, idle=idle, verify=self._config.verify_checksums)
        self._kept = copy_of(item, destination, self._file, self.reservation)
        self._min_size = self._kept.size if self._kept is not None else self._min_size

    # The fetcher's side

    def start(self, sources: SourceLookup) -> Step:
        """Begins an attempt."""
        self._began = self._began or time.perf_counter()
        self.item.attempts += 1
        self.wanted = 0
        try:
            self._source = self.item.source(sources, self._to.neighbours)
            if self._min_size:
                self.wanted = self._min_size
                return Step.ROOM
            return self._ask()
        except (ForebayError, OSError) as error:
            return self._failed(error)

    def proceed(self) -> Step:
        """Goes on after room was made."""
        self.wanted = 0
        try:
            if self._ranges is not None:
                self._ranges.begin(self._file)
            elif self._exchange is not None:
                self._transport.resume(self._exchange)
            else:
                return self._ask()
        except (ForebayError, OSError, SessionLostError) as error:
            return self._failed(error)
        return Step.EVENT

    def fail(self, error: BaseException) -> Step:
        """Gives it up for good, as no room can be made for it, or its claim is void."""
        self.cancel()
        return self._end(error)

    def handle(self, event: object) -> Step:  # noqa: PLR0911
        """Goes on after an event of the transport."""
        if self._is_cancelled:
            return self._handle_cancelled(event)
        if isinstance(event, int):
            return self._need(event)
        if isinstance(event, Completed):
            return self._handle_completed(event.error)
        assert isinstance(event, Exchange)
        if self._ranges is not None:
            return self._handle_range(event)
        if event is not self._exchange:
            return Step.EVENT
        outcome, sink = event.outcome, self._sink
        assert outcome is not None
        self._exchange = None
        if self._kept is not None and self._kept.is_asking:
            return self._compare(self._kept, outcome)
        assert sink is not None
        self.item.first_byte = outcome.first_byte_seconds
        if outcome.error is None:
            self.download = sink.download
            return self._end(None) if self.download is not None else self._complete(sink.publish)
        try:
            if isinstance(outcome.error, InRanges):
                assert sink.info is not None
                return self._split(sink.info)
            return self._go_on(outcome)
        except (ForebayError, OSError) as error:
            return self._failed(error)

    def _handle_cancelled(self, event: object) -> Step:
        assert isinstance(event, int | Exchange | Completed)
        if isinstance(event, int):
            return Step.EVENT
        if isinstance(event, Completed):
            self._is_completing = False
        elif self._ranges is not None:
            return self._end(YieldedError()) if self._ranges.handle(event) else Step.EVENT
        elif event is not self._exchange:
            return Step.EVENT
        return self._end_published()

    def _end_published(self) -> Step:
        # What was complete before it was cancelled, is.
        for one in (self._sink, self._kept):
            self.download = self.download or (None if one is None else one.download)
        return self._end(None if self.download is not None else YieldedError())

    # Completing the file

    def _complete(self, work: Callable[[], object], *, publishes: bool = True) -> Step:
        """Has a thread of the volume's publish the file, or look at the old one."""
        self._is_completing = True
        submit = self._to.file_work.submit if publishes else self._to.file_work.look
        submit(work, lambda error: self._tell(Completed(error)))
        return Step.EVENT

    def _handle_completed(self, error: BaseException | None) -> Step:
        self._is_completing = False
        is_copied = self._kept is not None and (self._kept.is_direct or self._kept.download is not None)
        if self._sink is None and not is_copied and (error is None or isinstance(error, OSError)):
            # The copy, which was compared, is another one, or cannot be read.
            return self.proceed()
        if error is None:
            return self._end_published()
        return self._failed(error) if self._ranges is None else self._ranges_failed(error)

    def cancel(self) -> bool:
        """Gives up what is under way; returns whether nothing is, else its last event comes later."""
        self._is_cancelled = True
        if self._exchange is not None:
            self._transport.cancel(self._exchange)
        is_idle = self._exchange is None and not self._is_completing
        return (self._ranges is None or self._ranges.cancel()) and is_idle

    def give_way(self) -> Step:
        """Gives it up for now: its item can be begun anew later."""
        return self._end(YieldedError()) if self.cancel() else Step.EVENT

    @property
    def is_begun(self) -> bool:
        """Whether anything of it was sent."""
        return self._exchange is None or self._exchange.began > 0.0

    # Asking

    def _ask(self) -> Step:
        source, kept = self._source, self._kept
        assert source is not None
        if kept is not None and kept.is_direct:
            return self._complete(partial(kept.compare, lambda: not self._is_cancelled), publishes=False)
        if kept is None or not kept.is_there():
            return self._send(source.request(self.item.uri))
        request = kept.question(source)
        return self._submit(request, kept.sink) if kept.is_asking else self._send(request)

    def _compare(self, kept: KeptCopy, outcome: Outcome) -> Step:
        """Goes on after the head of an object that is cached: the copy, or the object, is looked at."""
        assert self._source is not None and self._request is not None  # noqa: PT018
        try:
            following = kept.follow(self._source, self._request, outcome)
            if following is not None or not kept.judge(outcome):
                return self._submit(following, kept.sink) if following else self._ask()
        except (ForebayError, OSError) as error:
            return self._failed(error)
        self._sink = None
        return self._complete(partial(kept.compare, lambda: not self._is_cancelled), publishes=False)

    def _send(self, request: Request) -> Step:
        assert self._source is not None
        uri, describe, work = self.item.uri, self._source.describe, self._to.file_work
        self._sink = ObjectSink(
            uri, describe, self._check, self._file, work, self.reservation, self._tell, self._config.limit
        )
        return self._submit(request, self._sink)

    def _submit(self, request: Request, sink: Sink) -> Step:
        assert self._source is not None
        self._request = request
        try:
            self._exchange = self._transport.submit(request, sink, self._tell)
        except TransportError as error:
            raise self._source.failure(self.item.uri, Outcome(error=error)) from None
        return Step.EVENT

    # The transport's side

    def _tell(self, event: object) -> None:
        self._events.put((self, event))

    def _check(self, info: ObjectInfo) -> None:
        """Refuses what is not to be downloaded as a whole."""
        if self._kept is not None and self._kept.is_current(info):
            raise NotModifiedError(self.item.uri.redacted, "it is the copy that is cached")
        size, limit = info.size, self._config.limit
        if size is not None and limit is not None and size > limit:
            raise too_large(self.item.uri, size, limit)
        # Without a strong etag, ranges of two versions of an object might be put together.
        in_ranges = self._in_ranges and info.ranges and info.etag and not info.etag.startswith("W/")
        if in_ranges and size is not None and size >= 2 * self._config.range_size_bytes:
            raise InRanges

    def _go_on(self, outcome: Outcome) -> Step:
        """Follows an answer that is not final, or fails."""
        error = outcome.error
        source, request = self._source, self._request
        assert source is not None and request is not None  # noqa: PT018
        self._file.discard()
        if isinstance(error, TransportError):
            following = source.follow(self.item.uri, request, outcome)
            if following is not None:
                return self._send(following)
            error = source.failure(self.item.uri, outcome)
        assert error is not None
        return self._failed(error)

    def _failed(self, error: BaseException) -> Step:
        """Ends an attempt, and says whether there is another one."""
        if self._ranges is not None and not self._ranges.cancel():
            self._failure = error
            return Step.EVENT
        self._ranges = self._failure = None
        self._file.discard()
        self.reservation.close()
        if not self._to.session.owns(self.item.token):
            # The claim is void, or the cache was closed, which ends requests, too: nothing is wrong with the
            # object.
            return self._end(SessionLostError())
        if isinstance(error, NotModifiedError):
            return self._end(None)
        may_pass = isinstance(error, TransientSourceError) and not (error.exhausted or self.item.is_nearby)
        if isinstance(error, OSError) and not isinstance(error, ForebayError):
            error = disk_error(self.item.uri, error, self._config.limit)
            if may_pass := error.errno in FULL:
                # What was reserved in advance says nothing of it: the next attempt looks, and evicts.
                self._to.session.release_unused()
        if may_pass and isinstance(error, ForebayError) and self.item.attempts < self._config.max_attempts:
            self.item.retries += (error.kind,)
            self._pauses = self._pauses or retry_pauses()
            self.try_at = time.monotonic() + self._pauses.next()
            return Step.PAUSE
        return self._end(error)

    def _end(self, error: BaseException | None) -> Step:
        self._file.discard()
        self.reservation.close()
        self.error = error
        self.item.seconds = time.perf_counter() - self._began
        return Step.DONE

    # Large objects

    def _split(self, info: ObjectInfo) -> Step:
        """Begins to fetch an object in ranges."""
        assert self._source is not None
        if (step := self._make_way(info.size or 0)) is not None:
            return step
        self._ranges = Ranges(self.item, info, self._source, self._transport, self._config, self._tell)
        self.wanted = info.size or 0
        return Step.ROOM

    def _handle_range(self, exchange: Exchange) -> Step:
        ranges = self._ranges
        assert ranges is not None
        if self._failure is not None:
            return self._failed(self._failure) if ranges.handle(exchange) else Step.EVENT
        try:
            if not ranges.handle(exchange):
                if ranges.try_at:
                    self.try_at, ranges.try_at = ranges.try_at, 0.0
                    return Step.PAUSE
                return Step.EVENT
        except (ForebayError, OSError, SessionLostError) as error:
            return self._ranges_failed(error)
        return self._complete(self._publish_ranges)

    def _publish_ranges(self) -> None:
        assert self._ranges is not None
        info = self._ranges.info
        assert info.size is not None
        self.download = self._file.publish(info, info.size, self.reservation)

    def _ranges_failed(self, error: BaseException) -> Step:
        if isinstance(error, TransportError) and error.kind is Kind.RANGE:
            # The server sends no ranges after all: another attempt takes the whole.
            self._in_ranges = False
            reason = "the server sent the whole object instead of a range"
            error = TransientSourceError(self.item.uri.redacted, reason, "connection")
        if isinstance(error, TransientSourceError):
            # A changed object is worth beginning anew; a range that was tried often enough is not.
            error.exhausted = error.exhausted and not isinstance(error, ObjectChangedError)
        return self._failed(error)

    def resume(self, sources: SourceLookup) -> Step:
        """Goes on after a pause: with the ranges that are due, or with another attempt."""
        if self._ranges is None:
            return self.start(sources)
        try:
            self._ranges.send_due()
        except (ForebayError, OSError) as error:
            return self._failed(error)
        return Step.EVENT

    def _need(self, size: int) -> Step:
        exchange, limit = self._exchange, self._config.limit
        if exchange is None:
            return Step.EVENT
        try:
            if not self.reservation.size:
                if (step := self._make_way(size)) is not None:
                    self._exchange = None
                    self._transport.cancel(exchange)
                self.wanted = size
                return step or Step.ROOM
            if limit is not None and size > limit:
                raise too_large(self.item.uri, size, limit)
            if self.reservation.grow(size) is None:
                self._transport.resume(exchange)
                return Step.EVENT
            # Not waited for: this transfer holds bytes, and two that wait for each other would never end.
            self._min_size = size if limit is None else min(2 * size, limit)
            reason = "it turned out to need more room than there is"
            raise TransientSourceError(self.item.uri.redacted, reason, "cache_full")
        except (ForebayError, OSError, SessionLostError) as error:
            # It is paused, so nothing is being written.
            self._exchange = None
            self._transport.cancel(exchange)
            return self._failed(error)

    def _make_way(self, size: int) -> Step | None:
        """Has the old copy removed where it and its successor do not fit into the cache together."""
        way = None if self._kept is None else self._kept.make_way(self._to, size)
        if not isinstance(way, float):
            return None if way is None else self._end(way)
        self.item.attempts, self.try_at = self.item.attempts - 1, time.monotonic() + way
        return Step.PAUSE
