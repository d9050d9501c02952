"""Sinks for callers that wait: a part in memory, and a stream that is read while it arrives."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType

from typing_extensions import Self

from forebay.errors import SourceError
from forebay.sources import failures
from forebay.sources.base import Buffer, ObjectInfo
from forebay.sources.checksums import Digest
from forebay.transport import FULL, Exchange, Head, Kind, Outcome, Transport, TransportError
from forebay.transport.sinks import check_range
from forebay.uri import MediaURI

_STREAM_BYTES = 4 << 20

Describe = Callable[[MediaURI, Head], ObjectInfo]


class EnoughError(Exception):
    """Ends an answer of which no more is wanted."""


class Body:
    """The common part of this module's sinks.

    Attributes:
        info: the object's metadata, once the head has come.
        ready: is set when there is something to look at: what the sink waits for, or the end.
    """

    holds = 0

    def __init__(self, uri: MediaURI, describe: Describe) -> None:
        self.uri = uri
        self.info = ObjectInfo(uri.raw)
        self.ready = threading.Event()
        self._describe = describe

    def begin(self, head: Head) -> None:
        self.info = self._describe(self.uri, head)

    def write(self, chunk: bytes) -> object:
        """Takes nothing: for answers without a body."""

    def end(self) -> None:
        """Does nothing more."""

    def abandon(self) -> None:
        """Does nothing more."""

    def done(self, exchange: Exchange) -> None:
        """Is what the exchange calls at its end."""
        self.ready.set()


class PartBody(Body):
    """Keeps the bytes from ``start`` up to, not including, ``end``, also out of a whole object.

    Attributes:
        data: those bytes; fewer at the object's end.
        is_part: whether the server sent a part only.
    """

    def __init__(self, uri: MediaURI, describe: Describe, start: int, end: int) -> None:
        super().__init__(uri, describe)
        self.holds = end - start
        self.data = bytearray()
        self.is_part = False
        self._start, self._end, self._position, self._expected = start, end, 0, 0

    def begin(self, head: Head) -> None:
        super().begin(head)
        if head.status == 206:
            check_range(head, self._start, self._end)
            self.is_part = True
            self._position = self._start
            self._expected = head.span[1] - self._start if head.span else 0

    def write(self, chunk: bytes) -> object:
        first, last = max(0, self._start - self._position), self._end - self._position
        self.data += chunk[first:last] if first or last < len(chunk) else chunk
        self._position += len(chunk)
        if self._position >= self._end and not self.is_part:
            raise EnoughError
        if self._position > self._end:
            raise TransportError(Kind.RANGE, "", "the server sent more than the range asked for")
        return None

    def end(self) -> None:
        if self.is_part and len(self.data) != self._expected:
            reason = f"the answer ended after {len(self.data):,} of {self._expected:,} bytes"
            raise TransportError(Kind.TRUNCATED, "", reason)


class StreamBody(Body):
    """Keeps some megabytes, and lets the server wait while they are not read."""

    holds = _STREAM_BYTES

    def __init__(self, uri: MediaURI, describe: Describe) -> None:
        super().__init__(uri, describe)
        self.outcome: Outcome | None = None
        self.is_full = False
        self.chunks: deque[bytes] = deque()
        self.changed = threading.Condition()
        self._size = 0

    def begin(self, head: Head) -> None:
        super().begin(head)
        self.ready.set()

    def write(self, chunk: bytes) -> object:
        with self.changed:
            if self.chunks and self._size + len(chunk) > self.holds:
                self.is_full = True
                return FULL
            self.chunks.append(chunk)
            self._size += len(chunk)
            self.changed.notify()
        return None

    def done(self, exchange: Exchange) -> None:
        with self.changed:
            self.outcome = exchange.outcome
            self.changed.notify()
        self.ready.set()

    def take(self) -> tuple[list[bytes], bool]:
        """Waits for bytes, or the end; gives them, and whether the server waits to send more."""
        with self.changed:
            while not self.chunks and self.outcome is None:
                self.changed.wait()
            taken, was_full = list(self.chunks), self.is_full
            self.chunks.clear()
            self._size, self.is_full = 0, False
        return taken, was_full


class Stream:
    """The answer to a request for an object, as an `ObjectStream`.

    Args:
        failure: the error for a failed outcome.
    """

    def __init__(
        self,
        transport: Transport,
        exchange: Exchange,
        body: StreamBody,
        failure: Callable[[MediaURI, Outcome], SourceError],
    ) -> None:
        self.info = body.info
        self._transport = transport
        self._exchange = exchange
        self._body = body
        self._failure = failure
        self._process = os.getpid()
        self._is_closed = False

    def __iter__(self) -> Iterator[Buffer]:
        digest = Digest(self.info.checksum) if self.info.checksum is not None else None
        while True:
            if self._is_closed:
                raise ValueError("this object was closed")
            if self._process != os.getpid():
                raise SourceError(self._body.uri.redacted, "was opened before this process was forked")
            chunks, was_full = self._body.take()
            if was_full:
                self._transport.resume(self._exchange)
            if chunks:
                piece = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                if digest is not None:
                    digest.update(piece)
                yield piece
            elif (outcome := self._body.outcome) is not None:
                if outcome.error is not None:
                    raise self._failure(self._body.uri, outcome) from None
                if digest is not None and not digest.matches:
                    raise failures.damaged(self._body.uri)
                return

    def close(self) -> None:
        self._is_closed = True
        self._transport.cancel(self._exchange)

    def __del__(self) -> None:
        # A stream that is forgotten half read would otherwise keep its server waiting. The garbage collector
        # may call this in any thread, whatever lock that holds; `Transport.cancel` is made for it.
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
