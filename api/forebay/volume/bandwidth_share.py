"""This process's part of the bandwidth that all processes of a volume share.

A thread renews it about every second, with one call of Redis, and only while something is downloaded. So a
byte costs no call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from forebay.config import MediaCacheConfig
from forebay.config.timetable import timetable
from forebay.errors import ForebayError
from forebay.index import Index, SessionLostError
from forebay.volume.demand import Demand
from forebay.volume.session import Session, clock

log = logging.getLogger(__name__)

_WHAT = "bytes"
_ROUND_SECONDS = 1.0
# While others have yet to give up what is this process's part.
_SOON_SECONDS = 0.2
_SHORT_OF_FAIR = 0.9
_STOP_SECONDS = 1.0


class Bounded(Protocol):
    """What moves bytes, as a transport does."""

    wanted: threading.Event

    def grant(self, rate: float | None, until: float = ...) -> None:
        """Sets the bytes a second that may come."""

    def taken(self) -> int:
        """The bytes that came since this was last asked."""


class BandwidthShare:
    """Keeps a transport to this process's part.

    Args:
        index: the volume's index.
        session: of this process.
        rate: the bytes a second that all processes may download together; ``None`` for any number.
        open_transport: gives what is to be bounded.
    """

    def __init__(
        self,
        index: Index,
        session: Session,
        rate: Callable[[], int | None],
        open_transport: Callable[[], Bounded],
    ) -> None:
        self._shares = index.shares
        self._session = session
        self._rate = rate
        self._open_transport = open_transport
        self._demand = Demand()
        self._granted = 0.0
        self._began = time.monotonic()
        self._is_idle = True
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forebay-share", daemon=True)

    def start(self) -> None:
        """Lets nothing pass until the index has granted something."""
        self._open_transport().grant(0.0)
        self._thread.start()

    def stop(self) -> None:
        """Gives the part back."""
        self._stopped.set()
        self._open_transport().wanted.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            pause = _ROUND_SECONDS
            try:
                pause = self._renew()
            except SessionLostError:
                # The heartbeat begins another one; what was granted ended with the former.
                self._granted, self._is_idle, pause = 0.0, False, _SOON_SECONDS
                self._open_transport().grant(0.0)
            except ForebayError as error:
                log.debug("the part of the bandwidth was not renewed: %s", error)
            except Exception as error:
                log.warning("the part of the bandwidth was not renewed: %s", error)
            # Who has something, or asked for it, renews it at its time; who has nothing is told when to ask.
            news = self._open_transport().wanted if self._is_idle else self._stopped
            news.wait(pause)
        self._give_back()

    def _renew(self) -> float:
        """Asks for a part, and has the transport keep to it; returns when to do so again, in seconds."""
        limit, transport, now = self._rate(), self._open_transport(), time.monotonic()
        seconds, self._began = now - self._began, now
        used, wanted = transport.taken(), transport.wanted.is_set()
        transport.wanted.clear()
        if limit is None:
            self._give_back()
            transport.grant(None)
            return _ROUND_SECONDS
        demand = self._demand.next(used, self._granted * seconds, limit, seconds, wanted=wanted)
        if not demand:
            transport.grant(0.0)
            self._give_back()
            return _ROUND_SECONDS
        self._is_idle, session = False, self._session
        share = self._shares.renew(session.id, _WHAT, limit, demand)
        self._granted = share.granted
        # Without its session, this process has nothing.
        transport.grant(share.granted, now + session.deadline - clock())
        return _ROUND_SECONDS if share.granted >= _SHORT_OF_FAIR * share.fair else _SOON_SECONDS

    def _give_back(self) -> None:
        if self._is_idle:
            return
        self._granted, self._is_idle = 0.0, True
        try:
            self._shares.renew(self._session.id, _WHAT, 0, 0)
        except Exception as error:
            # It ends with the session.
            log.debug("the part of the bandwidth was not given back: %s", error)


class NoShare:
    """Where all processes may download as fast as they can."""

    def stop(self) -> None:
        """Does nothing."""


def share_of(
    config: MediaCacheConfig, index: Index, session: Session, open_transport: Callable[[], Bounded]
) -> BandwidthShare | NoShare:
    """The part of a process that begins to download, if the settings limit the volume's bandwidth."""
    if config.volume_bwlimit is None:
        return NoShare()
    share = BandwidthShare(index, session, timetable(config.volume_bwlimit).rate, open_transport)
    share.start()
    return share
