"""The source of files below the setting ``local_roots``: what they are. They are copied, not requested."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NoReturn

from forebay.errors import AccessDeniedError, ObjectNotFoundError, SourceError
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream, Page, PageQuery
from forebay.transport import Head, Outcome, Request
from forebay.uri import MediaURI
from forebay.uri.local_roots import path_below, root_of

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def info_of(uri: MediaURI, found: os.stat_result) -> ObjectInfo:
    """What the status of a file tells of it. Its etag is of its size and the time of its last change."""
    etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    return ObjectInfo(uri.raw, found.st_size, etag, found.st_mtime, ranges=False)


def reading_error(uri: MediaURI, error: OSError) -> SourceError:
    """The error of a file that cannot be read."""
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectNotFoundError(uri.redacted, "there is no such local file")
    if isinstance(error, PermissionError):
        return AccessDeniedError(uri.redacted, f"the file cannot be read: {reason}")
    return SourceError(uri.redacted, f"the file cannot be read: {reason}")


class LocalFiles:
    """Files below the setting ``local_roots``, as a source."""

    # Asking, which files need not

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        _refuse(uri)

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        _refuse(uri)

    def request_head(self, uri: MediaURI) -> Request | None:
        return None

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        _refuse(uri)

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        return None

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return SourceError(uri.redacted, f"failed: {outcome.error}")

    # Reading

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        _refuse(uri)

    def head(self, uri: MediaURI) -> ObjectInfo:
        """The metadata of a file."""
        descriptor = _open(uri)
        try:
            return info_of(uri, os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        """Some bytes of a file."""
        descriptor = _open(uri)
        try:
            return os.pread(descriptor, max(0, end - start), start)
        except OSError as error:
            raise reading_error(uri, error) from None
        finally:
            os.close(descriptor)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        """The first bytes of a file, and its metadata."""
        return Beginning(self.head(uri), self.read_range(uri, 0, size))

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        _refuse_listing(prefix)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        _refuse_listing(prefix)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        _refuse(uri)

    def explain(self, uri: MediaURI) -> str:
        return "no credentials: a file below a directory of the setting local_roots"

    def containers(self) -> Sequence[str]:
        raise SourceError("file:///", "a file system has no buckets")


def local_path_of(uri: MediaURI) -> tuple[str, str]:
    """The directory of ``local_roots``, and the path of the file below it.

    Raises:
        SourceError: this process does not know the directory.
    """
    path = path_below(uri.raw)
    root = None if path is None else root_of(path)
    if path is None or root is None:
        raise SourceError(uri.redacted, "lies below no directory of the setting local_roots")
    return root, path


def _open(uri: MediaURI) -> int:
    root, path = local_path_of(uri)
    try:
        if not os.path.realpath(path).startswith(os.path.realpath(root) + "/"):
            raise SourceError(uri.redacted, f"a link leads out of {root}")
        descriptor = os.open(path, _READ)
    except OSError as error:
        raise reading_error(uri, error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError(uri.redacted, "is no file")
    return descriptor


def _refuse(uri: MediaURI) -> NoReturn:
    raise SourceError(uri.redacted, "is a local file, which is not requested from a server")


def _refuse_listing(prefix: MediaURI) -> NoReturn:
    raise SourceError(prefix.redacted, "directories are not listed: name the files, as in a manifest")
