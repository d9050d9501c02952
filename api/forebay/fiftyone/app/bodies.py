"""Where the bytes of an answer come from: the cache, or the object's source."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from forebay.cache import MediaCache
from forebay.errors import CacheFullError, ObjectChangedError
from forebay.fiftyone.app import complaints
from forebay.retry import retry_transient
from forebay.sources.base import Buffer, ObjectInfo
from forebay.uri import MediaURI

T = TypeVar("T")

# What is in flight when the browser goes away has been fetched in vain, so pieces are small at first; and
# nearly every image is one piece.
FIRST_BYTES = 256 << 10
_LARGEST_PIECE = 4 << 20


@dataclass
class Body:
    """One object, open for reading.

    Attributes:
        size: in bytes; ``None`` where its source does not tell.
        etag: quotes included; ``None`` where there is none.
        ranges: whether `pieces` can begin anywhere.
        content_type: what its source says that it is.
    """

    size: int | None
    etag: str | None
    ranges: bool = True
    content_type: str | None = None

    def pieces(self, start: int, end: int | None) -> Iterator[Buffer]:
        """The bytes from ``start`` up to, not including, ``end``, in order; blocks.

        Raises:
            SourceError: the source does not give them.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Gives up what has not been read."""


@dataclass
class CachedBody(Body):
    """A file of the cache. Open, it stays readable even when it is evicted meanwhile."""

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
class RemoteBody(Body):
    """An object at its source, of which no more is fetched than is sent."""

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
            step = min(step * 2, _LARGEST_PIECE)
            yield piece

    def _part(self, start: int, end: int) -> memoryview:
        source = self.cache.engine.sources.for_uri(self.uri)
        return memoryview(
            _persistently(self.cache, lambda: source.read_range(self.uri, start, end, etag=self.etag))
        )

    def _from_the_beginning(self) -> Iterator[Buffer]:
        source = self.cache.engine.sources.for_uri(self.uri)
        with _persistently(self.cache, lambda: source.open(self.uri)) as opened:
            yield from opened


def cached(cache: MediaCache, uri: MediaURI) -> CachedBody | None:
    """The cached copy of an object, which counts as used now; ``None`` where there is none."""
    while (path := cache.engine.files.touch(uri.entry)) is not None:
        try:
            body = _open(path)
        except FileNotFoundError:  # evicted in the moment between the two
            continue
        cache.engine.counters.hits += 1
        return body
    return None


def fetched(cache: MediaCache, uri: MediaURI) -> CachedBody | None:
    """The copy of an object that is cached now, if it has not been before; ``None`` if there is no room.

    Raises:
        SourceError: it cannot be fetched.
    """
    try:
        while True:
            try:
                return _open(cache.local_path(uri.raw))
            except FileNotFoundError as error:
                if error.filename is None:  # an object that does not exist
                    raise
    except CacheFullError as error:
        complaints.note(cache, "shown, but not cached:", error, uri.raw)
        return None


def streamed(cache: MediaCache, uri: MediaURI, *, start: int | None) -> RemoteBody:
    """An object at its source.

    Args:
        start: the place that will be read first, so that what is there can come with the first answer;
            ``None`` for nothing but what is known of the object.

    Raises:
        SourceError: it cannot be read.
    """
    source = cache.engine.sources.for_uri(uri)
    first: Buffer = b""
    if start == 0:
        beginning = _persistently(cache, lambda: source.read_start(uri, FIRST_BYTES))
        info, first = beginning.info, beginning.data
    else:
        info = _persistently(cache, lambda: source.head(uri))
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


def _open(path: str) -> CachedBody:
    file = io.FileIO(path)
    found = os.fstat(file.fileno())
    return CachedBody(found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', file=file)


def _persistently(cache: MediaCache, attempt: Callable[[], T]) -> T:
    return retry_transient(
        attempt,
        cache.config.max_attempts,
        should_retry=lambda error: not error.exhausted and not isinstance(error, ObjectChangedError),
    )
