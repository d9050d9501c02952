"""Bringing samples into the cache: claim what is missing, transfer it, commit it to the index.

One thread claims, makes room and commits, in batches. Meanwhile the transport's threads move the bytes, of as
many objects at a time as the sources and the memory bear. An entry that another process has claimed is
waited for, not downloaded again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import BinaryIO

from forebay.aside import stoppable
from forebay.config.freshness import NEVER, Freshness
from forebay.eviction.room import Room
from forebay.fetch.arrivals import Arrivals
from forebay.fetch.destination import Destination
from forebay.fetch.moving import FileState, move
from forebay.fetch.object_parts import ObjectParts, PartFetch
from forebay.fetch.order_run import OrderRun
from forebay.fetch.orders import Orders
from forebay.fetch.outcome import Report, SampleOutcome
from forebay.fetch.quota_keeper import QuotaKeeper
from forebay.fetch.run import Run
from forebay.fetch.storing import store
from forebay.fetch.wanted_parts import Parts
from forebay.fetch.work import Item, Sample, items_of
from forebay.sources.base import ObjectInfo
from forebay.sources.sources import Sources
from forebay.uri import MediaURI
from forebay.uri.blocks import Block
from forebay.volume.counters import Counters, Ended
from forebay.volume.recovery import Recovery

# Samples that are taken at a time: enough to find most that want the same object, and few in memory.
_PORTION = 4096


class Fetcher:
    """Downloads objects into a volume.

    Args:
        destination: where to.
        recovery: keeps the index true to the files.
        room: makes room.
        counters: of this process.
        sources: where from.
        open_parts: gives what fetches parts of objects.
        quotas: keeps labels to their quotas.
    """

    def __init__(
        self,
        destination: Destination,
        recovery: Recovery,
        room: Room,
        counters: Counters,
        sources: Sources,
        open_parts: Callable[[], ObjectParts],
        quotas: QuotaKeeper,
    ) -> None:
        self._destination = destination
        self._recovery = recovery
        self._room = room
        self._counters = counters
        self._sources = sources
        self._open_parts = open_parts
        self._quotas = quotas

    def alone(self) -> Fetcher:
        """The same, but it asks no neighbours: for what they have asked this volume for."""
        alone = copy.copy(self)
        alone._destination = replace(self._destination, neighbours=None)
        return alone

    @property
    def arrivals(self) -> Arrivals:
        """The large objects that are arriving in this process."""
        return self._destination.arrivals

    @property
    def is_closed(self) -> bool:
        """Whether this process has closed the cache, which ends what is being fetched."""
        return self._destination.session.is_ended

    def fetch(
        self,
        samples: Iterable[Sample],
        report: Report,
        *,
        fresh: Freshness = NEVER,
        cancelled: Callable[[], bool] = lambda: False,
        begun: Callable[[], object] = lambda: None,
        unused: bool = False,
        wanted: Parts | None = None,
        quota: str = "",
    ) -> None:
        """Brings samples into the cache; returns when each has been reported.

        Of an object that is there in part, only the rest is downloaded.

        Args:
            samples: number and URI of each, and the checksum that it must have, if one is known. They are
                taken as they are needed, so that a job of any length fits in memory.
            report: is told of outcomes, a few at a time, by one thread at a time.
            fresh: which copies are compared with their sources, to be downloaded again if they have changed.
            cancelled: asked before downloads begin; samples left then are not reported.
            begun: called when the last download has begun; must be quick.
            unused: give downloaded files no grace period, as no caller waits for their paths, or a lease
                keeps them.
            wanted: the bytes of each that are wanted; by default all. What does not come in parts is
                downloaded as a whole.
            quota: label and bytes of the quota that downloads count on; empty for none.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        self._recovery.check()
        if quota and wanted is None:
            report = self._quotas.watching(quota, report)
        parts = PartFetch(self._open_parts, self._destination.files, self._counters, wanted)
        portions = self._portions(iter(samples), report, parts, cancelled)
        first = next(portions, None)
        if first is not None:
            items = chain((first,), portions)
            self._work_off(items, report, fresh=fresh, cancelled=cancelled, begun=begun, unused=unused)

    def fetch_blocks(self, uri: MediaURI, blocks: Iterable[Block], report: Report) -> None:
        """Brings blocks of one object into the cache, as `fetch` does with objects; each has its number.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        self._recovery.check()
        items = [Item(uri, block.entry, block.number, block=block) for block in blocks]
        self._work_off([items], report)

    def _work_off(
        self,
        items: Iterable[list[Item]],
        report: Report,
        *,
        fresh: Freshness = NEVER,
        cancelled: Callable[[], bool] = lambda: False,
        begun: Callable[[], object] = lambda: None,
        unused: bool = False,
    ) -> None:
        idle = self._destination.config.grace_seconds if unused else 0.0
        run = Run(self._destination, self._recovery, self._room, self._counters, self._sources, report)

        def work(stop: Callable[[], None]) -> None:
            def is_cancelled() -> bool:
                stop()
                return cancelled()

            run.work_off(items, fresh=fresh, cancelled=is_cancelled, begun=begun, idle=idle)

        stoppable(work)

    def fetch_orders(self, orders: Orders) -> None:
        """Brings what is ordered into the cache; returns when nothing is ordered any more.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        self._recovery.check()
        parts = (self._destination, self._recovery, self._room, self._counters, self._sources)
        OrderRun(*parts, orders).fetch()

    def _portions(
        self, samples: Iterator[Sample], report: Report, parts: PartFetch, cancelled: Callable[[], bool]
    ) -> Iterator[list[Item]]:
        """The objects of some samples at a time, which are to be downloaded as a whole; reports those samples
        that have none, and those of which parts were fetched."""
        while some := list(islice(samples, _PORTION)):
            items, broken = items_of(some)
            if broken:
                self._counters.ended(
                    Ended(None, "failed", reason=one.error.kind if one.error else "bad_uri") for one in broken
                )
                report(broken)
            if whole := parts.fetch(items, report, cancelled):
                yield whole

    def divide(self, parts: int) -> None:
        """Leaves all but one of so many parts of what may be in flight to other processes; 1 ends that."""
        self._sources.open_transport().divide(parts)

    def fetch_one(self, uri: str, *, unused: bool = False) -> None:
        """Brings one object into the cache.

        Raises:
            ForebayError: the object cannot be downloaded.
        """
        outcomes: list[SampleOutcome] = []
        self.fetch([(0, uri)], outcomes.extend, unused=unused)
        if outcomes[0].error is not None:
            raise outcomes[0].error

    def claim(self, entry: str) -> str | None:
        """Claims an entry, so that no other process fetches it meanwhile; cleans up after one that has died.

        Returns:
            the claim's token, for `store` or `release`; ``None`` where it is there, or is being fetched.
        """
        to = self._destination
        [(token, answer)] = to.session.claim([entry], always=False)
        if answer.holder:
            self._recovery.reap_if_gone(answer)
        elif not answer.granted and to.files.locate(entry) is None:
            # The index says that it is there, and the disk that it is not: the disk is right.
            to.index.entries.forget([(entry, answer.value)])
        if not answer.granted:
            return None
        if answer.value or self._recovery.adopt(entry, token):
            self.release(entry, token)
            return None
        return token

    def release(self, entry: str, token: str) -> None:
        """Gives a claim back; one that has ended is left alone."""
        self._destination.session.release([(entry, token)])

    def store(self, info: ObjectInfo, file: BinaryIO, block: Block | None = None, token: str = "") -> None:
        """Takes a file into the cache as the copy of an object that was just written from it or read.

        Args:
            block: what the file is of the object; ``None`` for the whole. ``info`` is of that.
            token: of a claim on it, which ends with this; a new one by default.

        Raises:
            CacheFullError: there is no room for it.
            SourceError: the file was changed after it was written to the source.
        """
        self._recovery.check()
        store(self._destination, self._recovery, self._room, info, file, block, token)

    def move(self, info: ObjectInfo, path: str, state: FileState) -> None:
        """Moves a local file into the cache; see `forebay.fetch.moving.move`.

        Raises:
            CacheFullError, SourceError, OSError: as `forebay.fetch.moving.move`.
        """
        self._recovery.check()
        move(self._destination, self._recovery, self._room, info, path, state)
