"""Decides for each object that is missing whether a neighbour has it, and whose turn it is if none has.

A process that waits for a neighbour holds nothing meanwhile: what the neighbour is to bring is not claimed,
and no request for it is open. So volumes that wait for each other cannot wait in a circle: the one that was
asked to bring an object fetches it from the cloud itself. A large object is read while it arrives there, once
its first bytes have come: that neighbour has all the room for it, and waits for the cloud alone.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from forebay.config import MediaCacheConfig
from forebay.config.freshness import of_settings
from forebay.errors import ForebayError
from forebay.index import Entry, Index
from forebay.index.groups import Groups, Server
from forebay.neighbours.asking_turns import AskingTurns
from forebay.neighbours.neighbour_source import NeighbourError, NeighbourSource, md5_of
from forebay.neighbours.turns import turn_of
from forebay.neighbours.ways import Way
from forebay.sources.base import Asking
from forebay.transport import Kind, Route, Transport, TransportError
from forebay.transport.tls import TLS
from forebay.uri import MediaURI
from forebay.uri.blocks import Block
from forebay.uri.local_roots import SCHEME as LOCAL_SCHEME

log = logging.getLogger(__name__)

# For how long what Redis said of the group's servers is good.
_KNOWN_SECONDS = 1.0
# For how long a server is not asked that did not answer as it should.
_DOWN_SECONDS = 5.0


class Wanted(Protocol):
    """An object that is missing; see `forebay.fetch.work.Item`."""

    uri: MediaURI
    entry: str
    token: str
    old: str
    block: Block | None
    way: Way | None


class Allowing(Protocol):
    """Says which URIs may be fetched, and has a transport; see `forebay.sources.sources.Sources`."""

    def check(self, uri: MediaURI) -> None: ...

    def open_transport(self) -> Transport: ...


W = TypeVar("W", bound=Wanted)
Release = Callable[[Sequence[tuple[str, str]]], object]


class Neighbourhood:
    """The other volumes of this volume's group, as one process sees them. Safe to use from many threads.

    Args:
        config: the settings; they name a group.
        index: the volume's.
        sources: say what may be fetched at all.
    """

    def __init__(self, config: MediaCacheConfig, index: Index, sources: Allowing) -> None:
        assert config.group is not None
        self._config = config
        self._volume = config.volume
        self._groups = Groups(index.connection, config.group)
        self._sources = sources
        trusted = config.group_tls_ca or config.group_tls_cert
        # Where the settings ask for TLS, the secret is sent to no server without.
        self._needs_tls = trusted is not None
        # The user named these servers, so that their addresses may be private; no proxy is in between.
        self._route = Route(TLS(trusted) if trusted is not None else TLS())
        self._lock = threading.Lock()
        self._servers: list[Server] = []
        self._known_until = 0.0
        self._down: dict[str, float] = {}
        self._secret, self._is_secret_known = "", False
        self._turns = AskingTurns(sources.open_transport, self.key, self._route, self.failed)

    def key(self) -> str:
        """The group's secret."""
        return self._secret

    def source(self, way: Way, entry: str) -> Asking | None:
        """The neighbour that an object is read from; ``None`` for the cloud."""
        if way.server is None or way.expected is None:
            return None
        is_throttled = self._config.bwlimit is not None
        return NeighbourSource(
            way.server,
            entry,
            way.expected,
            self.key,
            self._route,
            is_throttled=is_throttled,
            is_arriving=way.is_arriving,
        )

    def divide(
        self, claimed: deque[W], release: Release, since: Callable[[MediaURI], float] = lambda uri: 0.0
    ) -> list[W]:
        """Decides where each claimed object comes from.

        Args:
            claimed: keeps those that are to be fetched now, from a neighbour or from the cloud.
            release: gives claims back.
            since: when a copy of an object must have been fetched, or compared with its source, at the
                earliest, in seconds since the epoch.

        Returns:
            those that a neighbour is to bring, without a claim; they are to be claimed again in a moment.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        new = [item for item in claimed if item.way is None or not item.way.is_chosen]
        if not new:
            return []
        servers = self._living()
        others = sorted(servers.keys() - {self._volume})
        shared = [item for item in new if others and self._may_be_shared(item)]
        shared_entries = {item.entry for item in shared}
        # Who asks for a path does not wait for checks, but takes no old copy from elsewhere either.
        known = of_settings(self._config)
        for item in new:
            oldest = max(since(item.uri), known.since(item.uri))
            item.way = item.way or Way(self.failed, since=oldest)
            item.way.is_chosen = item.entry not in shared_entries
        if not shared:
            return []
        cached = self._groups.cached_in(others, [item.entry for item in shared])
        waiting = []
        for number, item in enumerate(shared):
            assert item.way is not None
            values = {volume: cached[place][number] for place, volume in enumerate(others)}
            if not self._choose(item, item.way, servers, values):
                waiting.append(item)
        for server in {one.id: one for them in servers.values() for one in them}.values():
            self._turns.send(server)
        if waiting:
            away = {id(item) for item in waiting}
            kept = [item for item in claimed if id(item) not in away]
            claimed.clear()
            claimed.extend(kept)
            release([(item.entry, item.token) for item in waiting])
        return waiting

    def look(self, waiting: list[W], ready: deque[W]) -> list[W]:
        """Looks for what neighbours have brought.

        Args:
            ready: gets what is to be claimed again: what has come to a neighbour or to this volume, what does
                not come from there, and what another process of this volume has claimed.

        Returns:
            what is still to come.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        asked = [item for item in waiting if item.way is not None and item.way.asked]
        ready.extend(item for item in waiting if item.way is None or not item.way.asked)
        if not asked:
            return []
        servers = self._living()
        volumes = sorted({self._volume} | {item.way.asked for item in asked if item.way is not None})
        cached = self._groups.cached_in(volumes, [item.entry for item in asked])
        places = {volume: place for place, volume in enumerate(volumes)}
        waiting = []
        for number, item in enumerate(asked):
            assert item.way is not None
            way, server = item.way, self._server_for(item.entry, servers.get(item.way.asked, ()))
            has_come = any(cached[places[one]][number] is not None for one in (item.way.asked, self._volume))
            if has_come or server is None or self._is_over(item, way, server):
                ready.append(item)
            else:
                self._turns.add(server, item.entry, item.uri.raw)
                waiting.append(item)
        for them in servers.values():
            for one in them:
                self._turns.send(one)
        return waiting

    def failed(self, server: Server, error: Exception) -> None:
        """Notes that a server did not do what it was asked to; others are asked for a while."""
        is_down = error.is_down if isinstance(error, NeighbourError) else True
        if isinstance(error, TransportError) and error.kind in (Kind.CLOSED, Kind.CANCELLED):
            return
        now = time.monotonic()
        with self._lock:
            was_down = self._down.get(server.id, 0.0) > now
            if is_down:
                self._down[server.id] = now + _DOWN_SECONDS
                # A Redis that was emptied has another secret, which the server knows already.
                self._is_secret_known = False
        level = logging.INFO if is_down and not was_down else logging.DEBUG
        log.log(level, "the neighbour %s at %s is of no use: %s", server.volume, server.url, error)

    def _living(self) -> dict[str, list[Server]]:
        """The servers that live and answer, by volume; this volume's own, too."""
        with self._lock:
            now = time.monotonic()
            if now >= self._known_until:
                self._servers = self._groups.servers()
                if not self._is_secret_known:
                    self._secret, self._is_secret_known = self._groups.key(), True
                self._known_until = now + _KNOWN_SECONDS
                self._turns.keep({server.id for server in self._servers})
                self._down = {server: until for server, until in self._down.items() if until > now}
            found: dict[str, list[Server]] = {}
            for server in self._servers:
                if self._needs_tls and not server.url.startswith("https://"):
                    continue
                if self._down.get(server.id, 0.0) <= now:
                    found.setdefault(server.volume, []).append(server)
        for them in found.values():
            them.sort(key=lambda one: one.id)
        return found

    def _may_be_shared(self, item: Wanted) -> bool:
        # What replaces a copy is compared with its source, and blocks are those of one version of it. What
        # lies on this machine is not what has that path on another.
        if item.block is not None or item.old or item.uri.scheme == LOCAL_SCHEME:
            return False
        if self._config.verify_checksums and md5_of(item.uri, '"' + "0" * 32 + '"') is None:
            # The checksum that the user asks for is known to the source alone.
            return False
        try:
            self._sources.check(item.uri)
        except ForebayError:
            # The error is told when it is asked for.
            return False
        return True

    def _choose(
        self, item: Wanted, way: Way, servers: dict[str, list[Server]], values: dict[str, Entry | None]
    ) -> bool:
        """Decides about one object; false to wait for a neighbour that brings it."""
        having = [
            volume
            for volume, value in values.items()
            if value is not None and volume not in way.shunned and self._is_good(item, way, value)
        ]
        asked = self._server_for(item.entry, servers.get(way.asked, ()))
        if having:
            # Any of them, so that not all of the group read from the same one.
            volume = way.asked if way.asked in having else random.choice(having)
            way.server, way.expected = random.choice(servers[volume]), values[volume]
            way.is_arriving = False
        elif asked is not None and (arriving := self._arriving(item, way, asked)) is not None:
            way.server, way.expected, way.is_arriving = asked, arriving, True
        elif self._is_to_come(item, way, servers, values, asked):
            return False
        if asked is not None:
            self._turns.forget(asked, item.entry)
        way.asked, way.is_chosen = "", True
        return True

    def _is_over(self, item: Wanted, way: Way, server: Server) -> bool:
        """Whether the wait for a neighbour is over by what it said."""
        return not self._turns.is_coming(server, item.entry) or bool(self._arriving(item, way, server))

    def _arriving(self, item: Wanted, way: Way, server: Server) -> Entry | None:
        """What a neighbour said of an object that can be read while it arrives there, if it is to be."""
        found = None if way.waits else self._turns.arriving(server, item.entry)
        return found if found is not None and self._is_good(item, way, found) else None

    def _is_to_come(
        self,
        item: Wanted,
        way: Way,
        servers: dict[str, list[Server]],
        values: dict[str, Entry | None],
        asked: Server | None,
    ) -> bool:
        """Whether a neighbour brings an object; asks the one whose turn it is."""
        if any(value is not None and not self._is_good(item, way, value) for value in values.values()):
            return False
        if asked is not None and not self._turns.is_coming(asked, item.entry):
            # It does not come from there, or not in time: the cloud says what is the matter.
            way.shunned.add(way.asked)
            return False
        turn = turn_of(item.entry, servers.keys() - way.shunned)
        if not turn or turn == self._volume:
            return False
        server = self._server_for(item.entry, servers[turn])
        assert server is not None
        if way.asked != turn:
            way.asked = turn
        self._turns.add(server, item.entry, item.uri.raw)
        return True

    def _is_good(self, item: Wanted, way: Way, value: Entry) -> bool:
        """Whether a copy of a neighbour's is new enough, and can be checked as the settings ask for."""
        return value.known_current >= way.since and (
            not self._config.verify_checksums or md5_of(item.uri, value.etag) is not None
        )

    @staticmethod
    def _server_for(entry: str, servers: Sequence[Server]) -> Server | None:
        """The one of a volume's servers that is asked to bring an entry."""
        found = turn_of(entry, (one.id for one in servers))
        return next((one for one in servers if one.id == found), None)
