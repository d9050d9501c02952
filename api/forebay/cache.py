"""MediaCache, the one object that users hold."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Literal

from forebay import logs
from forebay.config import MediaCacheConfig
from forebay.config.sizes import human, parse_duration, parse_size
from forebay.errors import ConfigError, ForebayError, ObjectNotFoundError
from forebay.jobs import jobs
from forebay.jobs import overflow as shortfall
from forebay.jobs.progress import reporter
from forebay.uri import entry_of, is_local, local_file, redact
from forebay.volume.volume import Volume

if TYPE_CHECKING:
    from forebay.eviction.eviction import Evicted
    from forebay.fetch.fetcher import Fetcher, Outcome
    from forebay.jobs.dispatcher import Dispatcher
    from forebay.jobs.jobs import Job, JobStatus
    from forebay.lookahead.context import DownloadContext
    from forebay.sources.sources import Sources
    from forebay.volume.leases import Lease, LeaseStatus

log = logging.getLogger(__name__)

ProgressOption = bool | Callable[["JobStatus"], object] | None


class MediaCache:
    """A size-bounded cache of remote media on one volume.

    Safe to use from many threads and in forked children. Nothing is opened or started before it is
    needed; a hit only looks at the disk.

    Args:
        config: the settings; by default those of the environment and the configuration file.
        elsewhere: for a volume that is not on this machine, where it is; `Volumes.cache` knows.

    Raises:
        ConfigError: a setting is not allowed.
    """

    def __init__(self, config: MediaCacheConfig | None = None, *, elsewhere: str = "") -> None:
        self.config = MediaCacheConfig() if config is None else config
        self.volume = Volume(self.config, elsewhere=elsewhere)
        # An open volume is kept by its heartbeat, even when nothing refers to this object any more.
        atexit.register(_close, weakref.ref(self.volume))

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
        if is_local(uri):
            return local_file(uri)
        path = self.volume.use(entry_of(uri))
        if path is None:
            self.volume.meter.misses += 1
            return self._fetch_one(uri)
        self.volume.meter.hits += 1
        return path

    def open(self, uri: str) -> IO[bytes]:
        """Opens a cached file for reading; it stays readable even when it is evicted meanwhile.

        Raises:
            ForebayError: as `local_path`.
        """
        while True:
            path = self.local_path(uri)
            try:
                return open(path, "rb")
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
                # Nobody has a handle on it, and there is nothing to look up.
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
        batch_size: int | Literal["auto"] | None = None,
        progress: ProgressOption = None,
    ) -> Job:
        """Brings samples into the cache.

        Args:
            uris: remote URIs; local paths among them count as cached.
            update: download again what has changed at its source, by its etag, else size and time.
            skip_failures: false to cancel the job and raise at the first failure.
            wait: false to return at once. The fleet goes on with the job; threads of this process do as
                long as it lives, and whoever waits for the job afterwards goes on with the rest.
            lease: how long to keep the samples from eviction, in seconds or as ``24h``.
            batch_size: samples in one message to the fleet; by default as configured.
            progress: as `get_local_paths`.

        Returns:
            a handle on the job.

        Raises:
            DownloadError: a sample failed, and ``skip_failures`` is false.
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
        """
        uris = _listed(uris)
        handle = self.create_job(uris, update=update, lease=lease, batch_size=batch_size)
        handle.start()
        if wait:
            with reporter(progress) as show:
                handle.wait(skip_failures=skip_failures, progress=show)
            if text := shortfall.described(self.volume, uris, handle.status()):
                log.warning("%s", text)
        return handle

    def create_job(
        self,
        uris: Iterable[str],
        update: bool = False,
        lease: float | str | None = None,
        batch_size: int | Literal["auto"] | None = None,
    ) -> Job:
        """Writes a job down, and does not start it: what `download_media` does first.

        For whoever needs the handle before the downloads begin; `Job.start` begins them.

        Raises:
            NoWorkersError: as `download_media`.
        """
        uris = _listed(uris)
        remote, entries, broken = _understand(uris)
        job = jobs.new_id()
        name = None if lease is None else f"job-{job}"
        try:
            if name is not None:
                self._keep(name, entries, parse_duration(lease or 0))
            missing = remote if update else self._missing(remote, entries)
            dispatch, threads = self.dispatcher.choose() if missing else ("local", 1)
            jobs.create(
                self.volume,
                job,
                missing,
                total=len(uris),
                present=len(uris) - len(missing) - len(broken),
                failed=broken,
                dispatch=dispatch,
                pack_size=self._pack_size(batch_size, len(missing), threads),
                update=update,
                lease=name,
                label=_label(missing),
            )
        except BaseException:
            # Without a job, nobody would end its lease.
            if name is not None:
                self.volume.index.end_lease(name)
            raise
        with logs.about(job):
            numbers = (len(uris), len(missing), dispatch)
            log.info("job %s: %d samples, %d to download by %s dispatch", job, *numbers)
        return jobs.Job(job, self.volume, self.dispatcher)

    def download_context(
        self,
        uris: Iterable[str],
        batch_size: int | None = None,
        target_size_bytes: int | None = None,
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
            target_size_bytes: the size of a batch; ``download_size_bytes`` by default, and never more
                than the cache can hold of all batches at hand.
            clear: remove each batch from the cache when the loop has left it.
            lookahead: how many batches to fetch ahead.
            update: as `download_media`.
            skip_failures: false to raise at the first failure; otherwise nothing lies at the path of
                a sample that failed.
            progress: as `get_local_paths`, in samples that the loop has passed.

        Raises:
            ConfigError: a size of batches is not allowed.
        """
        from forebay.lookahead.context import DownloadContext

        return DownloadContext(
            self,
            _listed(uris),
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
            skip_failures=skip_failures,
            progress=progress,
        )

    def job(self, job: str) -> Job:
        """A handle on a job, by its id.

        Raises:
            JobNotFoundError: there is no such job (any more).
        """
        handle = jobs.Job(job, self.volume, self.dispatcher)
        handle.status()
        return handle

    def jobs(self) -> list[JobStatus]:
        """Every job of the volume, oldest first."""
        return jobs.all_jobs(self.volume)

    # What is cached

    def stats(self, uris: Iterable[str] | None = None) -> dict[str, Any]:
        """How full the cache is, or how much of it these URIs take.

        Returns:
            ``cache_dir``, ``cache_size``, ``cache_size_str``, ``current_size``, ``current_size_str``,
            ``current_count`` and ``load_factor``; sizes in bytes, -1 for no limit.
        """
        if uris is None:
            totals = self.volume.index.totals()
            size, count = totals.published, totals.count
        else:
            entries = list(dict.fromkeys(entry_of(uri) for uri in _listed(uris) if not is_local(uri)))
            known = [value for value in self.volume.index.values(entries) if value is not None]
            size, count = sum(value.size for value in known), len(known)
        limit = self.config.cache_size_bytes
        return {
            "cache_dir": self.config.cache_dir,
            "cache_size": limit,
            "cache_size_str": human(limit) if limit >= 0 else "no limit",
            "current_size": size,
            "current_size_str": human(size),
            "current_count": count,
            "load_factor": size / limit if limit > 0 else 0.0,
        }

    def clear(self, uris: Iterable[str] | None = None, force: bool = False) -> int:
        """Removes cached files; the remote objects stay as they are.

        What a lease keeps, or is being downloaded right now, stays.

        Args:
            uris: which; everything by default.
            force: remove what a lease keeps, too.

        Returns:
            how many entries were removed.
        """
        from forebay.eviction.eviction import clear

        entries = None if uris is None else [entry_of(uri) for uri in _listed(uris) if not is_local(uri)]
        return clear(self.volume, entries, force=force)

    def evict(self, to: int | str) -> Evicted:
        """Evicts what was used least recently, until the cache holds no more than ``to``.

        What a lease keeps stays, and what is used all the time does, so that more may be left.

        Args:
            to: bytes, or as ``50GB``.

        Returns:
            what was evicted, oldest first.
        """
        from forebay.eviction.eviction import evict_to

        return evict_to(self.volume, parse_size(str(to)))

    def lease(self, uris: Iterable[str], ttl: float | str, name: str | None = None) -> Lease:
        """Keeps entries, cached or not yet, from eviction for a while.

        Usable as a context manager, which ends the lease.

        Args:
            ttl: seconds, or as ``24h``.
            name: the lease's name; one that exists is extended.
        """
        from forebay.volume.leases import Lease

        name = name or f"lease-{jobs.new_id()}"
        self._keep(name, [entry_of(uri) for uri in _listed(uris) if not is_local(uri)], parse_duration(ttl))
        return Lease(name, self.volume)

    def leases(self) -> list[LeaseStatus]:
        """Every lease of the volume, the first to expire first."""
        from forebay.volume.leases import all_leases

        return all_leases(self.volume)

    def close(self) -> None:
        """Tells the index what it has to know, and closes the connection; used again, it opens again."""
        self.volume.close()

    # Inside

    @cached_property
    def sources(self) -> Sources:
        """Where bytes come from."""
        from forebay.sources.sources import Sources

        return Sources(self.config)

    @cached_property
    def fetcher(self) -> Fetcher:
        """What downloads."""
        from forebay.fetch.fetcher import Fetcher

        return Fetcher(self.volume, self.sources)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """What decides who downloads."""
        from forebay.jobs.dispatcher import Dispatcher

        return Dispatcher(self.volume, self.fetcher)

    def _fetch_one(self, uri: str) -> str:
        entry = entry_of(uri)
        while True:
            outcomes: list[Outcome] = []
            self.fetcher.fetch([(0, uri)], outcomes.extend)
            [outcome] = outcomes
            if outcome.error is not None:
                raise outcome.error
            path = self.volume.use(entry)
            if path is not None:
                return path

    def _path_of(self, uri: str) -> str:
        if is_local(uri):
            return local_file(uri)
        try:
            entry = entry_of(uri)
        except ForebayError:
            return uri
        return self.volume.use(entry) or self.volume.layout.path(entry)

    def _missing(self, remote: Sequence[str], entries: Sequence[str]) -> list[str]:
        """What is not cached; what is counts as used now."""
        present = self.volume.present(entries)
        missing = [uri for uri, there in zip(remote, present, strict=True) if not there]
        self.volume.meter.misses += len(missing)
        self.volume.meter.hits += len(remote) - len(missing)
        return missing

    def _keep(self, name: str, entries: Sequence[str], ttl: float) -> None:
        from forebay.volume.leases import keep

        keep(self.volume, name, entries, ttl)

    def _pack_size(self, batch_size: int | Literal["auto"] | None, samples: int, threads: int) -> int:
        from forebay.jobs.fleet import pack_size

        wanted = self.config.batch_size if batch_size is None else batch_size
        if wanted != "auto" and not (isinstance(wanted, int) and 1 <= wanted <= 1000):
            raise ConfigError(
                f"batch_size={wanted!r} is not allowed: must be 'auto' or a number from 1 to 1000"
            )
        return pack_size(wanted, samples, threads)


def _listed(uris: Iterable[str]) -> list[str]:
    """``uris`` as a list of strings.

    Raises:
        TypeError: it is a single string, whose characters would be taken for local paths.
    """
    if isinstance(uris, str | bytes):
        raise TypeError(f"expected a list of URIs, not one string: write [{redact(str(uris))!r}]")
    return [os.fspath(uri) for uri in uris]


def _understand(uris: Sequence[str]) -> tuple[list[str], list[str], list[Outcome]]:
    """The remote URIs, their entries, and failures: bad URIs, and local files that are not there."""
    from forebay.fetch.fetcher import Outcome

    remote: list[str] = []
    entries: list[str] = []
    broken: list[Outcome] = []
    for number, uri in enumerate(uris):
        if is_local(uri):
            if not os.path.exists(local_file(uri)):
                missing = ObjectNotFoundError(uri, "there is no such local file")
                broken.append(Outcome(number, uri, "failed", error=missing))
            continue
        try:
            entry = entry_of(uri)
        except ForebayError as error:
            broken.append(Outcome(number, uri, "failed", error=error))
        else:
            remote.append(uri)
            entries.append(entry)
    return remote, entries, broken


def _label(uris: Sequence[str]) -> str:
    """Where samples come from, without secrets: the bucket or host of most of them."""
    places = Counter("/".join(redact(uri).split("/", 3)[:3]) for uri in uris[:1000])
    return places.most_common(1)[0][0] if places else ""


def _close(reference: weakref.ref[Volume]) -> None:
    volume = reference()
    if volume is not None:
        volume.close()
