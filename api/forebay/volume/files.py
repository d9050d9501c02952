"""The files of one volume: where they lie, the marks of their use, their removal, the space they leave."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from forebay.errors import VolumeError
from forebay.new_directories import DIRECTORY_MODE, make_directories
from forebay.uri import Layout, is_entry
from forebay.volume.beneath import Beneath, absence
from forebay.volume.disk import (
    FULL,
    PROBE,
    can_rename,
    files_below,
    folds_case,
    lacks_inodes,
    longest_name,
    refuse_links,
    unreadable,
)
from forebay.volume.reached_files import ReachedFiles
from forebay.volume.signs import is_leaving

log = logging.getLogger(__name__)

# There is no file of that name, and none can be.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
# A process that only ever hits never talks to the index, so its list of accesses is bounded. The files
# bear the marks all the same.
_MAX_TOUCHED = 100_000
_MAX_TOLD = 1000
# What is removed is looked for again and again.
_PLACES = 4096
# Beside partial files: NFS keeps files of such names while they are open, and then removes them; other
# processes look at the disk when they start.
_OTHERS = (".nfs", PROBE)

# Tokens name partial files.
TOKEN = re.compile(r"[A-Za-z0-9?_-][A-Za-z0-9?._-]{0,200}\Z")


class FoundFile(NamedTuple):
    """The file of an entry, and its status when it was looked for."""

    path: str
    status: os.stat_result


class Files:
    """One volume's files on this machine; safe to use from many threads, and after a fork.

    Args:
        cache_dir: the volume's directory; it need not exist yet.
        min_free_bytes: how much of the disk downloads leave free.
        directory_mode: the permissions of new directories for cached files.
    """

    def __init__(self, cache_dir: str, min_free_bytes: int = 0, directory_mode: int = DIRECTORY_MODE) -> None:
        self.cache_dir = cache_dir
        self._min_free_bytes = min_free_bytes
        self.beneath = Beneath(cache_dir)
        self._directory_mode = directory_mode
        self._layout: Layout | None = None
        self._places = lru_cache(_PLACES)(self._find_places)
        self._touched: dict[str, float] = {}
        self.last_size = 0
        self._is_reached = ReachedFiles(self.beneath)
        # The paths that the log has a warning about.
        self._told: set[str] = set()

    def layout(self) -> Layout:
        """The names of files and directories. The first call asks the file system about its own names.

        Raises:
            VolumeError: another machine has the directory.
        """
        if self._layout is None:
            self._layout = Layout(
                self.cache_dir,
                fold_case=folds_case(self.cache_dir),
                max_name=longest_name(self.cache_dir),
            )
        return self._layout

    # Finding

    def locate(self, entry: str) -> str | None:
        """The path of an entry's file, or ``None`` when it is not cached.

        Raises:
            VolumeError: it cannot be told, as this user may not enter the directory, or the disk does not
                answer.
        """
        found = self.find(entry)
        return None if found is None else found.path

    def find(self, entry: str, *, beyond: str = "") -> FoundFile | None:
        """Like `locate`, with the file's status.

        Args:
            beyond: a place of the entry's that is not looked at, nor those before it.

        Raises:
            VolumeError: as `locate`.
        """
        places = self._places(entry)
        for path in places[places.index(beyond) + 1 :] if beyond else places:
            status = self._regular_file(path)
            if status is not None:
                return FoundFile(path, status)
        return None

    def is_there(self, entry: str) -> bool:
        """Whether an entry has a file; true also where it cannot be told."""
        try:
            return self.locate(entry) is not None
        except VolumeError:
            return True

    def obstacle(self, entry: str) -> VolumeError | None:
        """Why it cannot be told whether an entry has a file; ``None`` where it can."""
        try:
            self.locate(entry)
        except VolumeError as error:
            return error
        return None

    def touch(self, entry: str) -> str | None:
        """Like `locate`, and the entry counts as used now: the evictor spares it for the grace period.

        This makes no round trip: the file bears the mark, and the heartbeat of a process that has a session
        tells the index.

        Raises:
            VolumeError: as `locate`.
        """
        now = time.time()
        layout = self._layout or self.layout()
        path = layout.path(entry)
        if not self._mark(path, now):
            path = layout.alternate_path(entry)
            if not self._mark(path, now):
                return None
        if len(self._touched) < _MAX_TOUCHED:
            self._touched[entry] = now
        return path

    def take_touched(self) -> dict[str, float]:
        """Entries that were used since the last call, with the times in seconds since the epoch."""
        # One by one: another thread may be adding to it, and what it adds must not be lost.
        touched = {}
        while self._touched:
            entry, at = self._touched.popitem()
            touched[entry] = at
        return touched

    def _mark(self, path: str, now: float) -> bool:
        """Sets a file's access time; false where there is no such file."""
        try:
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode) or not self._is_reached(path, found):
                return False
            self.last_size = found.st_size
        except OSError as error:
            return self._absent(path, error)
        try:
            os.utime(path, ns=(int(now * 1e9), found.st_mtime_ns))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno is None:  # Not of the disk: the handler of a signal raised it.
                raise
            # A volume that this user may only read, or a disk that takes nothing: the file cannot bear the
            # mark, but the index still learns of the access.
        # In this order: see `forebay.volume.leaving`.
        try:
            return not is_leaving(os.lstat(path))
        except OSError as error:
            return self._absent(path, error)

    def _regular_file(self, path: str) -> os.stat_result | None:
        """The status of a regular file; ``None`` where there is no such file.

        Raises:
            VolumeError: it cannot be told.
        """
        try:
            found = self.beneath.status(path)
            return found if stat.S_ISREG(found.st_mode) else None
        except OSError as error:
            self._absent(path, error)
            return None

    def _absent(self, path: str, error: OSError) -> bool:
        """Returns false where an error says that there is no such file.

        Raises:
            VolumeError: it says something else.
        """
        if error.errno in _ABSENT:
            return False
        if error.errno is None:
            raise error
        raise unreadable(path, error) from None

    # Changing

    def prepare(self) -> None:
        """Makes the directories. A full disk is no error where they are there: what frees space needs none.

        Raises:
            VolumeError: they cannot be made, or cannot be written.
        """
        layout = self.layout()
        try:
            make_directories(layout.cache_dir)
            self.beneath.make_directories(layout.media_dir, self._directory_mode)
            self.beneath.make_directories(layout.private_dir)
            self.beneath.make_directories(layout.temporary_dir, 0o700)
            if not can_rename(layout.temporary_dir, layout.media_dir):
                # A disk of its own is mounted there, and a file appears at once on its own disk only.
                layout.use_temporary_dir_of_media()
                self.beneath.make_directories(layout.temporary_dir, 0o700)
        except OSError as error:
            refuse_links(layout.cache_dir, (layout.media_dir, layout.private_dir, layout.temporary_dir))
            if error.errno in FULL and os.path.isdir(layout.media_dir) and os.path.isdir(layout.private_dir):
                return
            raise VolumeError(
                f"the cache directory {layout.cache_dir} cannot be written ({error.strerror}): "
                "fix it, or set FIFTYONE_MEDIA_CACHE_DIR to another one",
                path=layout.cache_dir,
                errno=error.errno,
            ) from None

    def remove(self, entry: str) -> None:
        """Removes an entry's file, wherever it lies.

        Raises:
            OSError: it cannot be removed.
        """
        for path in self._places(entry):
            self.remove_path(path)

    def remove_path(self, path: str) -> None:
        """Removes the file at a path of this volume, if there is one.

        Raises:
            OSError: it cannot be removed.
        """
        try:
            with absence():
                self.beneath.unlink(path)
        except (IsADirectoryError, PermissionError):
            # POSIX says the second of a directory.
            if not self.beneath.is_directory(path):
                raise

    def prune(self, entries: Iterable[str]) -> None:
        """Removes the directories that are empty without these entries."""
        stop = len(self.layout().media_dir)
        for directory in {os.path.dirname(path) for entry in entries for path in self._places(entry)}:
            while len(directory) > stop:
                try:
                    self.beneath.rmdir(directory)
                except OSError:
                    break
                directory = os.path.dirname(directory)  # noqa: PLW2901

    def put_in_place(self, temporary: str, path: str) -> None:
        """Moves a partial file to a path of this volume, whose directory must be there.

        Raises:
            NotADirectoryError, IsADirectoryError: something else is in its way, such as a link.
            OSError: it cannot be moved.
        """
        self.beneath.rename(temporary, path)

    def make_room_for(self, path: str) -> None:
        """Makes the directory of a path of this volume.

        Raises:
            OSError: it cannot be made.
        """
        self.beneath.make_directories(os.path.dirname(path), self._directory_mode)

    def _find_places(self, entry: str) -> tuple[str, ...]:
        """Where an entry's file may lie; nowhere for what is no entry, as Redis may hold anything."""
        if not is_entry(entry):
            return ()
        layout = self._layout or self.layout()
        return layout.path(entry), layout.alternate_path(entry)

    # Partial files

    def temporary(self, token: str) -> str:
        """The partial file of the download that a claim's token stands for."""
        return f"{self.layout().temporary_dir}/{token}"

    def create_temporary(self, token: str) -> int:
        """Makes, or empties, a partial file; returns its descriptor.

        Raises:
            OSError: it cannot be made.
        """
        return self.beneath.create(self.temporary(token))

    def temporaries(self) -> list[str]:
        """The names of all partial files; each is the token of a claim.

        Where they cannot be listed, the log has a warning, and there are none.
        """
        directory = self.layout().temporary_dir
        try:
            return [name for name in os.listdir(directory) if not name.startswith(_OTHERS)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._warn(directory, f"cannot be listed: {error.strerror}")
            return []

    def remove_temporary(self, token: str) -> None:
        """Removes a partial file, if there is one; the log has a warning about what cannot be removed."""
        if not TOKEN.match(token):  # Redis may hold anything.
            return
        path = self.temporary(token)
        try:
            with absence():
                self.beneath.unlink(path)
        except OSError as error:
            self._warn(path, f"cannot be removed: {error.strerror}")

    # What lies there

    def stored(self) -> Iterator[tuple[str, int]]:
        """The path and the size in bytes of every file below the directory of the media."""
        layout = self.layout()
        return files_below(layout.media_dir, without=layout.temporary_dir)

    def unfinished(self) -> Iterator[tuple[str, int]]:
        """The path and the size in bytes of every partial file."""
        return files_below(self.layout().temporary_dir)

    # Space

    def free_bytes(self) -> int:
        """Free space of the disk, in bytes.

        Raises:
            VolumeError: the disk does not say.
        """
        found = self._disk()
        return found.f_bavail * found.f_frsize

    def is_disk_short(self, size: int) -> bool:
        """Whether a file of ``size`` more bytes would leave less free space than the settings ask for, or too
        few inodes.

        Raises:
            VolumeError: the disk does not say.
        """
        found = self._disk()
        return found.f_bavail * found.f_frsize - size < self._min_free_bytes or lacks_inodes(found)

    def lacks_inodes(self) -> bool:
        """Whether the disk has too few inodes left for more files.

        Raises:
            VolumeError: the disk does not say.
        """
        return lacks_inodes(self._disk())

    def _disk(self) -> os.statvfs_result:
        directory = self.layout().media_dir
        try:
            try:
                return os.statvfs(directory)
            except FileNotFoundError:
                # The directory was removed while it was in use.
                self.prepare()
                return os.statvfs(directory)
        except OSError as error:
            raise unreadable(directory, error) from None

    def _warn(self, path: str, problem: str) -> None:
        """Warns about a path, once: it is met again and again."""
        if path not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(path)
            log.warning("%s %s", path, problem)
