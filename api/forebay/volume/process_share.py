"""This process's parts of what a volume's processes share: bytes a second, and requests a second to a host.

A thread renews each about every second, with one call of Redis, and only while it is used. So neither a byte
nor a request costs a call.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from forebay.config import MediaCacheConfig
from forebay.errors import ForebayError
from forebay.index import Index, SessionLostError
from forebay.transport import Use
from forebay.volume.demand import Demand
from forebay.volume.session import Session, clock

log = logging.getLogger(__name__)

_ROUND_SECONDS = 1.0
# While others have yet to give up what is this process's part.
_SOON_SECONDS = 0.2
# Who waits for several things wakes the thread for each.
_GATHER_SECONDS = 0.02
_SHORT_OF_FAIR = 0.9
_STOP_SECONDS = 1.0


class SharedBounds(Protocol):
    """What is shared, and how much of it this process uses; see `forebay.transport.bounds.Bounds`."""

    wanted: threading.Event

    def share(self, now: float) -> None: ...

    def shared(self) -> list[str]: ...

    def limit(self, what: str) -> float | None: ...

    def use(self, what: str) -> Use: ...


class Bounded(Protocol):
    """What uses what is shared, as `forebay.transport.Transport` does."""

    @property
    def bounds(self) -> SharedBounds: ...

    def grant(self, what: str, rate: float | None, until: float = ...) -> None: ...


@dataclass
class _Part:
    """What this process has of one thing.

    Attributes:
        granted: so much a second.
        began: when it was last looked at, by the monotonic clock.
        due: when it is to be renewed.
        is_idle: whether the index knows of no part.
    """

    began: float
    granted: float = 0.0
    due: float = -math.inf
    is_idle: bool = True
    demand: Demand = field(default_factory=Demand)


class ProcessShare:
    """Keeps a transport to this process's parts.

    Args:
        index: the volume's index.
        session: of this process.
        open_transport: gives what is to be bounded, and what all of them may use together.
    """

    def __init__(self, index: Index, session: Session, open_transport: Callable[[], Bounded]) -> None:
        self._shares = index.shares
        self._session = session
        self._open_transport = open_transport
        self._parts: dict[str, _Part] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forebay-share", daemon=True)

    def start(self) -> None:
        """Lets nothing pass until the index has granted something."""
        self._open_transport().bounds.share(time.monotonic())
        self._thread.start()

    def stop(self) -> None:
        """Gives the parts back."""
        self._stopped.set()
        self._open_transport().bounds.wanted.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._renew_those_due()
            except SessionLostError:
                self._begin_again()
            except ForebayError as error:
                log.debug("a part of what is shared was not renewed: %s", error)
            except Exception as error:
                log.warning("a part of what is shared was not renewed: %s", error)
            due = min((part.due for part in self._parts.values()), default=math.inf)
            self._open_transport().bounds.wanted.wait(min(max(due - time.monotonic(), 0.0), _ROUND_SECONDS))
            self._stopped.wait(_GATHER_SECONDS)
        for what in self._parts:
            self._give_back(what)

    def _renew_those_due(self) -> None:
        transport = self._open_transport()
        # Who has something, or asked for it, renews it at its time; who has nothing, when it is wanted.
        bounds = transport.bounds
        is_wanted = bounds.wanted.is_set()
        bounds.wanted.clear()
        shared = bounds.shared()
        for what in self._parts.keys() - set(shared):
            # A host that was not asked anything for so long that the transport has forgotten it.
            self._give_back(what)
            del self._parts[what]
        for what in shared:
            now = time.monotonic()
            part = self._parts.setdefault(what, _Part(now))
            if now >= part.due or (part.is_idle and is_wanted):
                # Also where the index does not answer.
                part.due = now + _ROUND_SECONDS
                part.due = now + self._renew(transport, what, part, now)

    def _renew(self, transport: Bounded, what: str, part: _Part, now: float) -> float:
        """Asks for a part, and has the transport keep to it; returns when to do so again, in seconds."""
        limit, use = transport.bounds.limit(what), transport.bounds.use(what)
        seconds, part.began = now - part.began, now
        if limit is None:
            self._give_back(what)
            transport.grant(what, None)
            return _ROUND_SECONDS
        demand = part.demand.next(use, part.granted, limit, seconds)
        if not demand:
            transport.grant(what, 0.0)
            self._give_back(what)
            return _ROUND_SECONDS
        part.is_idle, session = False, self._session
        share = self._shares.renew(session.id, what, limit, demand)
        part.granted = share.granted
        # Without its session, this process has nothing.
        transport.grant(what, share.granted, now + session.deadline - clock())
        return _ROUND_SECONDS if share.granted >= _SHORT_OF_FAIR * share.fair else _SOON_SECONDS

    def _begin_again(self) -> None:
        """The heartbeat begins another session; what was granted ended with the former."""
        transport, now = self._open_transport(), time.monotonic()
        for what, part in self._parts.items():
            part.granted, part.is_idle, part.due = 0.0, False, now + _SOON_SECONDS
            transport.grant(what, 0.0)

    def _give_back(self, what: str) -> None:
        part = self._parts[what]
        if part.is_idle:
            return
        part.granted, part.is_idle = 0.0, True
        try:
            self._shares.renew(self._session.id, what, 0, 0)
        except Exception as error:
            # It ends with the session.
            log.debug("a part of what is shared was not given back: %s", error)


class NoShare:
    """Where nothing is shared."""

    def stop(self) -> None:
        """Does nothing."""


def share_of(
    config: MediaCacheConfig, index: Index, session: Session, open_transport: Callable[[], Bounded]
) -> ProcessShare | NoShare:
    """The parts of a process that begins to download, if the settings limit anything of the volume."""
    if config.volume_bwlimit is None and not config.volume_request_limits:
        return NoShare()
    share = ProcessShare(index, session, open_transport)
    share.start()
    return share
