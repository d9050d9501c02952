"""A file that was just uploaded, as a source: it is put into the cache without being downloaded again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO

from typing_extensions import Self

from forebay.errors import SourceError
from forebay.sources import failures
from forebay.sources.base import Beginning, Buffer, ObjectInfo, Page, PageQuery
from forebay.transport import Head, Outcome, Request
from forebay.uri import MediaURI

_CHUNK_BYTES = 1 << 20


class UploadedFile:
    """A local file in the place of its remote copy; implements `SourceLookup`, `Source` and `ObjectStream`.

    Args:
        info: the metadata that the remote source gives for the object.
        file: the file that was uploaded.
    """

    def __init__(self, info: ObjectInfo, file: BinaryIO) -> None:
        # Not in ranges: the checksum is of the whole, and is compared while it is read.
        self.info = replace(info, ranges=False)
        self._file = file

    def for_uri(self, uri: MediaURI) -> Self:
        return self

    def record(self, uri: MediaURI, error: Exception | None) -> None:
        """Does nothing: no server is asked."""

    def request(self, uri: MediaURI, **conditions: object) -> Request:
        """Raises `SourceError`: nothing is asked of a server; see `open`."""
        raise SourceError(uri.redacted, "is a local file here, which no request is made for")

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return self.info

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        return None

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return failures.failure_of(uri, outcome)

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> Self:
        self._file.seek(0)
        return self

    def head(self, uri: MediaURI) -> ObjectInfo:
        return self.info

    def __iter__(self) -> Iterator[Buffer]:
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := self._file.read(_CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
        if self.info.md5 not in (None, digest.hexdigest()):
            raise SourceError(self.info.uri, "the local file was changed after it had been uploaded")

    def close(self) -> None:
        """Does nothing: the caller closes the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        self._file.seek(start)
        return self._file.read(max(0, end - start))

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        return Beginning(self.info, self.read_range(uri, 0, size))

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        return iter([self.info])

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        raise SourceError(prefix.redacted, "only its source can list objects")

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        raise SourceError(uri.redacted, "only its source can sign URLs")

    def containers(self) -> Sequence[str]:
        return []
