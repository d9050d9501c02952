"""A source of buckets and keys, which reads through obstore or through the cloud's own client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream
from forebay.sources.fast import FastReader, keeps_key
from forebay.sources.listings import Page, PageQuery
from forebay.sources.listings.asking import list_in_order
from forebay.sources.per_process import PerProcess, obstore_is_safe
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from forebay.sources.s3_listing import S3Pages


class Reader(Protocol):
    """Reads objects through one library; the methods are those of `forebay.sources.base.Source`."""

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream: ...

    def head(self, uri: MediaURI) -> ObjectInfo: ...

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer: ...

    def read_start(self, uri: MediaURI, size: int) -> Beginning: ...


class PortableReader(Reader, Protocol):
    """The cloud's own client: works in a forked child, keeps every key, lists and signs."""

    def page(self, prefix: MediaURI, query: PageQuery) -> Page: ...

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str: ...

    def containers(self) -> Sequence[str]: ...


class BucketSource:
    """Reads through obstore where that is right, and through the cloud's own client elsewhere.

    Args:
        make_fast: makes the reader of this process; gives ``None`` where obstore cannot stand in for
            the client as it is configured.
        make_portable: makes the client of this process.
        verify: open objects with the client, because only that sees the checksums.
        make_pages: makes what asks for pages in the client's place; gives ``None`` where nothing does.
    """

    def __init__(
        self,
        make_fast: Callable[[], FastReader | None],
        make_portable: Callable[[], PortableReader],
        *,
        verify: bool = False,
        make_pages: Callable[[], S3Pages | None] = lambda: None,
    ) -> None:
        self._make_fast = make_fast
        self._fast = PerProcess(self._choose)
        self._portable = PerProcess(make_portable)
        self._verify = verify
        self._pages: PerProcess[S3Pages | PortableReader] = PerProcess(
            lambda: make_pages() or self._portable.get()
        )

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        reader = self._portable.get() if self._verify else self._reader(uri)
        return reader.open(uri, if_none_match=if_none_match, if_modified_since=if_modified_since)

    def head(self, uri: MediaURI) -> ObjectInfo:
        return self._reader(uri).head(uri)

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        return self._reader(uri).read_range(uri, start, end, etag=etag)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        return self._reader(uri).read_start(uri, size)

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        return list_in_order(prefix, lambda query: self.page(prefix, query), recursive=recursive)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        return self._pages.get().page(prefix, query)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        return self._portable.get().sign(uri, expires_seconds=expires_seconds, method=method)

    def containers(self) -> Sequence[str]:
        return self._portable.get().containers()

    def _reader(self, uri: MediaURI) -> Reader:
        return self._fast.get() if keeps_key(uri.key) else self._portable.get()

    def _choose(self) -> Reader:
        return (self._make_fast() if obstore_is_safe() else None) or self._portable.get()
