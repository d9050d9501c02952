"""MediaCache, the one object that users hold: a façade over the engine and the look-ahead."""

from __future__ import annotations

import atexit
import builtins
import logging
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
from forebay.uri import entries_of, entry_of, is_local, local_file, uri_list
from forebay.volume.contents import CachedObject, cached_objects
from forebay.volume.files import AbsentFiles
from forebay.volume.leases import Lease, LeaseStatus, all_leases
from forebay.volume.stats import CacheStats, cache_stats

log = logging.getLogger(__name__)


class MediaCache:
    """A size-bounded cache of remote media on one volume.

    Safe to use from many threads and in forked children. Nothing is opened or started before it is
    needed; for a hit, only the disk is read.

    Args:
        config: the settings; by default those of the environment and the configuration file.

    Raises:
        ConfigError: a setting is not allowed.

    Attributes:
        config: the settings.
    """

    def __init__(self, config: MediaCacheConfig | None = None) -> None:
        self.config = MediaCacheConfig() if config is None else config
        # Of the project only: not on the page about the API.
        self.engine = Engine(self.config)
        # Its heartbeat keeps an engine alive when nothing refers to this object any more.
        atexit.register(_close, weakref.ref(self.engine))

    def __repr__(self) -> str:
        return f"MediaCache({self.config.cache_dir!r}, volume={self.config.volume!r})"

    # Paths

    def local_path(self, uri: str) -> str:
        """The path of a cached file; the file is downloaded at once if it is missing.

        A local path is returned as it is. The file is safe from eviction for the grace period; hold a
        `lease` to keep it for longer.

        Args:
            uri: a remote URI or a local path.

        Returns:
            the path of a complete file.

        Raises:
            UriError: the URI cannot be parsed.
            SourceError: the object cannot be fetched; the subclass says why.
            CacheFullError: the cache has no room for it.
            IndexUnavailableError: Redis cannot be used.
            VolumeError: the cache directory cannot be used.
        """
        return self.engine.local_path(uri)

    def open(self, uri: str) -> IO[bytes]:
        """Opens a cached file for reading; it stays readable even if it is evicted meanwhile.

        Args:
            uri: a remote URI or a local path.

        Returns:
            the open file, in binary mode.

        Raises:
            ForebayError: as `local_path`.
            FileNotFoundError: a local path, at which there is no file.
        """
        while True:
            path = self.local_path(uri)
            try:
                return builtins.open(path, "rb")
            except FileNotFoundError:
                # The file was evicted between the two calls.
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
            uris: remote URIs or local paths.
            download: whether to download missing files first.
            skip_failures: false to raise at the first failure.
            progress: true or false for a progress bar, ``None`` for one on a terminal, or a function that
                is called with each `JobStatus`.

        Returns:
            one path for each URI. There is no file at the path of a sample that failed, or of a missing one
            if ``download`` is false.

        Raises:
            DownloadError: a sample failed, and ``skip_failures`` is false.
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
        """
        uris = uri_list(uris)
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
        """Downloads samples into the cache.

        Args:
            uris: remote URIs; local paths among them count as cached.
            update: download objects again that have changed at their source, by etag, else size and time.
            skip_failures: false to cancel the job and raise at the first failure.
            wait: false to return at once. The fleet works on the job meanwhile; with local dispatch, threads
                of this process do, as long as it lives. A process that waits for the job resumes the rest.
            lease: how long to keep the samples from eviction, in seconds or as ``24h``.
            message_size: samples in one message to the fleet, 1 to 1000 or ``auto``; by default the setting.
            progress: as `get_local_paths`.

        Returns:
            a handle on the job.

        Raises:
            DownloadError: a sample failed, and ``skip_failures`` is false.
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
            ConfigError: ``lease`` or ``message_size`` is not allowed.
        """
        uris = uri_list(uris)
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
        """Creates a job without starting it, for callers that need the handle before downloads begin.

        `Job.start` begins the downloads. `download_media` calls both.

        Args:
            uris: as `download_media`.
            update: as `download_media`.
            lease: as `download_media`.
            message_size: as `download_media`.

        Raises:
            ForebayError: as `download_media`.
        """
        maker = self.engine.open_job_maker()
        return maker.create(uri_list(uris), update=update, lease=lease, message_size=message_size)

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
        """Iterates through local paths in order, and downloads the next batches meanwhile.

        The set may be many times larger than the cache: samples that the loop is about to use are leased,
        samples that it has used may be evicted.

        Args:
            uris: remote URIs or local paths, in the order of the loop.
            batch_size: samples in a batch; by default as many as have about ``target_size_bytes``.
            target_size_bytes: the size of a batch, in bytes or as ``128MB``; ``download_size_bytes`` by
                default, and never more than the cache can hold of all batches at hand.
            clear: remove each batch from the cache when the loop has left it.
            lookahead: how many batches to download ahead of the present one.
            update: as `download_media`.
            skip_failures: false to raise at the first failure; otherwise there is no file at the path of
                a sample that failed.
            progress: as `get_local_paths`; counts the samples that the loop has passed.

        Returns:
            an iterable over the paths, which is also a context manager.

        Raises:
            ConfigError: ``batch_size`` or ``target_size_bytes`` is not allowed.
        """
        return DownloadContext(
            self.engine,
            uri_list(uris),
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
        """Downloads the samples of a loop ahead of it, for loops that ask for samples by their numbers.

        Args:
            samples: the URIs of each sample, in the order of the loop.
            batch_size: as `download_context`.
            target_size_bytes: as `download_context`.
            clear: as `download_context`.
            lookahead: as `download_context`.
            update: as `download_context`.

        Returns:
            the look-ahead, to be closed after the loop.

        Raises:
            ConfigError: ``batch_size`` or ``target_size_bytes`` is not allowed.
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

        Args:
            job: the id, which `Job.id` and ``forebay jobs`` give.

        Raises:
            JobNotFoundError: no job of the volume has this id; it may have expired.
        """
        handle = Job(job, self.engine.open_index(), self.engine.open_dispatcher())
        handle.status()
        return handle

    def jobs(self) -> list[JobStatus]:
        """The status of every job of the volume, oldest first."""
        return ledger.all_jobs(self.engine.open_index().jobs)

    # What is cached

    def stats(self, uris: Iterable[str] | None = None) -> CacheStats:
        """How full the cache is, or how much of it some URIs take.

        Args:
            uris: count only these; by default the whole cache.

        Returns:
            a dictionary with the keys of `CacheStats`.
        """
        entries = None if uris is None else entries_of(uris)
        return cache_stats(self.engine.open_index(), self.config, entries)

    def contents(self, prefix: str = "") -> Iterator[CachedObject]:
        """Yields every cached object, in no order.

        Args:
            prefix: only objects whose URI begins with it.
        """
        return cached_objects(self.engine.open_index(), self.engine.files, prefix)

    def clear(self, uris: Iterable[str] | None = None, force: bool = False) -> int:
        """Removes cached files; the remote objects stay as they are.

        Leased entries stay, and so do those that are being downloaded right now.

        Args:
            uris: which; everything by default.
            force: remove leased entries, too.

        Returns:
            how many entries were removed.
        """
        return self.engine.open_clearing().clear(None if uris is None else entries_of(uris), force=force)

    def evict(self, to: int | str) -> Evicted:
        """Evicts the least recently used entries, until the cache holds no more than ``to``.

        Leased entries stay, and so do those that are used again and again: more than ``to`` may be left.

        Args:
            to: the size, in bytes or as ``50GB``.

        Returns:
            the evicted entries, oldest first, and their size.

        Raises:
            ConfigError: ``to`` is not a size.
        """
        return self.engine.open_evictor().evict_to(parse_size(str(to)))

    def lease(self, uris: Iterable[str], ttl: float | str, name: str | None = None) -> Lease:
        """Keeps samples from eviction for a while, whether they are cached already or not.

        Args:
            uris: remote URIs; local paths among them are left out.
            ttl: for how long, in seconds or as ``24h``.
            name: the lease's name, by default a new one; a lease that exists is extended.

        Returns:
            a handle on the lease, which as a context manager ends it.

        Raises:
            ConfigError: ``ttl`` is not a duration.
        """
        return self.engine.lease(name, entries_of(uris), parse_duration(ttl))

    def leases(self) -> list[LeaseStatus]:
        """Every lease of the volume, the first to expire first."""
        return all_leases(self.engine.open_index())

    def close(self) -> None:
        """Flushes counts and access times to the index, and disconnects; a later call connects again."""
        self.engine.close()

    def _path_of(self, uri: str) -> str:
        if is_local(uri):
            return local_file(uri)
        try:
            entry = entry_of(uri)
        except ForebayError:
            return uri
        return self.engine.files.touch(entry) or self.engine.files.layout().path(entry)


def absent_cache(config: MediaCacheConfig, files: AbsentFiles) -> MediaCache:
    """The cache of a volume that another machine has: only its index and its fleet can be used."""
    cache = MediaCache(config)
    cache.engine = Engine(config, files)
    atexit.register(_close, weakref.ref(cache.engine))
    return cache


def _close(reference: weakref.ref[Engine]) -> None:
    engine = reference()
    if engine is not None:
        engine.close()
