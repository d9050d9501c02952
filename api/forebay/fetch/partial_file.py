"""The place of one object on the volume: a partial file that becomes the entry's file, or nothing at all."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

from forebay.errors import ChecksumError, TransientSourceError
from forebay.fetch.arrivals import Arrival
from forebay.fetch.destination import Destination
from forebay.fetch.publishing import publish
from forebay.fetch.work import Item
from forebay.index import Download, SessionLostError, entry_value
from forebay.sources.base import ObjectInfo
from forebay.sources.checksums import Checksums, Digest, named
from forebay.uri import canonical_uri, uri_of
from forebay.volume.reservation import Reservation


class PartialFile:
    """A partial file, from its creation to its rename.

    Args:
        item: the object; its token names the partial file.
        destination: where to.
        idle: for how many seconds the entry counts as not used when it appears.
        verify: whether the source's checksum is compared; that of the item always is.

    Attributes:
        descriptor: of the open partial file, else -1.
        written: bytes.
    """

    __slots__ = (
        "_arrival",
        "_checksum",
        "_exists",
        "_idle",
        "_item",
        "_listed",
        "_path",
        "_to",
        "_verify",
        "descriptor",
        "written",
    )

    def __init__(self, item: Item, destination: Destination, *, idle: float, verify: bool) -> None:
        self._item = item
        self._to = destination
        self._idle = idle
        self._verify = verify
        self._path = destination.files.temporary(item.token)
        self.descriptor = -1
        # Whether there may be a partial file.
        self._exists = False
        self._checksum: Checksums | None = None
        self._listed: Digest | None = None
        self._arrival: Arrival | None = None
        self.written = 0

    def open(self, info: ObjectInfo, *, in_order: bool = True) -> None:
        """Creates the partial file.

        What cleans up after a session, or after all of them, removes the partial files that it finds, and
        counts no others. So nothing is written into one that is created later.

        Args:
            in_order: whether the bytes are written from the first to the last.

        Raises:
            SessionLostError: our claim on the object is void.
            OSError: it cannot be created.
        """
        try:
            self.descriptor = self._to.files.create_temporary(self._item.token)
        except FileNotFoundError:
            # The cache directory was removed while it was in use.
            self._to.files.prepare()
            self.descriptor = self._to.files.create_temporary(self._item.token)
        self._exists = True
        self.written = 0
        if not self._to.session.may_write(self._item.token):
            raise SessionLostError
        self._checksum = Checksums(info) if self._verify and in_order else None
        self._listed = Digest(named(self._item.checksum)) if self._item.checksum and in_order else None

    def share(self, info: ObjectInfo) -> Arrival | None:
        """Lets the neighbours read it while it arrives, where there are any.

        What came from a neighbour is not read on from here: so none waits for one that waits for it.
        """
        to, item = self._to, self._item
        if to.config.group is None or item.origin != "cloud" or item.block is not None or item.old:
            return None
        self._arrival = Arrival(info, self._path, to.config.range_size_bytes)
        to.arrivals.begin(item.entry, self._arrival)
        return self._arrival

    def link(self, info: ObjectInfo, path: str, file: BinaryIO) -> bool:
        """Makes the partial file another name of a complete file elsewhere, in place of `open` and `write`.

        Args:
            path: of that file, which gets the permissions of cached files.
            file: the same, open.

        Returns:
            false where the file must be copied, as the file system has it so; or because it has other names,
            or another owner.

        Raises:
            SessionLostError: our claim on the object is void.
            OSError: the partial file cannot be created.
        """
        self.open(info, in_order=False)
        try:
            is_linked = self._is_linked(path, file)
        except OSError:
            is_linked = False
        if not is_linked:
            self.discard()
            return False
        self._close()
        self.descriptor, self.written = os.dup(file.fileno()), os.fstat(file.fileno()).st_size
        if not self._to.session.may_write(self._item.token):
            raise SessionLostError
        return True

    def _is_linked(self, path: str, file: BinaryIO) -> bool:
        ours, found = os.fstat(self.descriptor), os.fstat(file.fileno())
        if found.st_nlink != 1 or (found.st_uid, found.st_gid) != (ours.st_uid, ours.st_gid):
            return False
        beneath = self._to.files.beneath
        beneath.unlink(self._path)
        beneath.link(path, self._path)
        # Else a link was linked, or the file was replaced a moment ago.
        if not os.path.samestat(beneath.status(self._path), found):
            return False
        os.fchmod(file.fileno(), ours.st_mode & 0o777)
        return True

    def write(self, chunks: Sequence[bytes], size: int) -> None:
        """Writes the next ``size`` bytes.

        Raises:
            OSError: the disk does not take them.
            SessionLostError: our claim on the object is void.
        """
        # What is written at once is published at once, and then it is looked whether the claim is void. A
        # file that recovery has removed is no longer counted, so it must not grow.
        if self.written and not (
            self._to.session.owns(self._item.token) and os.fstat(self.descriptor).st_nlink
        ):
            raise SessionLostError
        done = os.pwritev(self.descriptor, chunks, self.written)
        if done != size:
            rest = memoryview(b"".join(chunks))
            while done < size:
                done += os.pwrite(self.descriptor, rest[done:], self.written + done)
        if self._checksum is not None:
            for chunk in chunks:
                self._checksum.update(chunk)
        if self._listed is not None:
            for chunk in chunks:
                self._listed.update(chunk)
        self.written += size

    def publish(self, info: ObjectInfo, size: int, reservation: Reservation) -> Download:
        """Makes the complete file appear under its name, at once.

        Raises:
            TransientSourceError: it does not have the source's checksum.
            ChecksumError: it does not have the checksum that the list of samples gives.
            SessionLostError: our claim on the object is void.
            OSError: there is no place for it.
        """
        item = self._item
        if self._verify and not self._is_right(info):
            reason = f"the {size} bytes that arrived do not have the source's checksum"
            raise TransientSourceError(item.uri.redacted, reason, "checksum")
        if item.checksum and not self._is_as_listed():
            reason = f"its {size} bytes do not have the checksum of the list, {item.checksum}"
            raise ChecksumError(item.uri.redacted, reason)
        now = time.time()
        used = now - self._idle
        modified = now if info.modified is None else info.modified
        os.utime(self.descriptor, ns=(int(used * 1e9), int(modified * 1e9)))
        self._close()
        reservation.shrink(size)
        path = publish(self._to, self._path, item.token, item.entry, replaces=bool(item.old))
        self._exists = False
        self._end_arrival(is_complete=True)
        if self._idle:
            self._to.unread.note(item.entry, path, used)
        reservation.hand_over()
        # Only an escape can keep a URI from being told from the entry's name.
        told = "%" not in item.entry or uri_of(item.entry)
        uri = "" if told else canonical_uri(item.uri.redacted)
        value = entry_value(size, info.etag or "", int(now), uri)
        return Download(item.entry, item.token, size, used, value)

    def discard(self) -> None:
        """Removes the partial file, if there is one."""
        self._end_arrival(is_complete=False)
        if self.descriptor >= 0:
            # A disk that fails may fail here, too. What is left of the file goes with the session.
            with contextlib.suppress(OSError):
                self._close()
        if self._exists:
            self._exists = False
            self._to.files.remove_temporary(self._item.token)

    def _end_arrival(self, *, is_complete: bool) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            self._to.arrivals.end(self._item.entry, arrival, is_complete=is_complete)

    def _is_right(self, info: ObjectInfo) -> bool:
        """Whether the file has the checksums that its source gives; reads it again if it came in ranges."""
        checksum = self._checksum
        if checksum is None:
            checksum = Checksums(info)
            self._read_again(checksum.update)
        return checksum.matches

    def _is_as_listed(self) -> bool:
        """Whether the file has the checksum that the list gives; reads it again if it came in ranges."""
        listed = self._listed
        if listed is None:
            listed = Digest(named(self._item.checksum))
            self._read_again(listed.update)
        return listed.matches

    def _read_again(self, update: Callable[[bytes], object]) -> None:
        offset = 0
        while chunk := os.pread(self.descriptor, 1 << 20, offset):
            update(chunk)
            offset += len(chunk)

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)
