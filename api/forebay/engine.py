"""The engine of a cache: it opens, in this process and on purpose, everything that operations stand on.

What is open belongs to one process. A forked child opens anew: the session is the parent's, and its locks may
be held by threads that the child does not have.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial

from forebay import embedded
from forebay.config import MediaCacheConfig
from forebay.errors import IndexUnavailableError, VolumeError
from forebay.eviction.clearing import Clearing
from forebay.eviction.evictor import Evictor
from forebay.eviction.room import Room
from forebay.fetch.destination import Destination
from forebay.fetch.fetcher import Fetcher
from forebay.index import Index
from forebay.index.connection import Connection
from forebay.jobs.creation import JobMaker
from forebay.jobs.dispatcher import Dispatcher
from forebay.jobs.ledger import new_id
from forebay.sources.sources import Sources
from forebay.transport import forks
from forebay.uri import entry_of, is_local, local_file
from forebay.volume.counters import Counters
from forebay.volume.files import AbsentFiles, Files
from forebay.volume.heartbeat import Heartbeat
from forebay.volume.leases import Lease, lease_entries
from forebay.volume.maintenance import Maintenance
from forebay.volume.ownership import is_shared, join
from forebay.volume.recovery import Recovery
from forebay.volume.removal import Removal
from forebay.volume.session import Session
from forebay.volume.sweep import Sweep
from forebay.volume.unread import UnreadPrefetches

log = logging.getLogger(__name__)

_MAX_HEARTBEAT_SECONDS = 5.0


class Engine:
    """Everything that operations on one volume stand on; safe to use from many threads, and after a fork.

    The index is opened by the ``open_…`` methods, by `lease`, and by `local_path` for a file that is missing.
    A hit does not use the index.

    Args:
        config: the settings.
        absent: the files of a volume that another machine has: its index can be asked, and its fleet be
            given jobs.

    Attributes:
        config: the settings.
        files: the volume's files.
        counters: of this process.
        unread: of this process.
        sources: where bytes come from; each is opened when it is first needed.
    """

    def __init__(self, config: MediaCacheConfig, absent: AbsentFiles | None = None) -> None:
        self.config = config
        self.files: Files = absent or Files(config.cache_dir, config.min_free_bytes)
        self.counters = Counters()
        self.unread = UnreadPrefetches()
        self.sources = Sources(config)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._opened: _Opened | None = None

    @property
    def is_open(self) -> bool:
        """Whether this process has talked to the index."""
        return self._pid == os.getpid() and self._opened is not None

    # Opening

    def open_index(self) -> Index:
        """The index.

        The first call in a process connects, and checks that index and directory belong together.

        Raises:
            IndexUnavailableError, VolumeError: the cache cannot be used.
        """
        return self._open().index

    def open_session(self) -> Session:
        """This process's session. The first call begins it, and starts its heartbeat.

        Raises:
            VolumeError: the directory is on another machine, or another user's.
            IndexUnavailableError: Redis does not come back.
        """
        return self._open_writable().session

    def open_dispatcher(self) -> Dispatcher:
        """The dispatcher, which runs jobs.

        Raises:
            IndexUnavailableError, VolumeError: as `open_index`.
        """
        return self._open().dispatcher

    def open_job_maker(self) -> JobMaker:
        """A maker of jobs.

        Raises:
            IndexUnavailableError, VolumeError: as `open_index`.
        """
        opened = self._open()
        return JobMaker(opened.index, self.files, self.counters, opened.dispatcher)

    def open_fetcher(self) -> Fetcher:
        """The fetcher, which downloads into the volume.

        Raises:
            VolumeError, IndexUnavailableError: as `open_session`.
        """
        return self._open_writable().fetcher

    def open_evictor(self) -> Evictor:
        """The evictor, which removes the least recently used entries.

        Raises:
            VolumeError, IndexUnavailableError: as `open_session`.
        """
        return self._open_writable().evictor

    def open_clearing(self) -> Clearing:
        """The clearing, which removes entries by name.

        Raises:
            VolumeError, IndexUnavailableError: as `open_session`.
        """
        return self._open_writable().clearing

    def open_maintenance(self) -> Maintenance:
        """The maintenance, which compares index and files and repairs either.

        Raises:
            VolumeError, IndexUnavailableError: as `open_session`.
        """
        return self._open_writable().maintenance

    def check_writable(self) -> None:
        """Raises if this machine has the directory but cannot write it.

        A volume that is another user's can be read, and its index asked; its workers can fill it.

        Raises:
            VolumeError: it cannot.
        """
        refusal = self._open().refusal
        if refusal is not None:
            raise refusal

    # What several operations begin with

    def local_path(self, uri: str) -> str:
        """The path of a cached file, which is downloaded at once when it is missing; or of a local one.

        Raises:
            ForebayError: the file cannot be downloaded.
        """
        if is_local(uri):
            return local_file(uri)
        entry = entry_of(uri)
        path = self.files.touch(entry)
        if path is not None:
            self.counters.hits += 1
            return path
        self.counters.misses += 1
        fetcher = self.open_fetcher()
        while path is None:
            # Once it is fetched, it may be evicted before it is touched.
            fetcher.fetch_one(uri)
            path = self.files.touch(entry)
        return path

    def lease(self, name: str | None, entries: Sequence[str], ttl: float) -> Lease:
        """Puts entries under a lease for ``ttl`` seconds.

        Args:
            name: the lease's; ``None`` for a new one. One that exists is extended.
        """
        return lease_entries(self.open_index(), name or f"lease-{new_id()}", entries, ttl)

    # Closing

    def close(self) -> None:
        """Tells the index what it has to know, ends the session and closes the connection."""
        if self.is_open:
            with self._lock:
                opened, self._opened = self._opened, None
                if opened is not None:
                    opened.close()
        self.sources.close()

    def _open(self) -> _Opened:
        if self._pid != os.getpid():
            # One thread of the child does so. The own lock may be held by a thread of the parent's for ever.
            with forks.setting_up():
                if self._pid != os.getpid():
                    self._forget_parent()
        opened = self._opened
        if opened is not None:
            return opened
        with self._lock:
            if self._opened is None:
                self._opened = _Opened(self)
            return self._opened

    def _open_writable(self) -> _Writable:
        opened = self._open()
        return opened.writable or self._begin(opened)

    def _begin(self, opened: _Opened) -> _Writable:
        self.files.layout()  # which raises where another machine has them
        if opened.refusal is not None:
            raise opened.refusal
        with self._lock:
            if opened.writable is None:
                opened.writable = _Writable(self, opened)
            return opened.writable

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()
        self._opened = None
        # What the parent had counted, it tells the index itself.
        self.counters = Counters()
        self._pid = os.getpid()


class _Opened:
    """The connection and the objects that a process needs to use a volume's index."""

    def __init__(self, engine: Engine) -> None:
        config, files = engine.config, engine.files
        self.writable: _Writable | None = None
        self.refusal: VolumeError | None = None
        absent = isinstance(files, AbsentFiles)
        if not absent:
            try:
                files.prepare()
            except VolumeError as error:
                if config.redis_url is None or not isinstance(error.__context__, PermissionError):
                    raise
                self.refusal = error
        self._engine = engine
        self.connection = _connect(config)
        self.index = Index(self.connection, config.volume)
        run_id = self.connection.check()
        self.recovery = Recovery(self.index, files, run_id)
        if self.refusal is not None:
            if not is_shared(config, self.index):
                raise self.refusal
            self.refusal = _read_only(config)
        elif not absent:
            join(config, self.index)
            self.recovery.run(run_id)
        self.dispatcher = Dispatcher(
            config,
            self.index,
            engine.open_fetcher,
            engine.open_session,
            lambda: None if self.writable is None else self.writable.session.id,
            engine.check_writable,
        )

    def flush(self) -> None:
        """Tells the index which entries were used."""
        touched = self._engine.files.take_touched()
        if touched:
            self.index.entries.touch(touched)

    def close(self) -> None:
        if self.writable is not None:
            self.writable.heartbeat.stop()
        steps: list[Callable[[], object]] = [self.flush, lambda: self._engine.counters.flush(self.index)]
        if self.writable is not None:
            session = self.writable.session
            session.end()
            reap = partial(self.recovery.reap, session.id)
            # Other threads may have claimed more meanwhile; after the first time, they cannot.
            steps = [reap, *steps, reap]
        for step in steps:
            try:
                step()
            except IndexUnavailableError:
                # The others would wait for Redis as long again. What is left of the session expires.
                break
            except Exception as error:
                log.debug("while the cache was closed: %s", error)
        self.connection.close()


class _Writable:
    """The session, and the objects on it, that a process also needs to change a volume."""

    def __init__(self, engine: Engine, opened: _Opened) -> None:
        config, files, index, recovery = engine.config, engine.files, opened.index, opened.recovery
        _announce(config, index)
        self.session = session = Session(
            index, config.claim_ttl_seconds, config.limit, recovery.check, files.is_disk_short
        )
        recovery.follow(session)
        removal = Removal(index, session, files)
        sweep = Sweep(index, files, removal)
        self.maintenance = Maintenance(index, session, recovery, sweep, config.job_ttl_seconds)
        self.evictor = Evictor(
            index, session, files, removal, engine.counters, engine.unread, config.grace_seconds
        )
        self.clearing = Clearing(index, removal, recovery)
        room = Room(
            index, session, files, self.evictor, self.maintenance, config.limit, config.min_free_bytes
        )
        destination = Destination(index, session, files, engine.unread, config)
        self.fetcher = Fetcher(destination, recovery, room, engine.counters, engine.sources)
        self.heartbeat = Heartbeat(
            "forebay-heartbeat",
            min(config.claim_ttl_seconds / 4, _MAX_HEARTBEAT_SECONDS),
            (
                session.extend,
                session.release_unused,
                opened.flush,
                lambda: _announce(config, index),
                self.maintenance.run,
                # Last, as nothing depends on it.
                lambda: engine.counters.flush(index),
            ),
            f"heartbeat of volume {config.volume!r}",
        )
        self.heartbeat.start()


def _connect(config: MediaCacheConfig) -> Connection:
    if config.redis_url is not None:
        return Connection(config.redis_url)

    def start() -> str:
        return embedded.ensure_running(config.cache_dir)

    return Connection(start(), restart=start)


def _announce(config: MediaCacheConfig, index: Index) -> None:
    index.volumes.announce(config.volume, config.cache_dir, config.cache_size_bytes)


def _read_only(config: MediaCacheConfig) -> VolumeError:
    return VolumeError(
        f"the volume {config.volume!r} at {config.cache_dir} belongs to another user, and this user can "
        "only read it: let its workers fetch missing samples, with `forebay prefetch`, or run as that user",
        volume=config.volume,
        path=config.cache_dir,
    )
