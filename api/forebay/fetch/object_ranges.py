"""A large object in ranges: several in flight, each written where it belongs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from forebay.backoff import Backoff
from forebay.config import MediaCacheConfig
from forebay.errors import ObjectChangedError, TransientSourceError
from forebay.fetch.arrivals import Arrival
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.work import Item
from forebay.retry import retry_pauses
from forebay.sources.base import Asking, ObjectInfo
from forebay.transport import Exchange, FileSink, Head, Kind, Request, Transport, TransportError
from forebay.volume.disk import allocate

Span = tuple[int, int]


class Ranges:
    """The ranges of one object. Used by the fetcher's thread only.

    Args:
        item: the object.
        info: what its source said; size and etag are known.
        source: of the object.
        transport: moves the bytes.
        config: the settings.
        done: called with each exchange that has ended, on a thread of the transport.

    Attributes:
        info: as given.
        try_at: when the range that failed last for the moment is due again, on the monotonic clock; 0 for
            none.
    """

    def __init__(
        self,
        item: Item,
        info: ObjectInfo,
        source: Asking,
        transport: Transport,
        config: MediaCacheConfig,
        done: Callable[[Exchange], None],
    ) -> None:
        assert info.size is not None
        self.info = info
        self.try_at = 0.0
        self._item = item
        self._source = source
        self._transport = transport
        self._config = config
        self._done = done
        part, size = config.range_size_bytes, info.size
        self._left = deque((start, min(start + part, size)) for start in range(0, size, part))
        self._delayed: list[tuple[float, Span]] = []
        self._attempts: dict[Span, int] = {}
        self._pauses: dict[Span, Backoff] = {}
        self._flying: dict[Exchange, tuple[Span, Request]] = {}
        self._file: PartialFile | None = None
        self._arrival: Arrival | None = None
        self._is_cancelled = False

    def begin(self, place: PartialFile) -> None:
        """Creates the file and sends the first ranges.

        Raises:
            OSError: the file cannot be created.
            SourceError: the source cannot be asked.
        """
        assert self.info.size is not None
        place.open(self.info, in_order=False)
        allocate(place.descriptor, self.info.size)
        self._file = place
        self._arrival = place.share(self.info)
        self._send()

    def handle(self, exchange: Exchange) -> bool:
        """Goes on after a range has ended; returns whether all have, or those that were in flight when it was
        cancelled.

        Raises:
            SourceError, TransportError: a range failed for good.
        """
        found = self._flying.pop(exchange, None)
        if found is None:
            return False
        if self._is_cancelled:
            return not self._flying
        span, request = found
        outcome = exchange.outcome
        assert outcome is not None
        if outcome.error is not None:
            self._failed(span, request, exchange)
        self._send()
        return not (self._left or self._delayed or self._flying)

    def send_due(self) -> None:
        """Sends the ranges whose pause is over."""
        now = time.monotonic()
        due = [span for at, span in self._delayed if at <= now]
        self._delayed = [(at, span) for at, span in self._delayed if at > now]
        self._left.extendleft(due)
        self._send()

    def cancel(self) -> bool:
        """Gives up what is in flight; returns whether nothing is, so that nothing is written any more.

        Otherwise `handle` says so, when the last exchange has ended.
        """
        self._is_cancelled = True
        self._left.clear()
        self._delayed.clear()
        for exchange in list(self._flying):
            self._transport.cancel(exchange)
        return not self._flying

    def _send(self) -> None:
        while self._left and len(self._flying) < self._config.range_workers:
            span = self._left.popleft()
            request = self._source.request(self._item.uri, span=span, etag=self.info.etag)
            self._submit(span, request)

    def _submit(self, span: Span, request: Request) -> None:
        assert self._file is not None
        start, end = span
        sink = _RangeSink(self._file.descriptor, start, end, self.info)
        if self._arrival is not None:
            self._arrival.comes(start, sink)
        self._flying[self._transport.submit(request, sink, self._done)] = (span, request)

    def _failed(self, span: Span, request: Request, exchange: Exchange) -> None:
        """Follows an answer that is not final, sends the range again, or raises."""
        outcome, uri = exchange.outcome, self._item.uri
        assert outcome is not None
        error = outcome.error
        if not isinstance(error, TransportError) or error.kind is Kind.RANGE:
            assert error is not None
            raise error
        following = self._source.follow(uri, request, outcome)
        if following is not None:
            self._submit(span, following)
            return
        failure = self._source.failure(uri, outcome)
        tries = self._attempts[span] = self._attempts.get(span, 0) + 1
        if not isinstance(failure, TransientSourceError) or failure.exhausted:
            raise failure
        if tries >= self._config.max_attempts:
            failure.exhausted = True
            raise failure
        self._item.retries += (failure.kind,)
        pauses = self._pauses.setdefault(span, retry_pauses())
        self.try_at = time.monotonic() + pauses.next()
        self._delayed.append((self.try_at, span))


class _RangeSink(FileSink):
    """Takes a range, if it is one of the object that is being fetched.

    Args:
        descriptor: of the file.
        start, end: the range.
        info: of the object.
    """

    __slots__ = ("_info",)

    def __init__(self, descriptor: int, start: int, end: int, info: ObjectInfo) -> None:
        super().__init__(descriptor, offset=start, size=end - start, ranged=True)
        self._info = info

    def begin(self, head: Head) -> None:
        """Refuses a range of another version, which a server sends that does not know `If-Match`."""
        super().begin(head)
        etag, span = head.headers.get("etag"), head.span
        if etag not in (None, self._info.etag) or (span and span[2] not in (None, self._info.size)):
            raise ObjectChangedError(self._info.uri, "it was changed while it was being fetched in ranges")
