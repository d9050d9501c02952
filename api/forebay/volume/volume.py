"""A volume: one cache directory and its index, as one process sees them.

Opening a volume makes sure that the directory can be written, that it belongs to this index, and
that what lies in it is accounted for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import Sequence
from functools import cached_property

from forebay.config import MediaCacheConfig
from forebay.errors import VolumeError
from forebay.index import Index, Reservation
from forebay.uri import Layout
from forebay.volume import registry
from forebay.volume.counters import Meter
from forebay.volume.session import Session
from forebay.volume.unread import Untouched

log = logging.getLogger(__name__)

_MOST_USED = 100_000


class Volume:
    """One process's view of a volume; safe to use from many threads, and after a fork.

    Nothing is opened before it is needed: looking up the path of a cached file touches no index.

    Args:
        config: the settings.
        elsewhere: for a volume whose directory this machine does not have, where that is
            (``host:directory``). Its index can be asked and its fleet be given jobs; whatever touches a
            file raises `VolumeError`.

    Attributes:
        meter: what this process counts.
    """

    def __init__(self, config: MediaCacheConfig, *, elsewhere: str = "") -> None:
        self.config = config
        self.elsewhere = elsewhere
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._used: dict[str, float] = {}
        self.untouched = Untouched()
        self.meter = Meter()

    @cached_property
    def layout(self) -> Layout:
        """Where files lie.

        Raises:
            VolumeError: the directory is elsewhere.
        """
        if self.elsewhere:
            raise VolumeError(self._not_here())
        return Layout(self.config.cache_dir, fold_case=_folds_case(self.config.cache_dir))

    # Files

    def locate(self, entry: str) -> str | None:
        """The path of an entry's file, or ``None`` when it is not cached."""
        path = self.layout.path(entry)
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            pass
        path = self.layout.alternate_path(entry)
        try:
            return path if stat.S_ISREG(os.stat(path).st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, entry: str) -> None:
        """Removes an entry's file, wherever it lies.

        Raises:
            OSError: it cannot be removed.
        """
        for path in (self.layout.path(entry), self.layout.alternate_path(entry)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                os.unlink(path)

    def use(self, entry: str) -> str | None:
        """Like `locate`, and the entry counts as used now: the evictor leaves it alone for the grace
        period. No round trip to the index: the file bears the mark, and the heartbeat of a process that has
        a session tells the index."""
        now = time.time()
        path = self.layout.path(entry)
        try:
            if not _mark(path, now):
                path = self.layout.alternate_path(entry)
                if not _mark(path, now):
                    return None
        except PermissionError:
            # A volume that this user may only read: the file cannot bear the mark, but the index
            # still learns of the access.
            pass
        except (FileNotFoundError, NotADirectoryError):
            return None
        # Bounded for a process that only ever hits, and so never talks to the index; its marks are on
        # the files.
        if len(self._used) < _MOST_USED:
            self._used[entry] = now
        return path

    def present(self, entries: Sequence[str]) -> list[bool]:
        """Which entries are cached; those count as used now. Where the directory is elsewhere, the index's
        word is enough."""
        found = self.index.present(entries)
        if self.elsewhere:
            return found
        return [there and self.use(entry) is not None for entry, there in zip(entries, found, strict=True)]

    def temporary(self, token: str) -> str:
        """The partial file of the download that a claim's token stands for."""
        return f"{self.layout.temporary_dir}/{token}"

    def free_bytes(self) -> int:
        """Free space of the disk, in bytes."""
        try:
            found = os.statvfs(self.config.cache_dir)
        except FileNotFoundError:
            # Somebody removed it.
            prepare(self.layout)
            found = os.statvfs(self.config.cache_dir)
        return found.f_bavail * found.f_frsize

    def disk_is_short(self, size: int) -> bool:
        """Whether ``size`` more bytes would leave less free space than the settings ask for."""
        return self.free_bytes() - size < self.config.min_free_bytes

    # The index

    @property
    def index(self) -> Index:
        """The index; opened, and the volume checked, by whoever asks first in this process."""
        return self._open().index

    @property
    def session(self) -> Session:
        """This process's session.

        Raises:
            VolumeError: the directory is elsewhere, or another user's.
        """
        if self.elsewhere:
            raise VolumeError(self._not_here())
        opened = self._open()
        if opened.refusal is not None:
            raise opened.refusal
        if opened.session is None:
            with self._lock:
                if opened.session is None:
                    registry.announce(opened.index, self.config)
                    opened.session = Session(opened.index, self.config.claim_ttl_seconds, self.config.limit)
                    opened.session_seen = opened.session.id
                    opened.pulse.start()
        return opened.session

    def check_writable(self) -> None:
        """Makes sure that the directory can be written, as far as this machine has it.

        A volume that is another user's can be read, and its index asked; its workers can fill it.

        Raises:
            VolumeError: it cannot.
        """
        refusal = self._open().refusal
        if refusal is not None:
            raise refusal

    @property
    def is_open(self) -> bool:
        """Whether this process has talked to the index."""
        return self._pid == os.getpid() and "_opened" in self.__dict__

    def reserve(self, size: int, token: str) -> Reservation | None:
        """Reserves space for the download that has the claim ``token``.

        Returns:
            ``None`` when it is reserved, otherwise what stands in the way.

        Raises:
            SessionLostError: the session is gone, and with it every claim of this process.
        """
        self.recover()
        # The disk is looked at once for every block that is reserved.
        if self.session.take_held(size, token):
            return None
        if self.disk_is_short(size):
            totals = self.index.totals()
            return Reservation(-1, totals.published, totals.reserved, totals.unindexed, totals.leased)
        return self.session.take(size, token)

    @property
    def holds_unknown(self) -> bool:
        """Whether complete files may lie on the volume that the index does not know yet."""
        from forebay.volume.recovery import needs_sweep

        opened = self._open()
        if not opened.swept:
            opened.swept = not needs_sweep(self)
        return not opened.swept

    def recover(self) -> None:
        """Accounts for what lies on the volume, if Redis may have been started anew since."""
        from forebay.volume.recovery import recover

        opened = self._open()
        connections = opened.connection.opened
        if connections == opened.connections_seen:
            return
        run_id = opened.connection.run_id()
        if run_id != opened.run_id:
            recover(self, run_id)
            opened.swept = False
            if opened.session is not None:
                opened.session.renew(opened.session_seen)
            opened.run_id = run_id
        opened.session_seen = opened.session.id if opened.session is not None else ""
        opened.connections_seen = connections

    def flush_used(self) -> None:
        """Tells the index which entries were used."""
        if self._used and self.is_open:
            used, self._used = self._used, {}
            self.index.touch(used)

    def close(self) -> None:
        """Tells the index what it has to know, ends the session and closes the connection."""
        if not self.is_open:
            return
        with self._lock:
            opened = self._opened
            opened.pulse.stop()
            with contextlib.suppress(Exception):
                self.flush_used()
                self.meter.flush(opened.index)
                if opened.session is not None:
                    from forebay.volume.recovery import reap

                    opened.session.end()
                    reap(self, opened.session.id)
            opened.connection.close()
            del self.__dict__["_opened"]

    def _not_here(self) -> str:
        return (
            f"volume {self.config.volume!r} is not on this machine: it is {self.elsewhere}; its workers can "
            "fill it (--dispatch fleet), its files are there only"
        )

    def _open(self) -> _Opened:
        if self._pid != os.getpid():
            # A forked child: the session is the parent's, and its locks may be held for ever.
            self._lock = threading.RLock()
            self.__dict__.pop("_opened", None)
            # What the parent had counted, it tells the index itself.
            self.meter = Meter()
            self._pid = os.getpid()
        opened = self.__dict__.get("_opened")
        if opened is not None:
            return opened  # type: ignore[no-any-return]
        with self._lock:
            if "_opened" not in self.__dict__:
                self._opened = _Opened(self)
                try:
                    self._opened.join()
                except BaseException:
                    del self._opened
                    raise
            return self._opened


class _Opened:
    """What a process has while it uses a volume's index. Never survives a fork."""

    def __init__(self, volume: Volume) -> None:
        from forebay.index.connection import Connection
        from forebay.volume.heartbeat import Pulse

        self.volume = volume
        config = volume.config
        self.refusal: VolumeError | None = None
        if not volume.elsewhere:
            try:
                prepare(volume.layout)
            except VolumeError as error:
                if config.redis_url is None or not isinstance(error.__context__, PermissionError):
                    raise
                self.refusal = error
        if config.redis_url is None:
            from forebay import embedded

            def start() -> str:
                return embedded.ensure_running(config.cache_dir)

            self.connection = Connection(start(), restart=start)
        else:
            self.connection = Connection(config.redis_url)
        self.index = Index(self.connection, config.volume)
        self.session: Session | None = None
        self.pulse = Pulse(volume)
        self.connections_seen = 0
        self.run_id = ""
        self.session_seen = ""
        self.swept = False

    def join(self) -> None:
        from forebay.volume.ownership import is_shared, join
        from forebay.volume.recovery import recover

        self.run_id = self.connection.check()
        if self.volume.elsewhere:
            return
        if self.refusal is not None:
            if not is_shared(self.volume, self.index):
                raise self.refusal
            self.refusal = _read_only(self.volume.config)
            return
        join(self.volume, self.index)
        recover(self.volume, self.run_id)


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


def _read_only(config: MediaCacheConfig) -> VolumeError:
    return VolumeError(
        f"the volume {config.volume!r} at {config.cache_dir} is another user's, and can only be read: have "
        "its workers fetch what is missing, with `forebay prefetch`, or run as that user"
    )


def prepare(layout: Layout) -> None:
    """Makes the directories of a volume.

    Raises:
        VolumeError: they cannot be made, or cannot be written.
    """
    try:
        os.makedirs(layout.media_dir, exist_ok=True)
        os.makedirs(layout.temporary_dir, mode=0o700, exist_ok=True)
        probe = os.path.join(layout.temporary_dir, f"probe.{os.getpid()}.{threading.get_ident()}")
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        os.unlink(probe)
    except OSError as error:
        raise VolumeError(
            f"the cache directory {layout.cache_dir} cannot be written ({error.strerror}): "
            "mend it, or set FIFTYONE_MEDIA_CACHE_DIR to another one"
        ) from None


def _folds_case(cache_dir: str) -> bool:
    """Whether the file system takes ``A`` and ``a`` for the same name."""
    path = cache_dir
    while not os.path.exists(path) or os.path.basename(path).swapcase() == os.path.basename(path):
        if path == os.path.dirname(path):
            return False
        path = os.path.dirname(path)
    swapped = os.path.join(os.path.dirname(path), os.path.basename(path).swapcase())
    return os.path.exists(swapped) and os.path.samefile(path, swapped)
