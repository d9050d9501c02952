"""The engine of a cache: it opens, in this process and on purpose, everything that operations stand on.

What is open belongs to one process. A forked child opens anew: the session is the parent's, and its locks may
be held by threads that the child does not have.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from forebay import forks
from forebay.aside import aside
from forebay.config import MediaCacheConfig
from forebay.errors import UriError, VolumeError
from forebay.uri import entry_of, is_local, local_file, uri_text
from forebay.volume.absent_files import AbsentFiles, files_of
from forebay.volume.counters import Counters
from forebay.volume.unread import UnreadPrefetches

# The others are imported when something is opened: a process that only ever hits does without, and is there
# three times as fast.
if TYPE_CHECKING:
    from forebay.embedded import EarlyStart
    from forebay.eviction.clearing import Clearing
    from forebay.eviction.evictor import Evictor
    from forebay.fetch.fetcher import Fetcher
    from forebay.fetch.hit_checks import HitChecks
    from forebay.fetch.orders import Orders
    from forebay.index import Index
    from forebay.jobs.creation import JobMaker
    from forebay.jobs.dispatcher import Dispatcher
    from forebay.jobs.helpers import Helpers
    from forebay.jobs.listed_samples import Samples
    from forebay.opened import Opened
    from forebay.sources.sources import Sources
    from forebay.volume.leases import Lease
    from forebay.volume.maintenance import Maintenance
    from forebay.volume.session import Session
    from forebay.writable import Writable


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
    """

    def __init__(self, config: MediaCacheConfig, absent: AbsentFiles | None = None) -> None:
        self.config = config
        self.files = absent or files_of(config)
        self.counters = Counters()
        self.unread = UnreadPrefetches()
        self._sources: Sources | None = None
        self._orders: Orders | None = None
        self._helpers: Helpers | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._opened: Opened | None = None
        self.hit_checks: HitChecks | None = None
        if config.max_age or config.max_ages:
            from forebay.fetch.hit_checks import HitChecks

            self.hit_checks = HitChecks(self)

    @property
    def is_open(self) -> bool:
        """Whether this process has talked to the index."""
        return self._pid == os.getpid() and self._opened is not None

    @property
    def sources(self) -> Sources:
        """Where bytes come from; each is opened when it is first needed."""
        if self._sources is None:
            with forks.setting_up():
                from forebay.sources.sources import Sources

            # Without a lock, which a fork might leave locked.
            self.__dict__.setdefault("_made_sources", Sources(self.config))
            self._sources = self.__dict__["_made_sources"]
        return self._sources

    @property
    def orders(self) -> Orders:
        """What callers of this process have ordered without waiting for it themselves."""
        self._notice_fork()
        if self._orders is None:
            with forks.setting_up():
                from forebay.fetch.orders import Orders

                if self._orders is None:
                    self._orders = Orders(self.open_fetcher)
        return self._orders

    # Opening

    def expect_listed(self, parts: Iterator[Samples]) -> Iterator[Samples]:
        """Prepares for a job with these samples, as `expect`; returns them.

        Raises:
            ForebayError: what listing the first samples raised.
        """
        with forks.setting_up():
            from forebay.jobs.listed_samples import first_of

        first, is_whole = first_of(parts)
        self.expect(first.uris, more=not is_whole)
        return itertools.chain((first,), parts)

    def expect(self, uris: Sequence[str], *, more: bool = False) -> None:
        """Prepares for a job with these samples, before anything is opened.

        If it will be large enough for helpers, they start at once: they take as long as this process takes
        until it is ready to download. Later, and where there may be a fleet, the job itself knows best.

        Args:
            more: whether further samples follow, whose number is not known yet.
        """
        self._notice_fork()
        config = self.config
        here = config.dispatch == "local" or (config.dispatch == "auto" and config.redis_url is None)
        if self.is_open or not here or not uris:
            return
        with forks.setting_up():
            from forebay.jobs.helpers import MANY, Helpers, most_are_missing, processes_for

        processes = processes_for(config.local_processes, MANY if more else len(uris))
        if processes > 1 and self._helpers is None and most_are_missing(uris, self.files):
            with forks.setting_up():
                # Another thread may expect a job of its own.
                self._helpers = self._helpers or Helpers(config, processes, uris[0])

    def take_helpers(self) -> Helpers | None:
        """The helpers that were started for an expected job; they are the caller's from now on."""
        self._notice_fork()
        with forks.setting_up():
            helpers, self._helpers = self._helpers, None
        return helpers

    @contextlib.contextmanager
    def making_job(self) -> Iterator[None]:
        """A job is expected and made within: if it is not made, the helpers that wait for it end."""
        try:
            yield
        except BaseException:
            if (helpers := self.take_helpers()) is not None:
                helpers.kill()
            raise

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
        return self._open().job_maker

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

    def local_path(self, uri: str | os.PathLike[str]) -> str:
        """The path of a cached file, which is downloaded at once when it is missing; or of a local one.

        Raises:
            ForebayError: the file cannot be downloaded.
        """
        if not isinstance(uri, str):
            uri = uri_text(uri)
        if is_local(uri):
            return local_file(uri)
        entry = entry_of(uri)
        path = self.files.touch(entry)
        if path is not None:
            self.counters.hits += 1
            self.counters.hit_bytes += self.files.last_size
            if self.hit_checks is not None:
                self.hit_checks.hit(uri)
            return path
        self.counters.misses += 1
        fetcher = self.open_fetcher()
        while path is None:
            # Once it is fetched, it may be evicted before it is touched.
            fetcher.fetch_one(uri)
            path = self.files.touch(entry)
        return path

    def path_of(self, uri: str) -> str:
        """The path of a cached or a local file, or the one that it would have; nothing is downloaded."""
        if is_local(uri):
            return local_file(uri)
        try:
            entry = entry_of(uri)
        except UriError:
            return uri
        place = self.files.layout().path(entry)
        with contextlib.suppress(VolumeError):
            return self.files.touch(entry) or place
        return place

    def lease(self, name: str | None, entries: Sequence[str], ttl: float) -> Lease:
        """Puts entries under a lease for ``ttl`` seconds.

        Args:
            name: the lease's; ``None`` for a new one. One that exists is extended.
        """
        with forks.setting_up():
            from forebay.jobs.ledger import new_id
            from forebay.volume.leases import lease_entries

        opened = self._open()
        return lease_entries(opened.index, opened.recovery, name or f"lease-{new_id()}", entries, ttl)

    # Closing

    def hurry(self, seconds: float) -> None:
        """Has everything that this process still does wait for Redis no longer than so many seconds from now.

        May be called by the handler of a signal: it takes no lock.
        """
        opened = self._opened
        if opened is not None:
            opened.connection.hurry(seconds)

    def close(self) -> None:
        """Tells the index what it has to know, ends the session and closes the connection."""
        if (helpers := self.take_helpers()) is not None:
            helpers.kill()
        if self.hit_checks is not None:
            self.hit_checks.close()
        if self.is_open:
            aside(self._close_once)
        if self._sources is not None:
            self._sources.close()

    def _close_once(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            # One thread of the child does so. The own lock may be held by a thread of the parent's for ever.
            with forks.setting_up():
                if self._pid != os.getpid():
                    self._forget_parent()

    def _open(self) -> Opened:
        self._notice_fork()
        return self._opened or aside(self._open_once)

    def _open_once(self) -> Opened:
        with self._lock:
            if self._opened is None:
                # It starts while the modules are imported: either takes about as long.
                server = None if self.config.redis_url is not None else self._start_server()
                with forks.setting_up():
                    from forebay.opened import Opened

                self._opened = Opened(self, server)
            return self._opened

    def _start_server(self) -> EarlyStart:
        with forks.setting_up():
            from forebay import embedded
            from forebay.volume.spare import keep_spare

        def start() -> str:
            private_dir = self.files.layout().private_dir
            keep_spare(private_dir)
            # Without a limit there is nothing that a server would have to watch over between processes.
            url = embedded.ensure_running(self.config.cache_dir, brief=self.config.limit is None)
            # In a new volume, there was no directory for it before.
            keep_spare(private_dir)
            return url

        return embedded.EarlyStart(start)

    def _open_writable(self) -> Writable:
        opened = self._open()
        return opened.writable or aside(partial(self._begin, opened))

    def _begin(self, opened: Opened) -> Writable:
        with forks.setting_up():
            from forebay.writable import Writable

        self.files.layout()  # which raises where another machine has them
        if opened.refusal is not None:
            raise opened.refusal
        with self._lock:
            if opened.writable is None:
                opened.writable = Writable(self, opened.index, opened.recovery, opened.flush)
            return opened.writable

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()
        self._opened = self._orders = self._helpers = None
        # What the parent had counted, it tells the index itself.
        self.counters = Counters()
        self._pid = os.getpid()


def close_at_exit(engine: Engine) -> None:
    """Has an engine closed when this process ends, if it is still in use."""
    atexit.register(_close, weakref.ref(engine))


def _close(reference: weakref.ref[Engine]) -> None:
    engine = reference()
    if engine is not None:
        engine.close()
