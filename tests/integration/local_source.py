"""A local directory as a source: the simplest one, to which the tests compare the others.

Forebay uses local media where they are and never caches them, so it has no such source itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote

from typing_extensions import Self

from forebay.errors import AccessDeniedError, ObjectNotFoundError, SourceError
from forebay.sources import failures
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream, Page, PageQuery
from forebay.uri import MediaURI

_CHUNK_BYTES = 1 << 20


def local_uri(path: str) -> MediaURI:
    """A local path as a URI for `LocalSource`."""
    return MediaURI(path, "file", "", path)


class LocalSource:
    """Files of this machine. An etag is made of the time of last modification and the size."""

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        info = self.head(uri)
        unmodified = if_modified_since is not None and (info.modified or 0) <= if_modified_since
        if info.etag == if_none_match if if_none_match is not None else unmodified:
            raise failures.refusal(uri, 304)
        try:
            return _FileStream(uri, info, open(uri.key, "rb"))
        except OSError as error:
            raise _failure(uri, error) from None

    def head(self, uri: MediaURI) -> ObjectInfo:
        try:
            status = os.stat(uri.key)
        except (OSError, ValueError) as error:
            raise _failure(uri, error) from None
        if os.path.isdir(uri.key):
            raise ObjectNotFoundError(uri.redacted, "is a directory")
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        return ObjectInfo(uri.raw, status.st_size, etag, status.st_mtime)

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        if etag is not None and self.head(uri).etag != etag:
            raise failures.changed(uri)
        try:
            with open(uri.key, "rb") as file:
                file.seek(start)
                return file.read(max(0, end - start))
        except (OSError, ValueError) as error:
            raise _failure(uri, error) from None

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        return Beginning(self.head(uri), self.read_range(uri, 0, size))

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        directory = os.path.dirname(prefix.key)
        found: list[str] = []
        for parent, _, names in os.walk(directory):
            found += (os.path.join(parent, name) for name in names)
        given = ""
        for path in sorted(found):
            if not path.startswith(prefix.key):
                continue
            folder = path[: path.find("/", len(prefix.key)) + 1]
            if recursive or not folder:
                yield self.head(local_uri(path))
            elif folder != given:
                given = folder
                yield ObjectInfo(folder)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        """Raises `SourceError`: directories are listed whole."""
        raise SourceError(prefix.redacted, "a local directory has no pages")

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        """A ``file://`` URL, which never expires."""
        return "file://" + quote(os.path.abspath(uri.key))

    def explain(self, uri: MediaURI) -> str:
        return "no credentials; on this machine"

    def containers(self) -> Sequence[str]:
        """Raises `SourceError`: a local file system has no buckets."""
        raise SourceError("file://", "a local directory has no buckets")


class _FileStream:
    """An open file."""

    def __init__(self, uri: MediaURI, info: ObjectInfo, file: BinaryIO) -> None:
        self.info = info
        self._uri = uri
        self._file = file

    def __iter__(self) -> Iterator[Buffer]:
        received = 0
        while piece := self._file.read(_CHUNK_BYTES):
            received += len(piece)
            yield piece
        if received != self.info.size:
            raise failures.truncated(self._uri, received, self.info.size)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _failure(uri: MediaURI, error: Exception) -> SourceError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return ObjectNotFoundError(uri.redacted, "no such file")
    if isinstance(error, PermissionError):
        return AccessDeniedError(uri.redacted, "its permissions do not let you read it")
    return SourceError(uri.redacted, str(error))
