"""The protocol that every source implements, and the types that its methods return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol

from typing_extensions import Self

from forebay.errors import SourceError
from forebay.transport import Head, Outcome, Request
from forebay.uri import MediaURI

Buffer = bytes | bytearray | memoryview


class ObjectInfo(NamedTuple):
    """The metadata of one object, as its source tells it without sending the bytes.

    Attributes:
        uri: the object's URI.
        size: its size in bytes; ``None`` where the source does not tell.
        etag: its entity tag as the source writes it, quotes included; ``None`` where there is none.
        modified: its time of last modification, in seconds since the epoch.
        content_type: its media type.
        md5: its MD5 as 32 hexadecimal digits; ``None`` where the source does not give one.
        checksum: another checksum of its bytes than MD5, to be compared with them: a name that
            `forebay.sources.checksums` knows, and the value in base64.
        ranges: whether the source sends a part without the rest. Where it does not, `Source.read_range`
            still returns the right bytes, but transfers everything before them.
    """

    uri: str
    size: int | None = None
    etag: str | None = None
    modified: float | None = None
    content_type: str | None = None
    md5: str | None = None
    ranges: bool = True
    checksum: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A question for one page of a listing.

    Attributes:
        prefix: of the keys.
        token: where to go on, from the page before; empty for the beginning.
        delimiter: keys that have it after the prefix are not listed; their common beginnings are. Empty
            for none.
        start_after: only keys that come after this one. Servers order keys by their UTF-8 bytes; not all do.
        max_keys: keys and folders in a page at most; 0 for as many as the server likes to send.
    """

    prefix: str
    token: str = ""
    delimiter: str = ""
    start_after: str = ""
    max_keys: int = 0


class Page(Protocol):
    """One page.

    Attributes:
        keys: of its objects, exactly as they are.
        folders: the common beginnings of keys that have the delimiter.
        token: what the next page is asked for with; empty where this is the last one.
    """

    @property
    def keys(self) -> Sequence[str]: ...

    @property
    def folders(self) -> Sequence[str]: ...

    @property
    def token(self) -> str: ...

    def objects(self, root: str) -> list[ObjectInfo]:
        """The metadata of its objects, in the order of `keys`; made anew with each call.

        Args:
            root: what a URI begins with, up to the key: ``s3://bucket/``.

        Raises:
            PageError: a size is no number; see `forebay.sources.listings`.
        """


@dataclass(frozen=True, slots=True)
class Beginning:
    """An object's first bytes, with its metadata.

    Attributes:
        info: of the whole object; of an empty one, only the size is sure to be known. ``ranges`` tells
            whether the source has just sent a part, not whether it claims to be able to.
        data: as many bytes as were asked for; fewer only where the object has no more.
    """

    info: ObjectInfo
    data: Buffer


class ObjectStream(Protocol):
    """The answer to a request for an object, of which only the headers have been read.

    Iterating yields the body in pieces, and raises `TransientSourceError` when the body ends early, the
    connection is lost, or nothing arrives for the read time-out.
    """

    info: ObjectInfo

    def __iter__(self) -> Iterator[Buffer]: ...

    def close(self) -> None:
        """Discards the part of the body that has not been read. May be called more than once."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SourceLookup(Protocol):
    """Finds the source of a URI; see `forebay.sources.sources.Sources`."""

    def for_uri(self, uri: MediaURI) -> Source:
        """The source of ``uri``."""

    def record(self, uri: MediaURI, error: Exception | None) -> None:
        """Records how the last attempt at ``uri`` ended; ``error`` is ``None`` when it succeeded."""


class Asking(Protocol):
    """How a source is asked, and what its answer means; bytes move through `forebay.transport`."""

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        """The GET for an object. May fetch credentials, so it is never called on a transport's thread.

        Args:
            span: asks only for the bytes from the first number up to, not including, the second. A
                server may send the whole object nevertheless, with 200.
            etag: the answer is 412 where the object's etag is no longer this one.
            if_none_match: an etag; the answer is 304 where it is still the object's.
            if_modified_since: seconds since the epoch; the answer is 304 where the object has not
                changed since. Used only where there is no etag.
        """

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        """The metadata in an accepted answer (200, 206). Cheap; may be called on a transport's thread.

        Raises:
            SourceError: the answer cannot be used; also a part of an object that is stored encoded.
        """

    def request_head(self, uri: MediaURI) -> Request | None:
        """The HEAD for an object, with the checksums that its source has. Like `request`, it may fetch
        credentials.

        Returns:
            ``None`` where not every server of this kind answers HEAD as it does GET.
        """

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        """The metadata in the answer to `request_head`, with the best checksum that a file can be compared
        by, whatever ``verify_checksums`` says. Raises as `describe`."""

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        """The request to send after an outcome that is not final; ``None`` where it is.

        Follows redirects, to regions too, and renews credentials. Where a redirect may not be followed,
        says so in ``outcome.error``. Never called on a transport's thread.
        """

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        """The error that a failed outcome means. `NotModifiedError` for 304."""


class Source(Asking, Protocol):
    """One kind of source. Safe to use from many threads, and in a process forked from one that used it.

    Beside what `Asking` has, it asks and waits. Each call makes one attempt; the caller decides about
    another one (see `forebay.retry`). Every method raises

    * `ObjectNotFoundError` when there is no such object or bucket,
    * `AccessDeniedError` when the credentials are missing, wrong or not sufficient,
    * `TransientSourceError` when another attempt may succeed,
    * `SourceError` for every other refusal.
    """

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        """Opens an object for reading.

        Args:
            if_none_match: an etag; raises `NotModifiedError` when it is still the object's.
            if_modified_since: seconds since the epoch; raises `NotModifiedError` when the object has
                not changed since. Used only where there is no etag.
        """

    def head(self, uri: MediaURI) -> ObjectInfo:
        """The object's metadata."""

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        """The bytes from ``start`` up to, not including, ``end``; fewer only at the object's end.

        Args:
            etag: raises `ObjectChangedError` when the object's etag is no longer this one.
        """

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        """The first ``size`` bytes and the metadata that `head` returns, in one request."""

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Every object whose key begins with the prefix's, in the source's order.

        Args:
            recursive: if false, the objects in a deeper "folder" are not listed; instead that folder is,
                once, as an `ObjectInfo` of which only the URI (with its final slash) is known.
        """

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        """One page of a listing; see `forebay.sources.listings.walk`, which goes from page to page.

        Args:
            prefix: names the bucket; what to list is said by ``query``.

        Raises:
            PageError: the answer is no page of this listing.
        """

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        """A URL that works without credentials until it expires.

        Args:
            method: the one method that it is good for: ``GET``, ``HEAD``, ``PUT`` or ``DELETE``.
        """

    def explain(self, uri: MediaURI) -> str:
        """The credentials that are used for a URI, where they come from, and the server: for people, without
        secrets. Nothing is asked for it."""

    def containers(self) -> Sequence[str]:
        """The names of the buckets that these credentials may list.

        Raises:
            SourceError: also where the source has no buckets.
        """
