"""MediaCache, the one object that users hold: a façade over the engine and the look-ahead."""

from __future__ import annotations

import atexit
import builtins
import logging
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from forebay.config import MediaCacheConfig
from forebay.config.sizes import parse_duration, parse_size
from forebay.engine import Engine
from forebay.errors import ForebayError
from forebay.eviction.evictor import Evicted
from forebay.jobs import ledger
from forebay.jobs.creation import MessageSize
from forebay.jobs.handle import Job
from forebay.jobs.overflow import overflow_warning
from forebay.jobs.progress import ProgressOption, reporter
from forebay.jobs.status import JobStatus
from forebay.lookahead.context import DownloadContext
from forebay.lookahead.window import LookAhead
from forebay.uri import entry_of, is_local, local_file, redact
from forebay.volume.contents import CachedObject, cached_objects
from forebay.volume.files import AbsentFiles
from forebay.volume.leases import Lease, LeaseStatus, all_leases
from forebay.volume.stats import CacheStats, cache_stats

log = logging.getLogger(__name__)


class MediaCache:
    """A size-bounded cache of remote media on one volume.

    Safe to use from many threads and in forked children. Nothing is opened or started before it is
    needed; a hit only looks at the disk.

    Args:
        config: the settings; by default those of the environment and the configuration file.
        absent: the files of a volume that another machine has; `Volumes.cache` knows which do.

    Raises:
        ConfigError: a setting is not allowed.

    Attributes:
        config: the settings.
        engine: everything that the operations stand on.
    """

    def __init__(self, config: MediaCacheConfig | None = None, *, absent: AbsentFiles | None = None) -> None:
        self.config = MediaCacheConfig() if config is None else config
        self.engine = Engine(self.config, absent)
        # What is open is kept by its heartbeat, even when nothing refers to this object any more.
        atexit.register(_close, weakref.ref(self.engine))

    def __repr__(self) -> str:
        return f"MediaCache({self.config.cache_dir!r}, volume={self.config.volume!r})"

    # Paths

    def local_path(self, uri: str) -> str:
        """The path of a cached file; downloaded at once when it is missing.

        A local path is returned as it is. The file is safe from eviction for the grace period; hold a
        `lease` to keep it for longer.

        Raises:
            UriError: the URI cannot be understood.
            SourceError: the object cannot be fetched; the subclass says why.
            CacheFullError: there is no room for it.
            IndexUnavailableError, VolumeError: the cache cannot be used.
        """
        return self.engine.local_path(uri)

    def open(self, uri: str) -> IO[bytes]:
        """Opens a cached file for reading; it stays readable even when it is evicted meanwhile.

        Raises:
            ForebayError: as `local_path`.
        """
        while True:
            path = self.local_path(uri)
            try:
                return builtins.open(path, "rb")
            except FileNotFoundError:
                # Evicted in the moment between the two.
                if is_local(uri):
                    raise

    def get_local_paths(
        self,
        uris: Iterable[str],
        download: bool = True,
        skip_failures: bool = True,
        progress: ProgressOption = None,
    ) -> list[str]:
        """The local path of each URI, in order.

        Args:
            download: whether to download what is missing first.
            skip_failures: false to raise at the first failure.
            progress: true or false for a progress bar, ``None`` for one on a terminal, or a callback.

        Returns:
            one path for each URI. Nothing lies at the path of a sample that failed, or that is not
            cached and was not asked for.

        Raises:
            DownloadError: a sample failed, and ``skip_failures`` is false.
        """
        uris = _listed(uris)
        if download:
            job = self.download_media(uris, skip_failures=skip_failures, progress=progress)
            if not job.failed:
                # No caller has a handle on it, and there is nothing to look up.
                job.forget()
        return [self._path_of(uri) for uri in uris]

    # Jobs

    def download_media(
        self,
        uris: Iterable[str],
        update: bool = False,
        skip_failures: bool = True,
        wait: bool = True,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        progress: ProgressOption = None,
    ) -> Job:
        """Brings samples into the cache.

        Args:
            uris: remote URIs; local paths among them count as cached.
            update: download again what has changed at its source, by its etag, else size and time.
            skip_failures: false to cancel the job and raise at the first failure.
            wait: false to return at once. The fleet works on the job meanwhile; with local dispatch, threads
                of this process do, as long as it lives. A process that waits for the job resumes the rest.
            lease: how long to keep the samples from eviction, in seconds or as ``24h``.
            message_size: samples in one message to the fleet; by default as configured.
            progress: as `get_local_paths`.

        Returns:
            a handle on the job.

        Raises:
            DownloadError: a sample failed, and ``skip_failures`` is false.
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
        """
        uris = _listed(uris)
        handle = self.create_job(uris, update=update, lease=lease, message_size=message_size)
        handle.start()
        if wait:
            with reporter(progress) as show:
                handle.wait(skip_failures=skip_failures, progress=show)
            index, limit = self.engine.open_index(), self.config.limit
            if text := overflow_warning(index, limit, uris, handle.status()):
                log.warning("%s", text)
        return handle

    def create_job(
        self,
        uris: Iterable[str],
        update: bool = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
    ) -> Job:
        """Writes a job down without starting it, for callers that need the handle before the downloads
        begin; `Job.start` begins them. `download_media` does this first.

        Raises:
            NoWorkersError: as `download_media`.
        """
        maker = self.engine.open_job_maker()
        return maker.create(_listed(uris), update=update, lease=lease, message_size=message_size)

    def create_listing_job(
        self,
        found: Iterable[Sequence[str]],
        update: bool = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
    ) -> Job:
        """As `create_job`, for samples that are still being listed: the first ones are fetched meanwhile.

        This process lists the rest in a thread. What it cannot list is one more sample that failed.

        Args:
            found: URIs, some at a time; see `forebay.manifests.listing.uris_below`.

        Raises:
            NoWorkersError: as `download_media`.
            ForebayError: what listing the first samples raised.
        """
        maker = self.engine.open_job_maker()
        return maker.create_listing(found, update=update, lease=lease, message_size=message_size)

    def download_context(
        self,
        uris: Iterable[str],
        batch_size: int | None = None,
        target_size_bytes: int | str | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool = False,
        skip_failures: bool = True,
        progress: ProgressOption = False,
    ) -> DownloadContext:
        """Iterates through local paths in order, while the next batches are already on their way.

        Works for a set many times larger than the cache: what the loop is about to use is leased, what
        it has used may be evicted.

        Args:
            batch_size: samples in a batch; by default as many as have about ``target_size_bytes``.
            target_size_bytes: the size of a batch, in bytes or as ``128MB``; ``download_size_bytes`` by
                default, and never more than the cache can hold of all batches at hand.
            clear: remove each batch from the cache when the loop has left it.
            lookahead: how many batches to fetch ahead.
            update: as `download_media`.
            skip_failures: false to raise at the first failure; otherwise nothing lies at the path of
                a sample that failed.
            progress: as `get_local_paths`, in samples that the loop has passed.

        Raises:
            ConfigError: a size of batches is not allowed.
        """
        return DownloadContext(
            self.engine,
            _listed(uris),
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
            skip_failures=skip_failures,
            progress=progress,
        )

    def look_ahead(
        self,
        samples: Sequence[Sequence[str]],
        *,
        batch_size: int | None = None,
        target_size_bytes: int | str | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool = False,
    ) -> LookAhead:
        """Fetches the samples of a loop ahead of it, for loops that ask for samples by their numbers.

        Args:
            samples: the URIs of each sample, in the order of the loop.
            batch_size, target_size_bytes, clear, lookahead, update: as `download_context`.

        Raises:
            ConfigError: a size of batches is not allowed.
        """
        return LookAhead(
            self.engine,
            samples,
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
        )

    def job(self, job: str) -> Job:
        """A handle on a job, by its id.

        Raises:
            JobNotFoundError: there is no such job (any more).
        """
        handle = Job(job, self.engine.open_index(), self.engine.open_dispatcher())
        handle.status()
        return handle

    def jobs(self) -> list[JobStatus]:
        """Every job of the volume, oldest first."""
        return ledger.all_jobs(self.engine.open_index().jobs)

    # What is cached

    def stats(self, uris: Iterable[str] | None = None) -> CacheStats:
        """How full the cache is, or how much of it these URIs take."""
        entries = None if uris is None else _entries(uris)
        return cache_stats(self.engine.open_index(), self.config, entries)

    def contents(self, prefix: str = "") -> Iterator[CachedObject]:
        """Yields every cached object, in no order.

        Args:
            prefix: only objects whose URI begins so.
        """
        return cached_objects(self.engine.open_index(), self.engine.files, prefix)

    def clear(self, uris: Iterable[str] | None = None, force: bool = False) -> int:
        """Removes cached files; the remote objects stay as they are.

        What a lease keeps, or is being downloaded right now, stays.

        Args:
            uris: which; everything by default.
            force: remove what a lease keeps, too.

        Returns:
            how many entries were removed.
        """
        return self.engine.open_clearing().clear(None if uris is None else _entries(uris), force=force)

    def evict(self, to: int | str) -> Evicted:
        """Evicts what was used least recently, until the cache holds no more than ``to``.

        What a lease keeps stays, and what is used all the time does, so that more may be left.

        Args:
            to: bytes, or as ``50GB``.

        Returns:
            what was evicted, oldest first.
        """
        return self.engine.open_evictor().evict_to(parse_size(str(to)))

    def lease(self, uris: Iterable[str], ttl: float | str, name: str | None = None) -> Lease:
        """Keeps entries, cached or not yet, from eviction for a while.

        Usable as a context manager, which ends the lease.

        Args:
            ttl: seconds, or as ``24h``.
            name: the lease's name; one that exists is extended.
        """
        return self.engine.lease(name, _entries(uris), parse_duration(ttl))

    def leases(self) -> list[LeaseStatus]:
        """Every lease of the volume, the first to expire first."""
        return all_leases(self.engine.open_index())

    def close(self) -> None:
        """Tells the index what it has to know, and closes the connection; used again, it opens again."""
        self.engine.close()

    def _path_of(self, uri: str) -> str:
        if is_local(uri):
            return local_file(uri)
        try:
            entry = entry_of(uri)
        except ForebayError:
            return uri
        return self.engine.files.touch(entry) or self.engine.files.layout().path(entry)


def _listed(uris: Iterable[str]) -> list[str]:
    """``uris`` as a list of strings.

    Raises:
        TypeError: it is a single string, whose characters would be taken for local paths.
    """
    if isinstance(uris, str | bytes):
        raise TypeError(f"expected a list of URIs, not one string: write [{redact(str(uris))!r}]")
    return [os.fspath(uri) for uri in uris]


def _entries(uris: Iterable[str]) -> list[str]:
    """The entries of those URIs that are remote, each once."""
    return list(dict.fromkeys(entry_of(uri) for uri in _listed(uris) if not is_local(uri)))


def _close(reference: weakref.ref[Engine]) -> None:
    engine = reference()
    if engine is not None:
        engine.close()
