"""Asks neighbours to bring objects: many in one request, whose answer is not waited for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from forebay.index import Entry
from forebay.index.groups import Server
from forebay.neighbours.neighbour_source import authorization
from forebay.sources.reader import WHOLE
from forebay.transport import Exchange, Limits, Request, Route, Transport, TransportError
from forebay.transport.sinks import BytesSink

TURNS = "/v1/turns"
# So many objects are named in one request at most: more than one fetch waits for at a time.
MOST = 512
# How often the same is asked again: whether it is still coming, and whether that neighbour still lives.
AGAIN_SECONDS = 1.0
# How long no byte may arrive at the neighbour's before what it is to bring is had another way.
PATIENCE_SECONDS = 20.0
# What was not asked for again for so long is not wanted any more.
_FORGET_SECONDS = 15.0
_LIMITS = Limits(connect_seconds=2.0, idle_seconds=5.0, total_seconds=10.0)
_MAX_ANSWER = 64 << 10


@dataclass(slots=True)
class _Object:
    """One object that a neighbour is to bring. Times are those of the monotonic clock.

    Attributes:
        uri: its URI.
        since: when it was asked for first.
        wanted: when it was found to be still missing.
    """

    uri: str
    since: float
    wanted: float


@dataclass(slots=True)
class _Asked:
    """What one neighbour is to bring.

    Attributes:
        objects: by entry.
        failed: the entries of which it said that it cannot.
        arriving: what it said of the entries that can be read while they arrive.
        at: when it was asked last.
        progress: what it last said of what has arrived there.
        moved_at: when that changed.
        is_open: whether a request is under way.
    """

    objects: dict[str, _Object] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    arriving: dict[str, Entry] = field(default_factory=dict)
    at: float = 0.0
    progress: object = None
    moved_at: float = 0.0
    is_open: bool = False


class AskingTurns:
    """What neighbours were asked to bring, and what they said. Safe to use from many threads.

    Args:
        transport: moves the bytes.
        key: gives the group's secret.
        route: to the neighbours.
        failed: is told of a neighbour that does not answer as it should.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        key: Callable[[], str],
        route: Route,
        failed: Callable[[Server, Exception], object],
    ) -> None:
        self._transport = transport
        self._key = key
        self._route = route
        self._failed = failed
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}

    def add(self, server: Server, entry: str, uri: str) -> None:
        """Notes that a neighbour is to bring an object; `send` tells it."""
        asked = self._asked.setdefault(server.id, _Asked())
        now = time.monotonic()
        with self._lock:
            known = asked.objects.get(entry)
            if known is None:
                asked.objects[entry] = _Object(uri, now, now)
                asked.at = 0.0
            else:
                known.wanted = now

    def forget(self, server: Server, entry: str) -> None:
        """Notes that an object has come, or is not wanted from there any more."""
        asked = self._asked.get(server.id)
        if asked is not None:
            with self._lock:
                asked.objects.pop(entry, None)
                asked.failed.discard(entry)
                asked.arriving.pop(entry, None)

    def keep(self, servers: Collection[str]) -> None:
        """Forgets what was asked of all other servers."""
        with self._lock:
            for server in self._asked.keys() - set(servers):
                del self._asked[server]

    def is_coming(self, server: Server, entry: str) -> bool:
        """Whether a neighbour may still bring an object: it has not said that it cannot, and what it is to
        bring still arrives."""
        asked = self._asked.get(server.id)
        known = None if asked is None else asked.objects.get(entry)
        if asked is None or known is None:
            return True
        moved = max(asked.moved_at, known.since)
        return entry not in asked.failed and time.monotonic() - moved < PATIENCE_SECONDS

    def arriving(self, server: Server, entry: str) -> Entry | None:
        """What a neighbour said of an object that can be read while it arrives there."""
        asked = self._asked.get(server.id)
        return None if asked is None else asked.arriving.get(entry)

    def send(self, server: Server) -> None:
        """Tells a neighbour what it is to bring, and asks what has become of it; does not wait."""
        asked = self._asked.get(server.id)
        now = time.monotonic()
        if asked is None:
            return
        with self._lock:
            if asked.is_open or now - asked.at < AGAIN_SECONDS:
                return
            for entry in [one for one, it in asked.objects.items() if now - it.wanted > _FORGET_SECONDS]:
                # It has come another way, or the fetch that wanted it has ended.
                del asked.objects[entry]
                asked.failed.discard(entry)
                asked.arriving.pop(entry, None)
            if not asked.objects:
                return
            asked.at, asked.is_open = now, True
            # Where there are more, as many fetches wait, the newest are those that were not named yet.
            entries = list(asked.objects)[-MOST:]
            body = json.dumps({"uris": [asked.objects[entry].uri for entry in entries]}).encode()
        request = Request(
            f"{server.url}{TURNS}/{server.volume}",
            method="POST",
            headers=[authorization(self._key()), ("Content-Type", "application/json")],
            body=body,
            route=self._route,
            limits=_LIMITS,
            accept=WHOLE,
        )
        sink = BytesSink(_MAX_ANSWER)

        def done(exchange: Exchange) -> None:
            asked.is_open = False
            outcome = exchange.outcome
            error = None if outcome is None else outcome.error
            if error is None:
                error = _understand(asked, entries, bytes(sink.data))
            if isinstance(error, Exception):
                self._failed(server, error)

        try:
            self._transport().submit(request, sink, done)
        except TransportError as error:
            asked.is_open = False
            self._failed(server, error)


def _understand(asked: _Asked, entries: Sequence[str], answer: bytes) -> Exception | None:
    """Reads an answer; returns the error that it is, if it is none."""
    try:
        found = json.loads(answer)
        progress, failed = found["progress"], [entries[int(number)] for number in found["failed"]]
        # A worker of an older version says nothing of it.
        arriving = {
            entries[int(number)]: Entry(int(size), str(etag), int(fetched))
            for number, size, etag, fetched in found.get("arriving", ())
        }
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError):
        return ValueError("its answer cannot be read")
    asked.failed.update(failed)
    asked.arriving = arriving
    if progress != asked.progress:
        asked.progress, asked.moved_at = progress, time.monotonic()
    return None
