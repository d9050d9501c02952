"""Asks and waits: the blocking methods of every source, on top of how it asks and what answers mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from forebay.errors import SourceError
from forebay.sources import answers, failures
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream, Page, PageQuery
from forebay.sources.bodies import Body, EnoughError, PartBody, Stream, StreamBody
from forebay.sources.listings.page_requests import list_in_order
from forebay.transport import Exchange, Head, Outcome, Request, Transport, TransportError
from forebay.uri import MediaURI

WHOLE = frozenset({200})
WHOLE_OR_PART = frozenset({200, 206})

B = TypeVar("B", bound=Body)


class Reader(ABC):
    """The part of `forebay.sources.base.Source` that is the same for all of them."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    @abstractmethod
    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request: ...

    @abstractmethod
    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo: ...

    def request_head(self, uri: MediaURI) -> Request | None:
        return replace(self.request(uri), method="HEAD")

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return self.describe(uri, head)

    @abstractmethod
    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None: ...

    @abstractmethod
    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError: ...

    @abstractmethod
    def page(self, prefix: MediaURI, query: PageQuery) -> Page: ...

    @abstractmethod
    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str: ...

    @abstractmethod
    def containers(self) -> Sequence[str]: ...

    @abstractmethod
    def explain(self, uri: MediaURI) -> str: ...

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        request = self.request(uri, if_none_match=if_none_match, if_modified_since=if_modified_since)
        exchange, body = self._ask(uri, request, lambda: StreamBody(uri, self.describe))
        stream = Stream(self.transport, exchange, body, self.failure)
        if if_none_match is not None and stream.info.etag == if_none_match:
            # A server that does not know conditional requests sends the object again.
            stream.close()
            raise failures.refusal(uri, 304)
        return stream

    def head(self, uri: MediaURI) -> ObjectInfo:
        request = replace(self.request(uri), method="HEAD")
        _, body = self._ask(uri, request, lambda: Body(uri, self.describe))
        return body.info

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        if start >= end:
            return b""
        try:
            body = self._read(uri, start, end, etag)
        except failures.RangeNotSatisfiableError:
            if start:
                return b""
            body = self._read_whole(uri, start, end)
        if etag is not None and body.info.etag not in (None, etag):
            raise failures.changed(uri)
        return body.data

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        try:
            body = self._read(uri, 0, size, None)
        except failures.RangeNotSatisfiableError:
            # Only an empty object has no first byte, but some servers refuse all ranges.
            body = self._read_whole(uri, 0, size)
        info = body.info._replace(ranges=body.is_part and body.info.size is not None)
        if info.size is None and len(body.data) < size:
            info = info._replace(size=len(body.data))
        return Beginning(info, body.data)

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        return list_in_order(prefix, lambda query: self.page(prefix, query), recursive=recursive)

    def _read(self, uri: MediaURI, start: int, end: int, etag: str | None) -> PartBody:
        try:
            request = self.request(uri, span=(start, end), etag=etag)
            return self._ask(uri, request, lambda: PartBody(uri, self.describe, start, end))[1]
        except answers.EncodedPartError:
            # The part that is wanted is one of the decoded object.
            return self._read_whole(uri, start, end)

    def _read_whole(self, uri: MediaURI, start: int, end: int) -> PartBody:
        """Takes a part of the answer to a request for the whole."""
        return self._ask(uri, self.request(uri), lambda: PartBody(uri, self.describe, start, end))[1]

    def _ask(self, uri: MediaURI, request: Request, make: Callable[[], B]) -> tuple[Exchange, B]:
        """Sends a request, and those that follow from it, until one is answered as it should be.

        Returns:
            the exchange, which may still be under way, and its sink, which has seen the answer's head.

        Raises:
            SourceError: as `Source` has it.
        """
        while True:
            body = make()
            try:
                exchange = self.transport.submit(request, body, body.done)
            except TransportError as error:
                raise self.failure(uri, Outcome(error=error)) from None
            try:
                body.ready.wait()
            except BaseException:
                self.transport.cancel(exchange)
                raise
            outcome = exchange.outcome
            if outcome is None or outcome.error is None or isinstance(outcome.error, EnoughError):
                return exchange, body
            following = self.follow(uri, request, outcome)
            if following is None:
                raise self.failure(uri, outcome) from None
            request = following
