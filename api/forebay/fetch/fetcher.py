"""Bringing samples into the cache: claim what is missing, transfer it, commit it to the index.

One thread claims, makes room and commits, in batches. Meanwhile the transport's threads move the bytes, of as
many objects at a time as the sources and the memory bear. An entry that another process has claimed is
waited for, not downloaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

from forebay.eviction.room import Room
from forebay.fetch.destination import Destination
from forebay.fetch.outcome import Report, SampleOutcome
from forebay.fetch.run import Run
from forebay.fetch.storing import store
from forebay.fetch.work import items_of
from forebay.sources.base import ObjectInfo
from forebay.sources.sources import Sources
from forebay.volume.counters import Counters, Ended
from forebay.volume.recovery import Recovery


class Fetcher:
    """Downloads objects into a volume.

    Args:
        destination: where to.
        recovery: keeps the index true to the files.
        room: makes room.
        counters: of this process.
        sources: where from.
    """

    def __init__(
        self, destination: Destination, recovery: Recovery, room: Room, counters: Counters, sources: Sources
    ) -> None:
        self._destination = destination
        self._recovery = recovery
        self._room = room
        self._counters = counters
        self._sources = sources

    @property
    def is_closed(self) -> bool:
        """Whether this process has closed the cache, which ends what is being fetched."""
        return self._destination.session.is_ended

    def fetch(
        self,
        samples: Iterable[tuple[int, str]],
        report: Report,
        *,
        update: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        begun: Callable[[], object] = lambda: None,
        unused: bool = False,
    ) -> None:
        """Brings samples into the cache; returns when each has been reported.

        Args:
            samples: number and URI of each.
            report: is told of outcomes, a few at a time, in the calling thread.
            update: download again what has changed at its source.
            cancelled: asked before downloads begin; samples left then are not reported.
            begun: called when the last download has begun; must be quick.
            unused: give downloaded files no grace period, as no caller waits for their paths, or a lease
                keeps them.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        self._recovery.check()
        items, broken = items_of(samples)
        if broken:
            self._counters.ended(Ended(None, "failed", reason="bad_uri") for _ in broken)
            report(broken)
        if items:
            idle = self._destination.config.grace_seconds if unused else 0.0
            run = Run(self._destination, self._recovery, self._room, self._counters, self._sources, report)
            run.work_off(items, update=update, cancelled=cancelled, begun=begun, idle=idle)

    def fetch_one(self, uri: str, *, unused: bool = False) -> None:
        """Brings one object into the cache.

        Raises:
            ForebayError: the object cannot be downloaded.
        """
        outcomes: list[SampleOutcome] = []
        self.fetch([(0, uri)], outcomes.extend, unused=unused)
        if outcomes[0].error is not None:
            raise outcomes[0].error

    def store(self, info: ObjectInfo, file: BinaryIO) -> None:
        """Takes a file into the cache as the copy of an object that was just written from it.

        Raises:
            CacheFullError: there is no room for it.
            SourceError: the file was changed after it was written to the source.
        """
        self._recovery.check()
        store(self._destination, self._recovery, self._room, info, file)
