"""Taking an object from the upstream directory rather than from its source.

The source is asked for the object's head. A file upstream that has the object's size, and was not written
before the object was, is copied into the cache as a download is: with its reservation, into a partial file,
and by a rename. Whatever is wrong with the file, the object is then fetched from its source.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable

from forebay.errors import ChecksumError, TransientSourceError
from forebay.fetch.destination import Destination
from forebay.fetch.kept_copy import KeptCopy
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.work import Item
from forebay.sources.base import Asking, ObjectInfo
from forebay.sources.bodies import Body, EnoughError, PartBody
from forebay.transport import Outcome, Request
from forebay.volume.disk import allocate
from forebay.volume.reservation import Reservation
from forebay.volume.upstream import Upstream

log = logging.getLogger(__name__)

_PIECE_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
# Not blocking, as a pipe may have taken the file's place.
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
# What a kernel or a file system says that cannot copy by itself, or not between the two.
_CANNOT_COPY = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)
# Servers give times to the second.
_TIME_SECONDS = 1.0


class UpstreamCopy(KeptCopy):
    """The file of an object upstream, for one transfer.

    Args:
        item: the object.
        to: where it is copied to.
        place: the transfer's partial file.
        reservation: the transfer's, which has room for the file when it is copied.
        upstream: the directory.
        found: path and status of the file.
    """

    def __init__(
        self,
        item: Item,
        to: Destination,
        place: PartialFile,
        reservation: Reservation,
        upstream: Upstream,
        found: tuple[str, os.stat_result],
    ) -> None:
        self._item = item
        self._files = to.files
        self._place = place
        self._reservation = reservation
        self._upstream = upstream
        path, self._status = found
        self._path = self._from = path
        self._is_judged = False
        self.is_asking = False
        self.size = self._status.st_size
        item.is_from_upstream = False

    def is_there(self) -> bool:
        """Whether the source is to be asked about it; after the first answer, the object is fetched."""
        self.is_asking = False
        return not self._is_judged

    def is_current(self, info: ObjectInfo) -> bool:
        """False: an answer with the object is taken."""
        return False

    def question(self, source: Asking) -> Request:
        """The request for the object's head, or for its first byte where the source answers no HEAD."""
        uri = self._item.uri
        head = source.request_head(uri)
        self.is_asking = True
        if head is not None:
            self.sink = Body(uri, source.describe_head)
            return head
        self.sink = PartBody(uri, source.describe, 0, 1)
        return source.request(uri, span=(0, 1))

    def judge(self, outcome: Outcome) -> bool:
        """Whether the file may be the object that the answer describes, so that it is copied by `compare`."""
        self.is_asking, self._is_judged = False, True
        if outcome.error is not None and not isinstance(outcome.error, EnoughError):
            return False
        info, found = self.sink.info, self._status
        if info.size != found.st_size:
            return False
        return info.modified is None or found.st_mtime > info.modified - _TIME_SECONDS

    def compare(self, is_wanted: Callable[[], bool]) -> None:
        """Copies the file, and publishes the copy, which is then `download`. For a thread of the volume's.

        Raises:
            SessionLostError: the claim on the object is void.
        """
        try:
            self._copy(is_wanted)
        except (OSError, TransientSourceError, ChecksumError) as error:
            log.info("%s: the upstream file %s is not used: %s", self._item.uri, self._path, error)
        if self.download is None:
            self._place.discard()
            self._place.written = 0

    def make_way(self, to: Destination, size: int) -> BaseException | float | None:
        """Nothing: there is no older copy."""
        return None

    def _copy(self, is_wanted: Callable[[], bool]) -> None:
        descriptor = self._upstream.beneath.open(self._from, READ)
        try:
            if not self._is_same(os.fstat(descriptor)):
                return
            self._place.open(self.sink.info, in_order=False)
            allocate(self._place.descriptor, self.size)
            copied = copy_bytes(descriptor, self._place.descriptor, self.size, is_wanted)
            # What another program writes meanwhile is a copy of nothing.
            if copied != self.size or not self._is_same(os.fstat(descriptor)):
                return
        finally:
            os.close(descriptor)
        self._place.written = copied
        self.download = self._place.publish(self.sink.info, copied, self._reservation)
        self._item.is_from_upstream = True

    def _is_same(self, found: os.stat_result) -> bool:
        return is_same_file(self._status, found)


def is_same_file(before: os.stat_result, found: os.stat_result) -> bool:
    """Whether a file is the one that was found before, and has not been changed."""
    return stat.S_ISREG(found.st_mode) and (found.st_ino, found.st_size, found.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def copy_bytes(source: int, target: int, size: int, is_wanted: Callable[[], bool] = lambda: True) -> int:
    """Copies the beginning of one open file to another, within the file systems where they can do so.

    Args:
        size: bytes to copy at most.
        is_wanted: asked from time to time; false ends it.

    Returns:
        how many bytes were copied: fewer at the end of the file.

    Raises:
        OSError: a disk failed.
    """
    done, by_kernel = 0, hasattr(os, "copy_file_range")
    while done < size and is_wanted():
        moved = 0
        if by_kernel:
            try:
                moved = os.copy_file_range(source, target, min(_PIECE_BYTES, size - done), done, done)
            except OSError as error:
                if error.errno not in _CANNOT_COPY:
                    raise
            # Some file systems say that there are no bytes, where they cannot.
            by_kernel = moved > 0
            if not by_kernel:
                continue
        else:
            chunk = os.pread(source, min(_CHUNK_BYTES, size - done), done)
            if not chunk:
                break
            while moved < len(chunk):
                moved += os.pwrite(target, chunk[moved:], done + moved)
        done += moved
    return done
