"""A neighbour as a source: asked as any other, for one object that its index says it has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from forebay.errors import SourceError, TransientSourceError
from forebay.index import Entry
from forebay.index.groups import Server
from forebay.sources.asking import conditions
from forebay.sources.base import ObjectInfo
from forebay.sources.reader import WHOLE, WHOLE_OR_PART
from forebay.transport import Head, Limits, Outcome, Request, Route, TransportError
from forebay.uri import MediaURI

OBJECTS = "/v1/objects"
# What a neighbour sends lies on its disk, so that it is soon there, or is had faster from the cloud.
LIMITS = Limits(connect_seconds=2.0, idle_seconds=5.0, min_rate=16 << 10, min_rate_seconds=10.0)
# What still arrives there comes as slowly as its source sends it, and a range waits for the one before it.
ARRIVING_LIMITS = Limits(connect_seconds=2.0, idle_seconds=30.0)
# The stores whose etags are the MD5 of the bytes, where they look like one.
_MD5_STORES = frozenset({"s3", "minio"})
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class NeighbourError(TransientSourceError):
    """A neighbour did not send what its index says that it has.

    Attributes:
        is_down: whether nothing else can be had from it for the moment either.
    """

    exhausted = True

    def __init__(self, uri: str, reason: str, *, is_down: bool = False) -> None:
        super().__init__(uri, reason, "neighbour")
        self.is_down = is_down

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.uri, self.reason), self.__dict__.copy()


class NeighbourSource:
    """Asks one neighbour for one object, and checks what it answers.

    Args:
        server: the neighbour.
        entry: the object's.
        expected: what the neighbour's index says of it.
        key: gives the group's secret.
        route: to it.
        is_throttled: whether this process takes bytes slowly by itself, so that a slow answer says nothing.
        is_arriving: whether it still arrives there.
    """

    def __init__(
        self,
        server: Server,
        entry: str,
        expected: Entry,
        key: Callable[[], str],
        route: Route,
        *,
        is_throttled: bool = False,
        is_arriving: bool = False,
    ) -> None:
        self._server = server
        self._entry = entry
        self._expected = expected
        self._key = key
        self._route = route
        limits = ARRIVING_LIMITS if is_arriving else LIMITS
        self._limits = replace(limits, min_rate=0) if is_throttled else limits

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        """The GET for the object; conditions of the caller's own are for the cloud, which is not asked."""
        return Request(
            f"{self._server.url}{OBJECTS}/{self._server.volume}/{quote(self._entry, safe='')}",
            headers=[*conditions(span, etag, None, None), authorization(self._key())],
            route=self._route,
            limits=self._limits,
            accept=WHOLE if span is None else WHOLE_OR_PART,
        )

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        expected = self._expected
        size = head.size if head.status == 200 else head.span[2] if head.span else None
        etag = head.headers.get("etag") or ""
        if size != expected.size or etag != expected.etag:
            raise NeighbourError(
                uri.redacted, f"{self._server.volume} sends another object than its index has"
            )
        return ObjectInfo(
            uri.raw, size, etag or None, head.headers.time("last-modified"), md5=md5_of(uri, etag)
        )

    def request_head(self, uri: MediaURI) -> Request | None:
        """None: a neighbour knows no more than its index."""
        return None

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return self.describe(uri, head)

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        """None: whatever is wrong, the object is had another way."""
        return None

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        error = outcome.error
        if outcome.head is not None and outcome.head.status not in (200, 206):
            reason = f"{self._server.volume} refused to send it ({outcome.head.status})"
            return NeighbourError(uri.redacted, reason, is_down=outcome.head.status in (401, 500))
        said = error.reason if isinstance(error, TransportError) else str(error)
        return NeighbourError(uri.redacted, f"{self._server.volume}: {said}", is_down=True)


def md5_of(uri: MediaURI, etag: str) -> str | None:
    """The MD5 that an etag is, if its store has such."""
    match = _MD5.fullmatch(etag) if uri.scheme in _MD5_STORES else None
    return None if match is None else match[1]


def authorization(key: str) -> tuple[str, str]:
    """The header that shows a server the group's secret."""
    return "Authorization", f"Bearer {key}"
