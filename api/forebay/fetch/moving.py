"""Moving a local file into the cache as the copy of an object that was written from it.

On the file system of the cache the file gets a second name, under which it is published, and then loses its
first one. So it is never without a name, whenever this process is killed. From elsewhere it is copied.
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO, NamedTuple

from typing_extensions import Self

from forebay.errors import SourceError
from forebay.eviction.room import Room
from forebay.fetch.destination import Destination
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.refusals import disk_error
from forebay.fetch.storing import changed, claim, make_room, write
from forebay.fetch.work import Item
from forebay.index import SessionLostError
from forebay.sources.base import ObjectInfo
from forebay.volume.recovery import Recovery


class _Marks(NamedTuple):
    device: int
    node: int
    size: int
    modified: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class FileState(NamedTuple):
    """What tells a file from another one, and from itself before it was changed.

    Attributes:
        opened: of the file.
        named: of what lies at its path, which may be a link.
    """

    opened: _Marks
    named: _Marks

    @classmethod
    def of(cls, path: str, file: BinaryIO) -> Self:
        """The present state of an open file.

        Raises:
            OSError: nothing is at its path any more.
        """
        return cls(_Marks.of(os.fstat(file.fileno())), _Marks.of(os.lstat(path)))


def move(
    destination: Destination, recovery: Recovery, room: Room, info: ObjectInfo, path: str, state: FileState
) -> None:
    """Moves a file into the cache.

    Args:
        info: what the source said of the object that was written; its URI is the object's.
        path: of the file, which is not in the cache's own directory.
        state: of the file before it was written to the source.

    Raises:
        CacheFullError: there is no room for it. The file stays.
        SourceError: the file was changed after it was written to the source, or cannot be removed. It stays;
            and as it may be the one in the cache, too, the caller drops the entry.
        OSError: the file cannot be opened.
        ForebayError: Redis cannot be reached. The file stays.
    """
    with open(path, "rb") as file:
        while True:
            item = claim(destination, recovery, info)
            with contextlib.suppress(SessionLostError):
                _Move(item, destination, info, path, file, state).run(room)
                return


class _Move:
    """One attempt."""

    def __init__(
        self, item: Item, to: Destination, info: ObjectInfo, path: str, file: BinaryIO, state: FileState
    ) -> None:
        self._item = item
        self._to = to
        self._info = info
        self._path = path
        self._file = file
        self._state = state
        self._before = os.fstat(file.fileno())
        self._is_linked = False

    def run(self, room: Room) -> None:
        item, session, size = self._item, self._to.session, self._state.opened.size
        place = PartialFile(item, self._to, idle=0.0, verify=True)
        reservation = session.reservation(item.token)
        try:
            make_room(item, self._to, room, reservation, size)
            self._is_linked = place.link(self._info, self._path, self._file)
            if not self._is_linked:
                write(place, self._info, self._file, size)
            self._check()
            download = place.publish(self._info, size, reservation)
        except BaseException as error:
            place.discard()
            self._undo()
            reservation.close()
            session.release([(item.entry, item.token)])
            if isinstance(error, OSError):
                raise disk_error(item.uri, error, self._to.config.limit) from None
            raise
        published = _Marks.of(os.fstat(self._file.fileno()))
        try:
            [is_ours] = session.commit([download])
        except BaseException:
            self._undo()
            session.leave(download)
            session.abandon([(item.entry, item.token)])
            raise
        if not is_ours:
            self._undo()
            raise SessionLostError
        self._remove(published)

    def _check(self) -> None:
        try:
            is_same = FileState.of(self._path, self._file) == self._state
        except FileNotFoundError:
            is_same = False
        if not is_same or self._info.size not in (None, self._state.opened.size):
            raise changed(self._info)

    def _remove(self, published: _Marks) -> None:
        """Takes its own name from the file, unless it has been changed, or another file has the name."""
        try:
            named = os.lstat(self._path)
            is_same = (named.st_dev, named.st_ino) == self._state.named[:2]
            if not is_same or _Marks.of(os.fstat(self._file.fileno())) != published:
                raise changed(self._info)
            os.unlink(self._path)
        except FileNotFoundError:
            # Another process has removed it.
            return
        except OSError as error:
            reason = f"was written, but the local file {self._path} cannot be removed: {error.strerror}"
            raise SourceError(self._item.uri.redacted, reason) from None

    def _undo(self) -> None:
        """Makes the file again what it was, and no part of the cache, which writes to it would change."""
        if not self._is_linked:
            return
        before, descriptor = self._before, self._file.fileno()
        with contextlib.suppress(OSError):
            found = self._to.files.find(self._item.entry)
            if found is not None and os.path.samestat(found.status, before):
                self._to.files.remove_path(found.path)
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == before.st_size:
                os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fchmod(descriptor, before.st_mode & 0o7777)
