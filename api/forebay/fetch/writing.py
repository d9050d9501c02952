"""Writing the bytes of one object into its partial file, as a stream or in parallel ranges."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from functools import partial

from forebay.errors import ObjectChangedError, TransientSourceError
from forebay.index import SessionLostError
from forebay.sources.base import Buffer, ObjectStream, Source
from forebay.threads import run_in_threads
from forebay.uri import MediaURI

# Repeats a call that fails for the moment while that is worthwhile.
Retrying = Callable[[Callable[[], None], Callable[[TransientSourceError], bool]], None]


class PartialFile:
    """A partial file that is being written.

    Args:
        descriptor: the open file.
        uri: the object, for errors.
        owned: whether our claim on the object can still be ours.
    """

    def __init__(self, descriptor: int, uri: MediaURI, owned: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._uri = uri
        self._owned = owned

    def write_stream(self, opened: ObjectStream, size: int | None, grow: Callable[[int], None]) -> int:
        """Writes a body as it arrives.

        Args:
            size: how many bytes there must be; ``None`` where the source does not tell.
            grow: reserves so many bytes in all, for a body of unknown size.

        Returns:
            the bytes that were written.
        """
        written = 0
        for chunk in opened:
            if size is None:
                grow(written + len(chunk))
            self._write_at(chunk, written)
            written += len(chunk)
        if size is not None and written != size:
            reason = f"the source sent {written} bytes of {size} and ended"
            raise TransientSourceError(self._uri.redacted, reason, "truncated")
        return written

    def write_ranges(
        self, source: Source, size: int, etag: str, part: int, threads: int, retrying: Retrying
    ) -> None:
        """Fetches a large object in parallel ranges into a preallocated file.

        Args:
            etag: that every range must be of; two versions of an object are never mixed.
            part: bytes in a range.
            threads: how many ranges at a time.
            retrying: repeats a range that failed for the moment.
        """
        _allocate(self._descriptor, size)
        starts = iter(range(0, size, part))
        lock = threading.Lock()

        def fetch(start: int) -> None:
            end = min(start + part, size)
            chunk = source.read_range(self._uri, start, end, etag=etag)
            if len(chunk) != end - start:
                reason = f"the source sent {len(chunk)} bytes of the range from {start} to {end}"
                raise TransientSourceError(self._uri.redacted, reason, "truncated")
            self._write_at(chunk, start)

        def work() -> None:
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                try:
                    retrying(partial(fetch, start), _same_object)
                except BaseException as error:
                    with lock:
                        for _ in starts:
                            pass
                    if isinstance(error, TransientSourceError):
                        # A changed object is worth beginning anew; a range that was tried often
                        # enough is not.
                        error.exhausted = not isinstance(error, ObjectChangedError)
                    raise

        run_in_threads(work, threads, "forebay-range")

    def verify(self, md5: str, size: int) -> None:
        """Compares the file with the source's checksum.

        Raises:
            TransientSourceError: it differs.
        """
        digest, offset = hashlib.md5(usedforsecurity=False), 0
        while chunk := os.pread(self._descriptor, 1 << 20, offset):
            digest.update(chunk)
            offset += len(chunk)
        if digest.hexdigest() != md5:
            reason = f"the {size} bytes that arrived do not have the source's checksum"
            raise TransientSourceError(self._uri.redacted, reason, "checksum")

    def _write_at(self, chunk: Buffer, offset: int) -> None:
        if not self._owned():
            raise SessionLostError
        written = os.pwrite(self._descriptor, chunk, offset)
        if written != len(chunk):
            view = memoryview(chunk)
            while written < len(view):
                written += os.pwrite(self._descriptor, view[written:], offset + written)


def _same_object(error: TransientSourceError) -> bool:
    return not isinstance(error, ObjectChangedError)


def _allocate(descriptor: int, size: int) -> None:
    """Makes a file ``size`` bytes long, and takes the space for it where the file system can."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.ftruncate(descriptor, size)
