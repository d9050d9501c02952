"""What a process needs, beside the index, to change a volume: its session, and the objects on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from forebay import forks
from forebay.config import MediaCacheConfig
from forebay.eviction.clearing import Clearing
from forebay.eviction.evictor import Evictor
from forebay.eviction.room import Room
from forebay.fetch.destination import Destination
from forebay.fetch.fetcher import Fetcher
from forebay.fetch.object_parts import ObjectParts
from forebay.fetch.quota_keeper import QuotaKeeper
from forebay.index import Index
from forebay.neighbours.neighbourhood import Neighbourhood
from forebay.parts.holder import Holder as PartsHolder
from forebay.volume.heartbeat import Heartbeat
from forebay.volume.maintenance import Maintenance
from forebay.volume.process_share import share_of
from forebay.volume.recovery import Recovery
from forebay.volume.removal import Removal
from forebay.volume.session import Session
from forebay.volume.sweep import Sweep
from forebay.volume.unread import UnreadPrefetches
from forebay.volume.upstream import upstream_of

if TYPE_CHECKING:
    from forebay.jobs.helpers import Helpers

_MAX_HEARTBEAT_SECONDS = 5.0


class Holder(PartsHolder, Protocol):
    """What an engine has before anything is opened, and the methods of it that are called later.

    They open anew what has been closed meanwhile.
    """

    unread: UnreadPrefetches

    def check_writable(self) -> None:
        """Raises where this process cannot write the directory."""

    def take_helpers(self) -> Helpers | None:
        """The helpers that were started for the next job."""


class Writable:
    """The session, and the objects on it.

    Args:
        engine: for which they are made.
        index: the volume's index.
        recovery: keeps the index true to the files.
        flush: tells the index which entries were used.
    """

    def __init__(self, engine: Holder, index: Index, recovery: Recovery, flush: Callable[[], object]) -> None:
        config, files, counters, unread = engine.config, engine.files, engine.counters, engine.unread
        _announce(config, index)
        self.session = session = Session(
            index,
            recovery.begin_in,
            recovery.stands,
            recovery.settle,
            config.claim_ttl_seconds,
            config.limit,
            recovery.check,
            files.is_disk_short,
        )
        recovery.follow(session)
        removal = Removal(index, session, files)
        sweep = Sweep(index, files, removal)
        self.evictor = Evictor(
            index, session, files, removal, counters, unread, config.grace_seconds, config.limit
        )
        self.maintenance = Maintenance(
            index, session, recovery, sweep, config.job_ttl_seconds, self.evictor.keep_limit
        )
        self.clearing = Clearing(index, removal, recovery, files)
        space = (config.limit, config.min_free_bytes)
        room = Room(index, session, files, self.evictor, self.maintenance, recovery, *space)
        neighbours = None if config.group is None else _neighbourhood(config, index, engine)
        upstream = upstream_of(config)
        destination = Destination(
            index, session, files, unread, config, neighbours=neighbours, upstream=upstream
        )
        quotas = QuotaKeeper(index, removal, counters, config.grace_seconds)
        self.fetcher = Fetcher(
            destination, recovery, room, counters, engine.sources, partial(_part_work, engine), quotas
        )
        self.heartbeat = Heartbeat(
            "forebay-heartbeat",
            min(config.claim_ttl_seconds / 4, _MAX_HEARTBEAT_SECONDS),
            (
                session.extend,
                session.release_unused,
                flush,
                lambda: _announce(config, index),
                self.maintenance.run,
                # Last, as nothing depends on it.
                lambda: counters.flush(index),
            ),
            f"heartbeat of volume {config.volume!r}",
        )
        self.share = share_of(config, index, session, engine.sources.open_transport)
        self.heartbeat.start()


def _part_work(engine: Holder) -> ObjectParts:
    # Imported here: most fetches are of whole objects only.
    with forks.setting_up():
        from forebay.parts.part_work import PartWork

    return PartWork(engine)


def _neighbourhood(config: MediaCacheConfig, index: Index, engine: Holder) -> Neighbourhood:
    return Neighbourhood(config, index, engine.sources)


def _announce(config: MediaCacheConfig, index: Index) -> None:
    index.volumes.announce(config.volume, config.cache_dir, config.cache_size_bytes)
