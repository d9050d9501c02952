"""The place of one object on the volume: a partial file that becomes the entry's file, or nothing at all."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Sequence

from forebay.errors import TransientSourceError
from forebay.fetch.publishing import publish, remove_if_there
from forebay.fetch.work import Item
from forebay.index import Download, Entry, SessionLostError
from forebay.sources.base import ObjectInfo
from forebay.sources.checksums import Digest
from forebay.uri import uri_of
from forebay.volume.files import Files
from forebay.volume.reservation import Reservation
from forebay.volume.session import Session
from forebay.volume.unread import UnreadPrefetches


class PartialFile:
    """A partial file, from its creation to its rename.

    Args:
        item: the object; its token names the partial file.
        files: the volume's files.
        session: whose claim it is.
        unread: of this process.
        idle: for how many seconds the entry counts as not used when it appears.
        verify: whether the source's checksum is compared.
    """

    __slots__ = (
        "_checksum",
        "_descriptor",
        "_files",
        "_idle",
        "_item",
        "_session",
        "_unread",
        "_verify",
        "written",
    )

    def __init__(
        self,
        item: Item,
        files: Files,
        session: Session,
        unread: UnreadPrefetches,
        *,
        idle: float,
        verify: bool,
    ) -> None:
        self._item = item
        self._files = files
        self._session = session
        self._unread = unread
        self._idle = idle
        self._verify = verify
        self._descriptor = -1
        self._checksum: _Checksum | None = None
        self.written = 0

    @property
    def descriptor(self) -> int:
        """The open partial file."""
        return self._descriptor

    def open(self, info: ObjectInfo, *, in_order: bool = True) -> None:
        """Creates the partial file.

        Args:
            in_order: whether the bytes are written from the first to the last.

        Raises:
            OSError: it cannot be created.
        """
        flags = os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC
        path = self._files.temporary(self._item.token)
        try:
            self._descriptor = os.open(path, flags, 0o644)
        except FileNotFoundError:
            # The cache directory was removed while it was in use.
            self._files.prepare()
            self._descriptor = os.open(path, flags, 0o644)
        self.written = 0
        self._checksum = _Checksum(info) if self._verify and in_order else None

    def allocate(self, size: int) -> None:
        """Makes the file ``size`` bytes long, and takes the space for it where the file system can."""
        try:
            os.posix_fallocate(self._descriptor, 0, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.ftruncate(self._descriptor, size)

    def write(self, chunks: Sequence[bytes]) -> None:
        """Writes the next bytes.

        Raises:
            OSError: the disk does not take them.
            SessionLostError: our claim on the object is void.
        """
        if not self._session.owns(self._item.token):
            raise SessionLostError
        size = sum(map(len, chunks))
        done = os.pwritev(self._descriptor, chunks, self.written)
        if done != size:
            rest = memoryview(b"".join(chunks))
            while done < size:
                done += os.pwrite(self._descriptor, rest[done:], self.written + done)
        if self._checksum is not None:
            for chunk in chunks:
                self._checksum.update(chunk)
        self.written += size

    def publish(self, info: ObjectInfo, size: int, reservation: Reservation) -> Download:
        """Makes the complete file appear under its name, at once.

        Raises:
            TransientSourceError: it does not have the source's checksum.
            SessionLostError: our claim on the object is void.
            OSError: there is no place for it.
        """
        item = self._item
        if self._verify and not self._is_right(info):
            reason = f"the {size} bytes that arrived do not have the source's checksum"
            raise TransientSourceError(item.uri.redacted, reason, "checksum")
        now = time.time()
        used = now - self._idle
        modified = now if info.modified is None else info.modified
        os.utime(self._descriptor, ns=(int(used * 1e9), int(modified * 1e9)))
        self._close()
        reservation.shrink(size)
        path = publish(self._files, self._session, item.token, item.entry, replaces=bool(item.old))
        if self._idle:
            self._unread.note(item.entry, path, used)
        reservation.hand_over()
        # Only an escape can keep a URI from being told from the entry's name.
        uri = item.uri.redacted if "%" in item.entry and not uri_of(item.entry) else ""
        value = Entry(size, info.etag or "", int(now), uri).format()
        return Download(item.entry, item.token, size, used, value)

    def discard(self) -> None:
        """Removes the partial file, if there is one."""
        if self._descriptor >= 0:
            self._close()
            remove_if_there(self._files.temporary(self._item.token))

    def _is_right(self, info: ObjectInfo) -> bool:
        """Whether the file has the checksums that its source gives; reads it again if it came in ranges."""
        checksum, offset = self._checksum, 0
        if checksum is None:
            checksum = _Checksum(info)
            while chunk := os.pread(self._descriptor, 1 << 20, offset):
                checksum.update(chunk)
                offset += len(chunk)
        return checksum.matches

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


class _Checksum:
    """Computes the checksums that a source gives for an object."""

    def __init__(self, info: ObjectInfo) -> None:
        self._wanted = info.md5
        self._md5 = None if info.md5 is None else hashlib.md5(usedforsecurity=False)
        self._other = None if info.checksum is None else Digest(info.checksum)

    def update(self, chunk: bytes) -> None:
        """Adds the next bytes."""
        if self._md5 is not None:
            self._md5.update(chunk)
        if self._other is not None:
            self._other.update(chunk)

    @property
    def matches(self) -> bool:
        """Whether the bytes so far have them."""
        right = self._md5 is None or self._md5.hexdigest() == self._wanted
        return right and (self._other is None or self._other.matches)
