"""MediaCache, the one object that users hold: a façade over the engine and the look-ahead."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from forebay import forks
from forebay.aside import aside
from forebay.config import MediaCacheConfig, settings_of
from forebay.config.sizes import parse_duration, parse_size
from forebay.engine import Engine, close_at_exit
from forebay.errors import UriError
from forebay.sample_lists import SampleList, parts_of
from forebay.uri import entries_of, shown, uri_list, uri_text

# Imported by the operations that need them: a hit needs none.
if TYPE_CHECKING:
    from forebay.eviction.evictor import Evicted
    from forebay.fetch.wanted_parts import Parts
    from forebay.jobs.creation import MessageSize
    from forebay.jobs.handle import Job
    from forebay.jobs.progress import ProgressOption
    from forebay.jobs.status import JobStatus
    from forebay.lookahead.context import DownloadContext
    from forebay.lookahead.window import LookAhead
    from forebay.volume.contents import CachedObject
    from forebay.volume.leases import Lease, LeaseStatus
    from forebay.volume.stats import CacheStats

log = logging.getLogger(__name__)

URI: TypeAlias = str | os.PathLike[str]  # or a local path


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
        self.config = settings_of(config)
        self.engine = Engine(self.config)  # Of the project only: not on the page about the API.
        # Its heartbeat keeps an engine alive when nothing refers to this object any more.
        close_at_exit(self.engine)

    def __repr__(self) -> str:
        return f"MediaCache({self.config.cache_dir!r}, volume={self.config.volume!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the volume for itself.
        return type(self), (self.config,)

    # Paths

    def local_path(self, uri: URI) -> str:
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

    def open(self, uri: URI, mode: str = "rb", whole: bool | None = None) -> IO[bytes]:
        """Opens an object for reading.

        What is small, cached, or from a source that sends no parts, is a cached file, readable when evicted
        meanwhile. Of a large object, bytes come as they are read, in blocks: see the page on large objects.

        Args:
            uri: a remote URI or a local path.
            mode: ``rb``, or ``r``, which is the same.
            whole: whether to download the object before this returns; by default, if it has less than 8 MiB.

        Returns:
            the open file. Reading it may raise `ForebayError`: `ObjectChangedError` for a replaced object.

        Raises:
            ForebayError: as `local_path`.
            FileNotFoundError, ValueError: there is no local file; the mode is not for reading.
        """
        with forks.setting_up():
            from forebay.parts.opening import open_file

        return open_file(self.engine, uri_text(uri), mode, whole)

    def get_local_paths(
        self,
        uris: Iterable[URI],
        download: bool = True,
        skip_failures: bool = True,
        progress: ProgressOption = None,
    ) -> list[str]:
        """The local path of each URI, in order.

        Args:
            uris: remote URIs or local paths.
            download: whether to download missing files first.
            skip_failures: false to raise at the first failure.
            progress: true or false for a bar, ``None`` for one on a terminal or in a notebook, or a function
                that is called with each `JobStatus`.

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
        return [self.engine.path_of(uri) for uri in uris]

    # Jobs

    def download_media(
        self,
        uris: Iterable[URI],
        update: bool | float | str = False,
        skip_failures: bool = True,
        wait: bool = True,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        progress: ProgressOption = None,
        parts: Parts | None = None,
    ) -> Job:
        """Downloads samples into the cache.

        Args:
            uris: remote URIs, or a `Manifest`; local paths among them count as cached.
            update: download again what changed at its source; or ``7d``: if not checked for so long.
            skip_failures: false to cancel the job and raise at the first failure.
            wait: false to return at once: workers or threads go on. Who waits for the job resumes the rest.
            lease: how long to keep the samples from eviction, in seconds or as ``24h``.
            message_size: samples in one message to the fleet, 1 to 1000 or ``auto``; by default the setting.
            progress: as `get_local_paths`.
            parts: the bytes of each sample that are wanted; by default all.

        Returns:
            a handle on the job.

        Raises:
            DownloadError, NoWorkersError: as `get_local_paths`.
            ConfigError: ``lease`` or ``message_size`` is not allowed, or parts are to be updated or verified.
        """
        with forks.setting_up():
            from forebay.jobs.overflow import overflow_warning
            from forebay.jobs.progress import reporter

        listed = [] if parts or isinstance(uris, SampleList) else uri_list(uris)
        handle = self.create_job(listed or uris, update, lease, message_size, parts)
        handle.start()
        if wait:
            with reporter(progress) as show:
                handle.wait(skip_failures=skip_failures, progress=show)
            if text := overflow_warning(self.engine.open_index(), self.config.limit, listed, handle.status()):
                log.warning("%s", text)
        return handle

    def create_job(
        self,
        uris: Iterable[URI],
        update: bool | float | str = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        parts: Parts | None = None,
    ) -> Job:
        """Creates a job, which `Job.start` starts; arguments and errors are those of `download_media`."""
        how = (update, lease, message_size, parts)
        with self.engine.making_job():
            if isinstance(uris, SampleList):
                found = self.engine.expect_listed(parts_of(uris, self.engine))
                return self.engine.open_job_maker().create_listing(found, *how)
            self.engine.expect(listed := uri_list(uris))
            return self.engine.open_job_maker().create(listed, *how)

    def download_context(
        self,
        uris: Iterable[URI],
        batch_size: int | None = None,
        target_size_bytes: int | str | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool | float | str = False,
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
        with forks.setting_up():
            from forebay.lookahead.context import DownloadContext

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
        samples: Sequence[Sequence[URI]],
        *,
        batch_size: int | None = None,
        target_size_bytes: int | str | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool | float | str = False,
    ) -> LookAhead:
        """Downloads the samples of a loop ahead of it, for loops that ask for samples by their numbers.

        The other arguments are those of `download_context`.

        Args:
            samples: the URIs of each sample, in the order of the loop; a sample may also be a single URI.

        Returns:
            the look-ahead, to be closed after the loop.

        Raises:
            UriError: ``samples`` has no length, as a generator has none.
            ConfigError: ``batch_size`` or ``target_size_bytes`` is not allowed.
        """
        with forks.setting_up():
            from forebay.lookahead.window import LookAhead

        if not (hasattr(samples, "__len__") and hasattr(samples, "__getitem__")):
            raise UriError(f"expected a list with the URIs of each sample, and this is {shown(samples)}")
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
        with forks.setting_up():
            from forebay.jobs.handle import Job

        handle = Job(job, self.engine.open_index(), self.engine.open_dispatcher())
        handle.status()
        return handle

    def jobs(self) -> list[JobStatus]:
        """The status of every job of the volume, oldest first."""
        with forks.setting_up():
            from forebay.jobs import ledger

        return ledger.all_jobs(self.engine.open_index().jobs)

    # What is cached

    def stats(self, uris: Iterable[URI] | None = None) -> CacheStats:
        """How full the cache is, or how much of it some URIs take.

        Args:
            uris: count only these; by default the whole cache.

        Returns:
            a dictionary with the keys of `CacheStats`.
        """
        with forks.setting_up():
            from forebay.volume.stats import cache_stats

        entries = None if uris is None else entries_of(uris)
        return cache_stats(self.engine.open_index(), self.config, entries)

    def contents(self, prefix: str = "") -> Iterator[CachedObject]:
        """Yields every cached object, in no order.

        Args:
            prefix: only objects whose URI begins with it.
        """
        with forks.setting_up():
            from forebay.volume.contents import cached_objects

        return cached_objects(self.engine.open_index(), self.engine.files, prefix)

    def clear(self, uris: Iterable[URI] | None = None, force: bool = False) -> int:
        """Removes cached files, and returns of how many entries; the remote objects stay as they are.

        Leased entries stay, and so do those that are being downloaded right now.

        Args:
            uris: which; everything by default.
            force: remove leased entries, too.
        """
        entries = None if uris is None else entries_of(uris)
        return aside(lambda: self.engine.open_clearing().clear(entries, force=force))

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
        return aside(lambda: self.engine.open_evictor().evict_to(parse_size(str(to))))

    def lease(self, uris: Iterable[URI], ttl: float | str, name: str | None = None) -> Lease:
        """Keeps samples from eviction for a while, whether they are cached already or not.

        Args:
            uris: remote URIs; local paths among them are left out.
            ttl: for how long, in seconds or as ``24h``.
            name: the lease's name, by default a new one; a lease that exists is extended.

        Returns:
            a handle on the lease, which as a context manager ends it.

        Raises:
            ConfigError: ``ttl`` is not a duration, or the name no name of a lease.
        """
        return self.engine.lease(name, entries_of(uris), parse_duration(ttl))

    def leases(self) -> list[LeaseStatus]:
        """Every lease of the volume, the first to expire first."""
        with forks.setting_up():
            from forebay.volume.leases import all_leases

        return all_leases(self.engine.open_index())

    def close(self) -> None:
        """Flushes counts and access times to the index, and disconnects; a later call connects again."""
        self.engine.close()
