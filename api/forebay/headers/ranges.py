"""A remote object as a file, of which only the parts that are read are fetched."""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import IO, TypeVar

from forebay.cache import MediaCache
from forebay.errors import ObjectChangedError
from forebay.retry import retry_transient
from forebay.sources.base import Buffer
from forebay.uri import MediaURI

_T = TypeVar("_T")

_MAX_READ_BYTES = 1 << 20


class RemoteBytes:
    """The bytes of one object, fetched when they are first read and kept in memory until this is closed.

    Safe to use from many threads.

    Args:
        cache: the cache whose sources and settings are used. The whole object is downloaded into it where
            its server cannot send a part, or does not tell the size, and the first bytes do not suffice.
        uri: the object.
        first_bytes: how many bytes the first request fetches, and each one at a new position. A reader that
            continues from there gets half as many more each time, up to 1 MiB.

    Attributes:
        uri: the object.
        size: of the object, in bytes.

    Raises:
        SourceError: the object cannot be read; the subclass says why.
        CacheFullError: it must be downloaded, and there is no room for it.
    """

    def __init__(self, cache: MediaCache, uri: MediaURI, *, first_bytes: int) -> None:
        self._cache = cache
        self.uri = uri
        self._first_bytes = first_bytes
        self._source = cache.engine.sources.for_uri(uri)
        self._lock = threading.Lock()
        self._whole: IO[bytes] | None = None
        beginning = self._retry(lambda: self._source.read_start(uri, first_bytes))
        self._info = beginning.info
        self._starts = [0]
        self._pieces = {0: beginning.data}
        self._last, self._step = len(beginning.data), first_bytes
        size = beginning.info.size
        self.size = self._download() if size is None else size

    def read_at(self, position: int, max_bytes: int) -> Buffer:
        """Up to ``max_bytes`` bytes from ``position`` on; at least one, except at the object's end.

        Raises:
            SourceError, CacheFullError: as above.
        """
        if position >= self.size or max_bytes <= 0:
            return b""
        with self._lock:
            if self._whole is None:
                piece = self._fetched(position) or self._fetch(position, max_bytes)
                if piece is not None:
                    return piece[:max_bytes]
            assert self._whole is not None
            self._whole.seek(position)
            return self._whole.read(max_bytes)

    def close(self) -> None:
        if self._whole is not None:
            self._whole.close()

    def _fetched(self, position: int) -> memoryview | None:
        """The bytes from ``position`` on that were fetched before; ``None`` where there are none."""
        start = self._starts[bisect_right(self._starts, position) - 1]
        return memoryview(self._pieces[start])[position - start :] or None

    def _fetch(self, position: int, wanted: int) -> memoryview | None:
        if not self._info.ranges:
            self._download()
            return None
        self._step = (
            min(self._step * 3 // 2, _MAX_READ_BYTES) if position == self._last else self._first_bytes
        )
        later = bisect_right(self._starts, position)
        limit = self._starts[later] if later < len(self._starts) else self.size
        # After a large block, such as a camera's preview picture, the reader continues with the next block.
        end = min(position + (self._step if wanted < self._step else wanted + self._first_bytes), limit)
        data = self._retry(lambda: self._source.read_range(self.uri, position, end, etag=self._info.etag))
        insort(self._starts, position)
        self._pieces[position] = data
        self._last = end
        return memoryview(data)

    def _download(self) -> int:
        self._whole = self._cache.open(self.uri.raw, whole=True)
        return os.fstat(self._whole.fileno()).st_size

    def _retry(self, attempt: Callable[[], _T]) -> _T:
        return retry_transient(
            attempt,
            self._cache.config.max_attempts,
            should_retry=lambda error: not error.exhausted and not isinstance(error, ObjectChangedError),
        )


class RangeFile(io.BufferedIOBase):
    """`RemoteBytes` as a seekable file, for one reader.

    It does not buffer: a buffer would hide how many bytes its reader wants at once.
    """

    def __init__(self, remote: RemoteBytes) -> None:
        self._remote = remote
        self._position = 0

    def __repr__(self) -> str:
        # Pillow puts this into its messages.
        return f"<{self._remote.uri.redacted}>"

    @property
    def size(self) -> int:
        """In bytes."""
        return self._remote.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}, before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        end = self.size if size is None or size < 0 else min(self._position + size, self.size)
        pieces: list[Buffer] = []
        while piece := self._remote.read_at(self._position, end - self._position):
            pieces.append(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        if not self.closed:
            self._remote.close()
        super().close()
