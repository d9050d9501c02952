"""The bodies of responses: read from the cache, or from the object's source."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from forebay.cache import MediaCache
from forebay.errors import CacheFullError, ObjectChangedError
from forebay.fiftyone.app import failure_log
from forebay.retry import retry_transient
from forebay.sources.base import Buffer, ObjectInfo
from forebay.uri import MediaURI

T = TypeVar("T")

# What is fetched while the browser disconnects is wasted, so pieces are small at first. Nearly every image is
# one piece.
FIRST_BYTES = 256 << 10
_MAX_PIECE_BYTES = 4 << 20


@dataclass
class ResponseBody:
    """One object, open for reading.

    Attributes:
        size: in bytes; ``None`` if the source does not tell.
        etag: with its quotes; ``None`` if there is none.
        ranges: whether `pieces` can begin at any byte.
        content_type: as the source states it.
    """

    size: int | None
    etag: str | None
    ranges: bool = True
    content_type: str | None = None

    def pieces(self, start: int, end: int | None) -> Iterator[Buffer]:
        """The bytes from ``start`` up to, not including, ``end``, in order; blocks.

        Raises:
            SourceError: the source cannot be read.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stops reading."""


@dataclass
class CachedBody(ResponseBody):
    """A cached copy. An open file stays readable even if it is evicted meanwhile."""

    file: io.FileIO = field(kw_only=True)

    def pieces(self, start: int, end: int | None) -> Iterator[Buffer]:
        position, end = start, os.fstat(self.file.fileno()).st_size if end is None else end
        while position < end and (
            piece := os.pread(self.file.fileno(), min(end - position, 1 << 20), position)
        ):
            position += len(piece)
            yield piece

    def close(self) -> None:
        self.file.close()


@dataclass
class RemoteBody(ResponseBody):
    """An object at its source; only what is sent is fetched."""

    cache: MediaCache = field(kw_only=True)
    uri: MediaURI = field(kw_only=True)
    first: Buffer = b""

    def pieces(self, start: int, end: int | None) -> Iterator[Buffer]:
        end = self.size if end is None else end
        if not self.ranges or end is None:
            yield from self._from_the_beginning()
            return
        if start < len(self.first):
            piece = memoryview(self.first)[start:end]
            start += len(piece)
            yield piece
        step = FIRST_BYTES
        while start < end:
            piece = self._part(start, min(start + step, end))
            if not piece:
                return
            start += len(piece)
            step = min(step * 2, _MAX_PIECE_BYTES)
            yield piece

    def _part(self, start: int, end: int) -> memoryview:
        source = self.cache.engine.sources.for_uri(self.uri)
        return memoryview(_retry(self.cache, lambda: source.read_range(self.uri, start, end, etag=self.etag)))

    def _from_the_beginning(self) -> Iterator[Buffer]:
        source = self.cache.engine.sources.for_uri(self.uri)
        with _retry(self.cache, lambda: source.open(self.uri)) as opened:
            yield from opened


def open_cached(cache: MediaCache, uri: MediaURI) -> CachedBody | None:
    """Opens the cached copy of an object, and marks it as used; ``None`` if there is none."""
    while (path := cache.engine.files.touch(uri.entry)) is not None:
        try:
            body = _open_file(path)
        except FileNotFoundError:  # evicted between the two calls
            continue
        cache.engine.counters.hits += 1
        return body
    return None


def fetch(cache: MediaCache, uri: MediaURI) -> CachedBody | None:
    """Downloads an object into the cache and opens the copy; ``None`` if the cache has no room.

    Raises:
        SourceError: it cannot be downloaded.
    """
    try:
        while True:
            try:
                return _open_file(cache.local_path(uri.raw))
            except FileNotFoundError as error:
                if error.filename is None:  # the object does not exist at its source
                    raise
    except CacheFullError as error:
        failure_log.report(cache, "shown, but not cached:", error, uri.raw)
        return None


def open_remote(cache: MediaCache, uri: MediaURI, *, start: int | None) -> RemoteBody:
    """Opens an object at its source.

    Args:
        start: the byte that will be read first; from 0, the first bytes come with the object's size and
            ETag in one request. ``None`` for a request without a body.

    Raises:
        SourceError: it cannot be read.
    """
    source = cache.engine.sources.for_uri(uri)
    first: Buffer = b""
    if start == 0:
        beginning = _retry(cache, lambda: source.read_start(uri, FIRST_BYTES))
        info, first = beginning.info, beginning.data
    else:
        info = _retry(cache, lambda: source.head(uri))
    return _remote(cache, uri, info, first)


def _remote(cache: MediaCache, uri: MediaURI, info: ObjectInfo, first: Buffer) -> RemoteBody:
    return RemoteBody(
        info.size,
        info.etag,
        info.ranges and info.size is not None,
        info.content_type,
        cache=cache,
        uri=uri,
        first=first,
    )


def _open_file(path: str) -> CachedBody:
    file = io.FileIO(path)
    found = os.fstat(file.fileno())
    return CachedBody(found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', file=file)


def _retry(cache: MediaCache, attempt: Callable[[], T]) -> T:
    return retry_transient(
        attempt,
        cache.config.max_attempts,
        should_retry=lambda error: not error.exhausted and not isinstance(error, ObjectChangedError),
    )
