"""What a source is: a place that a URI's bytes come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from forebay.uri import MediaURI

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a source says of one object without sending its bytes.

    Attributes:
        uri: the object's URI.
        size: its size in bytes; ``None`` where the source does not tell.
        etag: its entity tag as the source writes it, quotes included; ``None`` where there is none.
        modified: its time of last modification, in seconds since the epoch.
        content_type: its media type.
        md5: its MD5 as 32 hexadecimal digits, where the source vouches for one.
        ranges: whether a part of it can be had without sending the whole. Where not, `Source.read_range`
            still gives the right bytes, at the price of everything before them.
    """

    uri: str
    size: int | None = None
    etag: str | None = None
    modified: float | None = None
    content_type: str | None = None
    md5: str | None = None
    ranges: bool = True


@dataclass(frozen=True, slots=True)
class Beginning:
    """An object's first bytes, and what came with them.

    Attributes:
        info: of the whole object; of an empty one, the size is all that is sure to be known. ``ranges``
            is what the source has just shown, not what it says.
        data: as many bytes as were asked for; fewer only where the object has no more.
    """

    info: ObjectInfo
    data: Buffer


class Opened(Protocol):
    """One answer of a source, of which nothing but the headers has been read.

    Iterating gives the body in pieces; raises `TransientSourceError` when the body ends early, the
    connection is lost, or nothing arrives for the read time-out.
    """

    info: ObjectInfo

    def __iter__(self) -> Iterator[Buffer]: ...

    def close(self) -> None:
        """Gives up what has not been read. May be called more than once."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Lookup(Protocol):
    """Knows where the bytes of URIs are."""

    def for_uri(self, uri: MediaURI) -> Source:
        """The source of ``uri``."""

    def note(self, uri: MediaURI, error: Exception | None) -> None:
        """Is told how the last attempt at ``uri`` ended."""


class Source(Protocol):
    """One kind of place. Safe to use from many threads, and in a process forked from one that used it.

    A source makes one attempt at each call; whoever calls decides about another one. Every method raises

    * `ObjectNotFoundError` when there is no such object or bucket,
    * `AccessDeniedError` when the credentials are missing, wrong or not sufficient,
    * `TransientSourceError` when another attempt may succeed,
    * `SourceError` for every other refusal.
    """

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> Opened:
        """Opens an object for reading.

        Args:
            if_none_match: an etag; raises `NotModifiedError` when it is still the object's.
            if_modified_since: seconds since the epoch; raises `NotModifiedError` when the object has
                not changed since. Used only where there is no etag.
        """

    def head(self, uri: MediaURI) -> ObjectInfo:
        """What there is to know without the bytes."""

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        """The bytes from ``start`` up to, not including, ``end``; fewer only at the object's end.

        Args:
            etag: raises `ObjectChangedError` when the object's etag is no longer this one.
        """

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        """The first ``size`` bytes, and what `head` would tell, for the price of one request."""

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Every object whose key begins with the prefix's, in the source's order.

        Args:
            recursive: false to give, instead of the objects whose keys go on with a slash beyond the
                prefix, each such beginning up to its slash, of which nothing else is known.
        """

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        """A URL that anyone can use until it expires.

        Args:
            method: the one method that it is good for: ``GET``, ``HEAD``, ``PUT`` or ``DELETE``.
        """

    def containers(self) -> Sequence[str]:
        """The names of the buckets that these credentials may list.

        Raises:
            SourceError: also where the source has nothing of the kind.
        """
