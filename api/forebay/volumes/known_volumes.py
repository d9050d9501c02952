"""The volumes of one Redis: which there are, and how to fill several of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig, mask_url, settings_of
from forebay.config.sizes import human
from forebay.embedded import read_owner
from forebay.errors import ConfigError, ForebayError, NoWorkersError, VolumeError
from forebay.fetch.wanted_parts import Parts
from forebay.index.connection import Connection
from forebay.index.index import Index
from forebay.index.registry import STALE_SECONDS, VolumeRecord, VolumeRegistry
from forebay.jobs import fleet
from forebay.jobs.celery_app import broker_url, celery_app
from forebay.jobs.creation import MessageSize
from forebay.jobs.progress import ProgressOption, reporter
from forebay.processes import location
from forebay.tables import Number, TableList, clock, described
from forebay.uri import shown
from forebay.volume.absent_files import AbsentFiles
from forebay.volumes import broadcast
from forebay.volumes.absent import AbsentCache
from forebay.volumes.broadcast import Broadcast

VolumeNames = Sequence[str] | Literal["all"]
"""A sequence of names of volumes, or ``all``."""

_NONE_NAMED = "no volume is named; give their names, or all"


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """The state of a volume at one moment.

    Attributes:
        name: its name.
        host: the machine that has it; of a volume that several machines share, the one that used it last.
        directory: its cache directory on that machine.
        size: bytes in the cache.
        limit: its maximum size, in bytes; -1 for no limit.
        objects: the number of cached objects.
        workers: the number of workers that are alive.
        threads: how many downloads they run at a time.
        bytes_per_second: downloaded bytes a second, over the last minute.
        objects_per_second: downloaded objects a second, over the last minute.
        seen: the last heartbeat of one of its processes, in seconds since the epoch.
        stale: whether that was more than a minute ago.
    """

    name: str
    host: str
    directory: str
    size: int
    limit: int
    objects: int
    workers: int
    threads: int
    bytes_per_second: float
    objects_per_second: float
    seen: float
    stale: bool

    def _cells(self) -> dict[str, str]:
        return {
            "volume": self.name,
            "host": self.host,
            "directory": self.directory,
            "size": Number(human(self.size)),
            "of": Number(human(self.limit) if self.limit >= 0 else "no limit"),
            "objects": Number(f"{self.objects:,}"),
            "workers": Number(f"{self.workers:,}"),
            "threads": Number(f"{self.threads:,}"),
            "rate": Number(f"{human(self.bytes_per_second)}/s"),
            "seen": clock(self.seen) + (" (stale)" if self.stale else ""),
        }

    def _repr_html_(self) -> str:
        return described(self._cells())


class Volumes:
    """Every volume of the Redis that the settings name.

    Args:
        config: the settings; by default those of the environment and the configuration file.
    """

    def __init__(self, config: MediaCacheConfig | None = None) -> None:
        self.config = settings_of(config)
        self._caches: dict[str, MediaCache] = {}
        self._connection: Connection | None = None

    def list(self) -> list[VolumeStatus]:
        """Every volume that a worker or a program has used and that was not forgotten, by name.

        Raises:
            IndexUnavailableError: Redis cannot be asked.
        """
        return TableList((self._status(record) for record in self._registry().all()), "volumes")

    def cache(self, name: str) -> MediaCache:
        """The cache of a volume, on any machine.

        Of a volume that is not on this machine, jobs and leases can be made and watched; operations on its
        files raise `VolumeError`.

        Args:
            name: the volume's name.

        Raises:
            VolumeError: no volume has this name; or it is on another machine, and ``dispatch`` is ``local``.
        """
        if name not in self._caches:
            self._caches[name] = self._make(name)
        return self._caches[name]

    def check_known(self) -> None:
        """Raises if Redis does not know the configured volume.

        Read-only commands call it, so that a misspelt name does not create a volume.

        Raises:
            VolumeError: Redis knows volumes, and the directory belongs to none, but not this name.
        """
        config = self.config
        if config.redis_url is None or read_owner(config.cache_dir) is not None:
            return
        names = [record.name for record in self._registry().all()]
        known = Index(self._connect(), config.volume).state.exists
        if names and config.volume not in names and not known():
            raise self._unknown(config.volume)

    def look(self, names: VolumeNames) -> dict[str, MediaCache]:
        """The caches of volumes on any machine, with or without workers, to read their jobs and leases.

        Args:
            names: which.

        Returns:
            the caches, by name of the volume.

        Raises:
            ConfigError: no volume is named.
            VolumeError: there is no such volume.
        """
        if not names:
            raise ConfigError(_NONE_NAMED, setting="volumes")
        records = {record.name: record for record in self._registry().all()}
        for name in () if names == "all" else names:
            if name not in records:
                raise self._unknown(name)
        return {
            name: AbsentCache(
                self.config.model_copy(update={"volume": name}), AbsentFiles(records[name].place, name)
            )
            for name in (records if names == "all" else names)
        }

    def choose(self, names: VolumeNames) -> tuple[dict[str, MediaCache], dict[str, str]]:
        """The volumes into which samples can be downloaded now.

        Args:
            names: which; with ``all``, the others are left out.

        Returns:
            their caches, by name, and the reasons why others were left out.

        Raises:
            ConfigError: no volume is named.
            VolumeError: as `cache`.
            NoWorkersError: a named volume has no process that would download, or no volume has.
        """
        if not names:
            raise ConfigError(_NONE_NAMED, setting="volumes")
        chosen: dict[str, MediaCache] = {}
        skipped: dict[str, str] = {}
        if names != "all":
            if not isinstance(names, list | tuple | set | frozenset):
                raise ConfigError(
                    f"volumes={shown(names)} must be a list of names, such as ['a', 'b'], or 'all'",
                    setting="volumes",
                )
            for name in names:
                chosen[name] = self.cache(name)
                chosen[name].engine.open_dispatcher().choose()
            return chosen, skipped
        for record in self._registry().all():
            try:
                if record.stale and not (self.config.dispatch == "local" and record.is_here()):
                    raise NoWorkersError(
                        "none of its processes sent a heartbeat for more than a minute; if it is gone for "
                        f"good: forebay volumes --forget {record.name}",
                        volume=record.name,
                    )
                cache = self.cache(record.name)
                cache.engine.open_dispatcher().choose()
            except ForebayError as error:
                skipped[record.name] = str(error)
            else:
                chosen[record.name] = cache
        if not chosen:
            why = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise NoWorkersError(f"no volume of {self._where} can be filled: {why or 'there is none yet'}")
        return chosen, skipped

    def download_media(
        self,
        uris: Iterable[str],
        volumes: VolumeNames = "all",
        update: bool | float | str = False,
        skip_failures: bool = True,
        wait: bool = True,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        progress: ProgressOption = None,
        parts: Parts | None = None,
    ) -> Broadcast:
        """Downloads samples into several volumes, each by its own workers: one job for each.

        Args:
            uris: as `MediaCache.download_media`.
            volumes: their names, or ``all`` for those that have workers.
            update: as `MediaCache.download_media`.
            skip_failures: false to cancel all the jobs and raise at the first failure.
            wait: false to return at once.
            lease: how long each volume keeps the samples from eviction, in seconds or as ``24h``.
            message_size: as `MediaCache.download_media`.
            progress: as `MediaCache.get_local_paths`, for all volumes together.
            parts: as `MediaCache.download_media`.

        Returns:
            a handle on the jobs.

        Raises:
            ConfigError: as `choose`.
            NoWorkersError: as `choose`; no job was begun.
            VolumeError: as `choose`; no job was begun.
            DownloadError: a sample failed, and ``skip_failures`` is false; all jobs are cancelled.
        """
        caches, skipped = self.choose(volumes)
        jobs = broadcast.create(
            caches,
            list(uris),
            update=update,
            lease=lease,
            message_size=message_size,
            parts=parts,
            skipped=skipped,
        )
        jobs.start()
        if wait:
            with reporter(progress) as show:
                jobs.wait(skip_failures=skip_failures, progress=show)
        return jobs

    def forget(self, name: str) -> None:
        """Removes all records of a volume from Redis: index, leases, jobs, queue.

        Its files stay. When the volume is used again, they are added to its index again.

        Args:
            name: the volume's name.

        Raises:
            VolumeError: no volume has this name, or it is in use.
        """
        record = self._registry().find(name)
        if record is None:
            raise self._unknown(name)
        if not record.stale:
            raise VolumeError(
                f"volume {name!r} is in use at {record.place}: stop its workers and programs, "
                f"and try again {STALE_SECONDS:.0f} s later",
                volume=name,
            )
        Index(self._connect(), name).forget()
        config = self.config.model_copy(update={"volume": name})
        fleet.purge(celery_app(config, broker_url(config, self._connect().url)), config)

    def close(self) -> None:
        """Closes every connection that this object has opened."""
        for cache in self._caches.values():
            cache.close()
        if self.config.redis_url is not None and self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Connection:
        if self.config.redis_url is None:
            return self.cache(self.config.volume).engine.open_index().connection
        if self._connection is None:
            connection = Connection(self.config.redis_url)
            connection.check()
            self._connection = connection
        return self._connection

    def _registry(self) -> VolumeRegistry:
        return VolumeRegistry(self._connect())

    @property
    def _where(self) -> str:
        return "the embedded index" if self.config.redis_url is None else mask_url(self.config.redis_url)

    def _unknown(self, name: str) -> VolumeError:
        names = ", ".join(record.name for record in self._registry().all())
        return VolumeError(
            f"volume {shown(name)} is not known to {self._where}: known are {names or 'none'}; "
            "a volume becomes known when a worker or a program uses it",
            volume=name,
        )

    def _make(self, name: str) -> MediaCache:
        config = self.config
        if config.redis_url is None:
            if name != config.volume:
                raise VolumeError(
                    f"volume {name!r} needs a Redis that it shares with this machine: set "
                    "FIFTYONE_MEDIA_CACHE_REDIS_URL (without it there is the embedded index, of one volume)",
                    volume=name,
                )
            return MediaCache(config)
        record = self._registry().find(name)
        index_id, place = Index(self._connect(), name).state.identity()
        if name == config.volume and (index_id is None or _is_ours(config.cache_dir, index_id, place)):
            return MediaCache(config)
        if record is None and index_id is None:
            raise self._unknown(name)
        place = record.place if record is not None else str(place)
        if record is not None and record.is_here() and self._local(name):
            here = {"volume": name, "cache_dir": record.directory, "cache_size_bytes": record.limit}
            return MediaCache(config.model_copy(update=here))
        if config.dispatch == "local":
            raise VolumeError(
                f"volume {name!r} is not on this machine, it is {place}: local dispatch fills only "
                "volumes of this machine; use --dispatch fleet",
                volume=name,
            )
        elsewhere = config.model_copy(update={"volume": name, "dispatch": "fleet"})
        return AbsentCache(elsewhere, AbsentFiles(place, name))

    def _local(self, name: str) -> bool:
        """Whether threads of this process are to fill a volume that this machine has."""
        workers = Index(self._connect(), name).workers
        return self.config.dispatch == "local" or (self.config.dispatch == "auto" and not workers.alive())

    def _status(self, record: VolumeRecord) -> VolumeStatus:
        index = Index(self._connect(), record.name)
        totals, rates = index.entries.totals(), index.counters.download_rate()
        alive = index.workers.alive()
        return VolumeStatus(
            name=record.name,
            host=record.host,
            directory=record.directory,
            size=totals.published,
            limit=record.limit,
            objects=totals.count,
            workers=len(alive),
            threads=sum(worker.concurrency for worker in alive),
            bytes_per_second=rates[0],
            objects_per_second=rates[1],
            seen=min(record.seen, time.time()),
            stale=record.stale,
        )


def _is_ours(cache_dir: str, index_id: str, place: str | None) -> bool:
    """Whether a directory is that of the volume with this index; on NFS its place has many names."""
    owner = read_owner(cache_dir)
    if owner is not None:
        return owner.index_id == index_id
    return place == location(cache_dir)
