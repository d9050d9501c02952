"""The volumes of one Redis: which there are, and how to fill several of them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from forebay.cache import MediaCache, ProgressOption
from forebay.config import MediaCacheConfig, mask_url
from forebay.embedded import read_owner
from forebay.errors import ConfigError, ForebayError, NoWorkersError, VolumeError
from forebay.index.connection import Connection
from forebay.index.index import Index
from forebay.index.jobs import Ledger
from forebay.jobs import fleet
from forebay.jobs.progress import reporter
from forebay.volume import registry
from forebay.volume.registry import Record
from forebay.volumes import broadcast
from forebay.volumes.broadcast import Broadcast

Names = Sequence[str] | Literal["all"]
_NONE_NAMED = "no volume is named; give their names, or all"


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """How a volume is.

    Attributes:
        name: its name.
        host, directory: where it is; of a volume that several machines share, where it was used last.
        size: bytes in the cache.
        limit: the most that it may hold, in bytes; -1 for no limit.
        objects: how many there are.
        workers: how many are alive.
        threads: how many downloads they run at a time.
        bytes_per_second, objects_per_second: downloads, over the last minute.
        seen: when a process of it was heard of last, in seconds since the epoch.
        stale: whether that is more than a minute ago.
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


class Volumes:
    """Every volume of the Redis that the settings name.

    Args:
        config: the settings; by default those of the environment and the configuration file.
    """

    def __init__(self, config: MediaCacheConfig | None = None) -> None:
        self.config = MediaCacheConfig() if config is None else config
        self._caches: dict[str, MediaCache] = {}

    def list(self) -> list[VolumeStatus]:
        """Every volume that has announced itself and was not forgotten, by name.

        Raises:
            IndexUnavailableError: Redis cannot be asked.
        """
        return [self._status(record) for record in registry.known(self._connection)]

    def cache(self, name: str) -> MediaCache:
        """The cache of a volume, on whichever machine that is.

        Of a volume that this machine does not have, jobs and leases can be made and watched; whatever
        touches a file raises `VolumeError`.

        Raises:
            VolumeError: there is no such volume; or it is elsewhere, and ``dispatch`` is ``local``.
        """
        if name not in self._caches:
            self._caches[name] = self._make(name)
        return self._caches[name]

    def check_known(self) -> None:
        """For whoever only looks, and so is not to make a volume by a name that was mistyped.

        Raises:
            VolumeError: Redis knows volumes, and the directory belongs to none, but not this name.
        """
        config = self.config
        if config.redis_url is None or read_owner(config.cache_dir) is not None:
            return
        names = [record.name for record in registry.known(self._connection)]
        meta = Index(self._connection, config.volume).keys.meta
        if names and config.volume not in names and not self._connection.command("exists", meta):
            raise VolumeError(self._unknown(config.volume))

    def look(self, names: Names) -> dict[str, MediaCache]:
        """Volumes whose jobs and leases can be asked for, wherever they are, filled by somebody or not.

        Raises:
            ConfigError: no volume is named.
            VolumeError: there is no such volume.
        """
        if not names:
            raise ConfigError(_NONE_NAMED)
        records = {record.name: record for record in registry.known(self._connection)}
        for name in () if names == "all" else names:
            if name not in records:
                raise VolumeError(self._unknown(name))
        return {
            name: MediaCache(self.config.model_copy(update={"volume": name}), elsewhere=records[name].place)
            for name in (records if names == "all" else names)
        }

    def choose(self, names: Names) -> tuple[dict[str, MediaCache], dict[str, str]]:
        """The volumes that can be filled now.

        Args:
            names: which; with ``all``, those that cannot be are left out.

        Returns:
            their caches, by name, and the reasons why others were left out.

        Raises:
            ConfigError: no volume is named.
            VolumeError: as `cache`.
            NoWorkersError: nobody would fill a volume that is named, or any at all.
        """
        if not names:
            raise ConfigError(_NONE_NAMED)
        chosen: dict[str, MediaCache] = {}
        skipped: dict[str, str] = {}
        if names != "all":
            for name in names:
                chosen[name] = self.cache(name)
                chosen[name].dispatcher.choose()
            return chosen, skipped
        for record in registry.known(self._connection):
            try:
                if record.stale and not (self.config.dispatch == "local" and record.is_here):
                    raise NoWorkersError(
                        "no process of it was heard of for more than a minute; if it is gone for good: "
                        f"forebay volumes --forget {record.name}"
                    )
                cache = self.cache(record.name)
                cache.dispatcher.choose()
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
        volumes: Names = "all",
        update: bool = False,
        skip_failures: bool = True,
        wait: bool = True,
        lease: float | str | None = None,
        message_size: int | None = None,
        progress: ProgressOption = None,
    ) -> Broadcast:
        """Brings samples into several volumes, each by its own workers: one job for each.

        Args:
            volumes: their names, or ``all`` that have workers.
            update: download again what has changed at its source.
            skip_failures: false to cancel all the jobs and raise at the first failure.
            wait: false to return at once.
            lease: how long each volume keeps the samples, in seconds or as ``24h``.
            message_size: samples in one message to the fleet.
            progress: that of all volumes together.

        Returns:
            a handle on the jobs.

        Raises:
            NoWorkersError, VolumeError: as `choose`; no job was begun.
            DownloadError: a sample failed, and ``skip_failures`` is false; all jobs are cancelled.
        """
        caches, skipped = self.choose(volumes)
        jobs = broadcast.create(
            caches, list(uris), update=update, lease=lease, message_size=message_size, skipped=skipped
        )
        jobs.start()
        if wait:
            with reporter(progress) as show:
                jobs.wait(skip_failures=skip_failures, progress=show)
        return jobs

    def forget(self, name: str) -> None:
        """Removes everything that Redis knows of a volume: index, leases, jobs, queue. Its files stay, and
        are taken in again when it is used again.

        Raises:
            VolumeError: there is no such volume, or it is in use.
        """
        record = registry.find(self._connection, name)
        if record is None:
            raise VolumeError(self._unknown(name))
        if not record.stale:
            raise VolumeError(
                f"volume {name!r} is in use at {record.place}: stop its workers and programs, "
                f"and try again {registry.STALE_SECONDS:.0f} s later"
            )
        index = Index(self._connection, name)
        ledger = Ledger(index)
        for job in ledger.jobs():
            ledger.delete(job)
        leases = [index.keys.lease(lease) for lease, _, _ in index.leases()]
        self._connection.command("unlink", *index.keys.all(), *leases)
        config = self.config.model_copy(update={"volume": name})
        fleet.purge(fleet.celery_app(config, fleet.broker_url(config, self._connection.url)), config)
        registry.forget(self._connection, name)

    def close(self) -> None:
        """Closes every connection that was opened here."""
        for cache in self._caches.values():
            cache.close()
        if self.config.redis_url is not None and "_connection" in self.__dict__:
            self._connection.close()

    @cached_property
    def _connection(self) -> Connection:
        if self.config.redis_url is None:
            return self.cache(self.config.volume).volume.index.connection
        connection = Connection(self.config.redis_url)
        connection.check()
        return connection

    @property
    def _where(self) -> str:
        return "the embedded index" if self.config.redis_url is None else mask_url(self.config.redis_url)

    def _unknown(self, name: str) -> str:
        names = ", ".join(record.name for record in registry.known(self._connection))
        return (
            f"volume {name!r} is not known to {self._where}: known are {names or 'none'}; "
            "a volume is, as soon as a worker or a program has used it"
        )

    def _make(self, name: str) -> MediaCache:
        config = self.config
        if config.redis_url is None:
            if name != config.volume:
                raise VolumeError(
                    f"volume {name!r} needs a Redis that it shares with this machine: set "
                    "FIFTYONE_MEDIA_CACHE_REDIS_URL (without it there is the embedded index, of one volume)"
                )
            return MediaCache(config)
        record = registry.find(self._connection, name)
        meta = Index(self._connection, name).keys.meta
        index_id, place = self._connection.command("hmget", meta, ["index_id", "directory"])
        if name == config.volume and (index_id is None or _is_ours(config.cache_dir, index_id, place)):
            return MediaCache(config)
        if record is None and index_id is None:
            raise VolumeError(self._unknown(name))
        place = record.place if record is not None else str(place)
        if record is not None and record.is_here and self._local(name):
            here = {"volume": name, "cache_dir": record.directory, "cache_size_bytes": record.limit}
            return MediaCache(config.model_copy(update=here))
        if config.dispatch == "local":
            raise VolumeError(
                f"volume {name!r} is not on this machine, it is {place}: local dispatch fills what lies "
                "here; use --dispatch fleet"
            )
        return MediaCache(config.model_copy(update={"volume": name, "dispatch": "fleet"}), elsewhere=place)

    def _local(self, name: str) -> bool:
        """Whether threads of this process are to fill a volume that this machine has."""
        workers = fleet.workers(Index(self._connection, name))
        return self.config.dispatch == "local" or (
            self.config.dispatch == "auto" and not any(worker.alive for worker in workers)
        )

    def _status(self, record: Record) -> VolumeStatus:
        index = Index(self._connection, record.name)
        totals, rates = index.totals(), index.download_rate()
        alive = [worker for worker in fleet.workers(index) if worker.alive]
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
    return place == f"{socket.gethostname()}:{os.path.realpath(cache_dir)}"
