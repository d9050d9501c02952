"""One object's way from its source to its place on the volume.

A transfer lives on two sides. The fetcher's thread starts it, makes room, follows redirects and decides about
further attempts. The transport's threads write the bytes, and hand each event to the fetcher's queue.
"""

from __future__ import annotations

import contextlib
import os
import time
from enum import Enum
from typing import Protocol

from forebay.errors import (
    ForebayError,
    NotModifiedError,
    ObjectChangedError,
    TransientSourceError,
)
from forebay.fetch.destination import Destination
from forebay.fetch.object_ranges import Ranges
from forebay.fetch.object_sink import InRanges, ObjectSink
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.refusals import disk_error, too_large, unchanged
from forebay.fetch.work import Item
from forebay.index import Download, Entry, SessionLostError
from forebay.retry import retry_pauses
from forebay.sources.base import ObjectInfo, Source, SourceLookup
from forebay.transport import Exchange, Head, Kind, Outcome, Request, Transport, TransportError


class YieldedError(Exception):
    """A transfer was given up, so that others get its claim and its place."""


class Step(Enum):
    """The next need of a transfer."""

    # An event of the transport.
    EVENT = "event"
    # Another attempt, at `Transfer.try_at`.
    PAUSE = "pause"
    # `Transfer.wanted` bytes in all.
    ROOM = "room"
    # Nothing: see `Transfer.download` and `Transfer.error`.
    DONE = "done"


class Events(Protocol):
    """The queue of the thread that fetches. May be put into from any thread."""

    def put(self, event: tuple[Transfer, object]) -> object:
        """Adds an event of a transfer: an `Exchange` that has ended, or a number of bytes that it needs."""


class Transfer:
    """The transfer of one object.

    Args:
        item: the object; its token is that of our claim on it.
        destination: where to.
        transport: moves the bytes.
        events: where the transport's threads report.
        idle: for how many seconds the entry counts as not used when it appears.

    Attributes:
        item: the object.
        download: once it is done; ``None`` where the cached copy is still current.
        error: why it failed.
        try_at: when the next attempt is due, on the monotonic clock.
        wanted: to how many bytes the reservation is to grow.
        reservation: of its bytes.
    """

    def __init__(
        self, item: Item, destination: Destination, transport: Transport, events: Events, *, idle: float
    ) -> None:
        self.item = item
        self.download: Download | None = None
        self.error: BaseException | None = None
        self.try_at = 0.0
        self.wanted = 0
        self.reservation = destination.session.reservation(item.token)
        self._to = destination
        self._config = destination.config
        self._transport = transport
        self._events = events
        self._old = Entry.parse(item.old) if item.old else None
        self._kept_modified = 0.0
        self._file = PartialFile(
            item,
            destination.files,
            destination.session,
            destination.unread,
            idle=idle,
            verify=destination.config.verify_checksums,
        )
        self._began = 0.0
        self._source: Source | None = None
        self._request: Request | None = None
        self._exchange: Exchange | None = None
        self._sink: ObjectSink | None = None
        self._ranges: Ranges | None = None
        # Of an object whose size its source does not tell: what it has turned out to have at least.
        self._min_size = 0
        self._in_ranges = True
        self._pauses = retry_pauses()
        self._is_cancelled = False
        # Why it failed while ranges of it were in flight, which must end first: they write into its file.
        self._failure: BaseException | None = None

    # The fetcher's side

    def start(self, sources: SourceLookup) -> Step:
        """Begins an attempt."""
        self._began = self._began or time.perf_counter()
        self.item.attempts += 1
        self.wanted = 0
        try:
            self._source = sources.for_uri(self.item.uri)
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
        assert isinstance(event, Exchange)
        if self._ranges is not None:
            return self._handle_range(event)
        if event is not self._exchange:
            return Step.EVENT
        outcome, sink = event.outcome, self._sink
        assert outcome is not None
        assert sink is not None
        self._exchange = None
        self.item.first_byte = outcome.first_byte_seconds
        if outcome.error is None and sink.download is not None:
            self.download = sink.download
            return self._end(None)
        if isinstance(outcome.error, InRanges):
            assert sink.info is not None
            return self._split(sink.info)
        try:
            return self._go_on(outcome)
        except (ForebayError, OSError) as error:
            return self._failed(error)

    def _handle_cancelled(self, event: object) -> Step:
        assert isinstance(event, int | Exchange)
        if isinstance(event, int):
            return Step.EVENT
        if self._ranges is not None:
            return self._end(YieldedError()) if self._ranges.handle(event) else Step.EVENT
        if event is not self._exchange:
            return Step.EVENT
        # What was complete before it was cancelled, is.
        self.download = self._sink.download if self._sink is not None else None
        return self._end(None if self.download is not None else YieldedError())

    def cancel(self) -> bool:
        """Gives up what is under way; returns whether nothing is, else its last event comes later."""
        self._is_cancelled = True
        if self._exchange is not None:
            self._transport.cancel(self._exchange)
        return (self._ranges is None or self._ranges.cancel()) and self._exchange is None

    def give_way(self) -> Step:
        """Gives it up for now: its item can be begun anew later."""
        return self._end(YieldedError()) if self.cancel() else Step.EVENT

    @property
    def is_begun(self) -> bool:
        """Whether anything of it was sent."""
        return self._exchange is None or self._exchange.began > 0.0

    # Asking

    def _ask(self) -> Step:
        source, entry = self._source, self._old
        assert source is not None
        kept = self._find_kept()
        if kept is None:
            request = source.request(self.item.uri)
        elif entry is not None and entry.etag:
            request = source.request(self.item.uri, if_none_match=entry.etag)
        else:
            request = source.request(self.item.uri, if_modified_since=self._kept_modified)
        return self._send(request)

    def _send(self, request: Request) -> Step:
        self._request = request
        self._sink = ObjectSink(
            self._describe,
            self._check,
            self._file,
            self.reservation,
            self._needs_room,
            self._config.limit,
        )
        try:
            self._exchange = self._transport.submit(request, self._sink, self._ended)
        except TransportError as error:
            assert self._source is not None
            raise self._source.failure(self.item.uri, Outcome(error=error)) from None
        return Step.EVENT

    def _find_kept(self) -> Entry | None:
        """The copy that is there."""
        path = None if self._old is None else self._to.files.locate(self.item.entry)
        if path is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            self._kept_modified = os.stat(path).st_mtime
            return self._old
        return None

    # The transport's side

    def _ended(self, exchange: Exchange) -> None:
        self._events.put((self, exchange))

    def _needs_room(self, size: int) -> None:
        self._events.put((self, size))

    def _describe(self, head: Head) -> ObjectInfo:
        assert self._source is not None
        return self._source.describe(self.item.uri, head)

    def _check(self, info: ObjectInfo) -> None:
        """Refuses what is not to be downloaded as a whole."""
        if self._old is not None and self._kept_modified and unchanged(info, self._old, self._kept_modified):
            raise NotModifiedError(self.item.uri.redacted, "it is the copy that is cached")
        size, limit = info.size, self._config.limit
        if size is not None and limit is not None and size > limit:
            raise too_large(self.item.uri, size, limit)
        # Without a strong etag, ranges of two versions of an object might be put together.
        in_ranges = self._in_ranges and info.ranges and info.etag and not info.etag.startswith("W/")
        if in_ranges and size is not None and size >= 2 * self._config.range_size_bytes:
            raise InRanges

    # After an answer

    def _go_on(self, outcome: Outcome) -> Step:
        """Follows an answer that is not final, or fails."""
        error = outcome.error
        source, request = self._source, self._request
        assert source is not None
        assert request is not None
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
        if isinstance(error, OSError) and not isinstance(error, ForebayError):
            error = disk_error(self.item.uri, error, self._config.limit)
        if (
            isinstance(error, TransientSourceError)
            and not error.exhausted
            and self.item.attempts < self._config.max_attempts
        ):
            self.item.retries.append(error.kind)
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
        self._ranges = Ranges(self.item, info, self._source, self._transport, self._config, self._ended)
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
            assert ranges.info.size is not None
            self.download = self._file.publish(ranges.info, ranges.info.size, self.reservation)
        except (ForebayError, OSError, SessionLostError) as error:
            if isinstance(error, TransportError) and error.kind is Kind.RANGE:
                # The server sends no ranges after all: another attempt takes the whole.
                self._in_ranges = False
                reason = "the server sent the whole object instead of a range"
                error = TransientSourceError(self.item.uri.redacted, reason, "connection")
            if isinstance(error, TransientSourceError):
                # A changed object is worth beginning anew; a range that was tried often enough is not.
                error.exhausted = error.exhausted and not isinstance(error, ObjectChangedError)
            return self._failed(error)
        return self._end(None)

    def resume(self, sources: SourceLookup) -> Step:
        """Goes on after a pause: with the ranges that are due, or with another attempt."""
        if self._ranges is None:
            return self.start(sources)
        try:
            self._ranges.send_due()
        except (ForebayError, OSError) as error:
            return self._failed(error)
        return Step.EVENT

    # Room

    def _need(self, size: int) -> Step:
        if self._exchange is None:
            return Step.EVENT
        try:
            if not self.reservation.size:
                self._give_up_old(size)
                self.wanted = size
                return Step.ROOM
            limit = self._config.limit
            if limit is not None and size > limit:
                raise too_large(self.item.uri, size, limit)
            if self.reservation.grow(size) is None:
                self._transport.resume(self._exchange)
                return Step.EVENT
            # Not waited for: this transfer holds bytes, and two that wait for each other would never end.
            self._min_size = size if limit is None else min(2 * size, limit)
            reason = "it turned out to need more room than there is"
            raise TransientSourceError(self.item.uri.redacted, reason, "cache_full")
        except (ForebayError, OSError, SessionLostError) as error:
            # It is paused, so nothing is being written.
            exchange, self._exchange = self._exchange, None
            self._transport.cancel(exchange)
            return self._failed(error)

    def _give_up_old(self, size: int) -> None:
        """Removes the old copy where it and its successor do not fit into the cache together."""
        limit, old = self._config.limit, self._old
        if old is not None and limit is not None and size + old.size > limit:
            self._to.files.remove(self.item.entry)
            self._to.index.entries.forget([(self.item.entry, old.format())], self.item.token)
