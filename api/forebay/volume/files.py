"""The files of one volume: where they lie, the marks of their use, their removal, the space they leave."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterable, Sequence

from forebay.errors import VolumeError
from forebay.uri import Layout

# A process that only ever hits never talks to the index, so its list of accesses is bounded. The files
# bear the marks all the same.
_MAX_TOUCHED = 100_000


class Files:
    """One volume's files on this machine; safe to use from many threads, and after a fork.

    Args:
        cache_dir: the volume's directory; it need not exist yet.
        min_free_bytes: how much of the disk downloads leave free.
    """

    def __init__(self, cache_dir: str, min_free_bytes: int = 0) -> None:
        self.cache_dir = cache_dir
        self._min_free_bytes = min_free_bytes
        self._layout: Layout | None = None
        self._touched: dict[str, float] = {}

    def layout(self) -> Layout:
        """The names of files and directories. The first call asks the file system about its letter case.

        Raises:
            VolumeError: another machine has the directory.
        """
        if self._layout is None:
            self._layout = Layout(self.cache_dir, fold_case=_folds_case(self.cache_dir))
        return self._layout

    # Finding

    def locate(self, entry: str) -> str | None:
        """The path of an entry's file, or ``None`` when it is not cached."""
        layout = self._layout or self.layout()
        path = layout.path(entry)
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            pass
        path = layout.alternate_path(entry)
        try:
            return path if stat.S_ISREG(os.stat(path).st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def touch(self, entry: str) -> str | None:
        """Like `locate`, and the entry counts as used now: the evictor spares it for the grace period.

        This makes no round trip: the file bears the mark, and the heartbeat of a process that has a session
        tells the index.
        """
        now = time.time()
        layout = self._layout or self.layout()
        path = layout.path(entry)
        try:
            if not _mark(path, now):
                path = layout.alternate_path(entry)
                if not _mark(path, now):
                    return None
        except PermissionError:
            # A volume that this user may only read: the file cannot bear the mark, but the index
            # still learns of the access.
            pass
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(self._touched) < _MAX_TOUCHED:
            self._touched[entry] = now
        return path

    def touch_published(self, entries: Sequence[str], published: Sequence[bool]) -> list[bool]:
        """Which entries are cached, of those that the index says are published; they count as used now."""
        return [
            there and self.touch(entry) is not None for entry, there in zip(entries, published, strict=True)
        ]

    def take_touched(self) -> dict[str, float]:
        """Entries that were used since the last call, with the times in seconds since the epoch."""
        # One by one: another thread may be adding to it, and what it adds must not be lost.
        touched = {}
        while self._touched:
            entry, at = self._touched.popitem()
            touched[entry] = at
        return touched

    # Changing

    def prepare(self) -> None:
        """Makes the directories.

        Raises:
            VolumeError: they cannot be made, or cannot be written.
        """
        layout = self.layout()
        try:
            os.makedirs(layout.media_dir, exist_ok=True)
            os.makedirs(layout.temporary_dir, mode=0o700, exist_ok=True)
            probe = os.path.join(layout.temporary_dir, f"probe.{os.getpid()}.{threading.get_ident()}")
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            os.unlink(probe)
        except OSError as error:
            raise VolumeError(
                f"the cache directory {layout.cache_dir} cannot be written ({error.strerror}): "
                "fix it, or set FIFTYONE_MEDIA_CACHE_DIR to another one",
                path=layout.cache_dir,
            ) from None

    def remove(self, entry: str) -> None:
        """Removes an entry's file, wherever it lies.

        Raises:
            OSError: it cannot be removed.
        """
        layout = self.layout()
        for path in (layout.path(entry), layout.alternate_path(entry)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                os.unlink(path)

    def prune(self, entries: Iterable[str]) -> None:
        """Removes the directories that are empty without these entries."""
        layout = self.layout()
        stop = len(layout.media_dir)
        paths = [make(entry) for entry in entries for make in (layout.path, layout.alternate_path)]
        for directory in {os.path.dirname(path) for path in paths}:
            while len(directory) > stop:
                try:
                    os.rmdir(directory)
                except OSError:
                    break
                directory = os.path.dirname(directory)  # noqa: PLW2901

    # Partial files

    def temporary(self, token: str) -> str:
        """The partial file of the download that a claim's token stands for."""
        return f"{self.layout().temporary_dir}/{token}"

    def temporaries(self) -> list[str]:
        """The names of all partial files; each is the token of a claim."""
        return os.listdir(self.layout().temporary_dir)

    def remove_temporary(self, token: str) -> None:
        """Removes a partial file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.temporary(token))

    # Space

    def free_bytes(self) -> int:
        """Free space of the disk, in bytes."""
        self.layout()
        try:
            found = os.statvfs(self.cache_dir)
        except FileNotFoundError:
            # The directory was removed while it was in use.
            self.prepare()
            found = os.statvfs(self.cache_dir)
        return found.f_bavail * found.f_frsize

    def is_disk_short(self, size: int) -> bool:
        """Whether ``size`` more bytes would leave less free space than the settings ask for."""
        return self.free_bytes() - size < self._min_free_bytes


class AbsentFiles(Files):
    """The files of a volume that another machine has: its index can be asked, its files cannot be touched.

    Args:
        place: where the directory is, as ``host:directory``.
        volume: the volume's name, for errors.
    """

    def __init__(self, place: str, volume: str) -> None:
        super().__init__(place)
        self.place = place
        self._volume = volume

    def layout(self) -> Layout:
        """Always raises `VolumeError`, which says where the files are."""
        raise VolumeError(
            f"volume {self._volume!r} is not on this machine: it is {self.place}; its workers can "
            "fill it (--dispatch fleet), its files are there only",
            volume=self._volume,
        )

    def touch_published(self, entries: Sequence[str], published: Sequence[bool]) -> list[bool]:
        """Returns ``published``: the word of the index is all there is to go by."""
        return list(published)


def _mark(path: str, now: float) -> bool:
    """Sets a file's access time; false where there is no such file."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    os.utime(path, ns=(int(now * 1e9), found.st_mtime_ns))
    return True


def _folds_case(cache_dir: str) -> bool:
    """Whether the file system takes ``A`` and ``a`` for the same name."""
    path = cache_dir
    while not os.path.exists(path) or os.path.basename(path).swapcase() == os.path.basename(path):
        if path == os.path.dirname(path):
            return False
        path = os.path.dirname(path)
    swapped = os.path.join(os.path.dirname(path), os.path.basename(path).swapcase())
    return os.path.exists(swapped) and os.path.samefile(path, swapped)
