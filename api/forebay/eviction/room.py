"""Making room: a reservation that finds no space evicts, and waits for what will be free in a moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from forebay.config.sizes import human
from forebay.errors import CacheFullError
from forebay.eviction.evictor import Evicted, Evictor
from forebay.index import Index, Space
from forebay.volume.files import Files
from forebay.volume.leases import end_expired_leases
from forebay.volume.maintenance import Maintenance
from forebay.volume.recovery import Recovery
from forebay.volume.reservation import Reservation
from forebay.volume.session import Session

_PAUSE_SECONDS = 0.01
# How long a request waits while nothing at all changes. Downloads under way end by then: their
# sources have time-outs.
_PATIENCE_SECONDS = 120.0
_MAX_SLACK = 64 << 20


@dataclass
class RoomRequest:
    """A request for space that may have to wait.

    Attributes:
        reservation: that is to grow.
        size: to how many bytes.
        what: the object that the space is for, as the error names it.
        try_at: when the next attempt is worth it, on the monotonic clock.
    """

    reservation: Reservation
    size: int
    what: str
    try_at: float = 0.0
    _changed: float = field(default_factory=time.monotonic)
    _last: tuple[Space, float | None] | None = None

    def is_patient(self, state: tuple[Space, float | None]) -> bool:
        """Whether anything has changed lately, ``state`` being what stands in the way now."""
        now = time.monotonic()
        if state != self._last:
            self._changed, self._last = now, state
        return now - self._changed <= _PATIENCE_SECONDS


class Room:
    """Makes room in one volume.

    Args:
        index: the volume's index.
        session: this process's session.
        files: the volume's files.
        evictor: evicts.
        maintenance: indexes files that are not yet.
        recovery: knows whether Redis has lost a part of the index.
        limit: the cache's size in bytes; ``None`` for no limit.
        min_free: how many bytes of the disk downloads leave free.
    """

    def __init__(
        self,
        index: Index,
        session: Session,
        files: Files,
        evictor: Evictor,
        maintenance: Maintenance,
        recovery: Recovery,
        limit: int | None,
        min_free: int,
    ) -> None:
        self._index = index
        self._session = session
        self._files = files
        self._evictor = evictor
        self._maintenance = maintenance
        self._recovery = recovery
        self._limit = limit
        self._min_free = min_free

    def make(self, reservation: Reservation, size: int, what: str) -> None:
        """Makes room until the reservation has ``size`` bytes.

        Args:
            what: the object that the space is for, as the error names it.

        Raises:
            CacheFullError: there is no room, and none can be made.
            SessionLostError: the session is gone, and with it the caller's claims.
        """
        request = RoomRequest(reservation, size, what)
        while not self.attempt(request):
            time.sleep(max(0.0, request.try_at - time.monotonic()))

    def attempt(self, request: RoomRequest) -> bool:
        """Makes room for a request, as far as that is possible without waiting.

        Returns:
            whether its bytes are reserved; if not, the next attempt is due at ``request.try_at``.

        Raises:
            CacheFullError, SessionLostError: as `make`.
        """
        size, reservation = request.size, request.reservation
        slack = 0 if self._limit is None else min(self._limit // 100, _MAX_SLACK)
        while (shortage := reservation.grow(size)) is not None:
            self._session.release_unused()
            missing = size - reservation.size + slack
            if self._limit is not None:
                # Without what this process had reserved in advance.
                totals = self._index.entries.totals()
                used = totals.published + totals.reserved + totals.unindexed
                missing = max(1, used + size - self._limit) + slack
            done = self._evictor.evict(missing)
            if done.freed or (shortage.leased and end_expired_leases(self._index)):
                continue
            if done.wait_until is not None and self._evictor.evict_unread(missing):
                continue
            if not request.is_patient((shortage, done.wait_until)) or not self._may_change(shortage, done):
                if self._recovery.check(ask=True):
                    continue
                raise self._full(size, request.what, shortage)
            if shortage.unindexed and not self._index.state.is_complete():
                self._maintenance.run()
            pause = _PAUSE_SECONDS
            if done.wait_until is not None:
                pause = min(max(done.wait_until - time.time(), 0.0), 0.1) + 1e-3
            request.try_at = time.monotonic() + pause
            return False
        return True

    def _may_change(self, shortage: Space, done: Evicted) -> bool:
        """Whether room will come by waiting alone."""
        if done.locked or done.in_use or done.claimed or done.wait_until is not None:
            return True
        # What others have reserved is released or published sooner or later; so is what this process holds
        # for other downloads.
        return shortage.reserved > 0 or (shortage.unindexed > 0 and not self._index.state.is_complete())

    def _full(self, size: int, what: str, shortage: Space) -> CacheFullError:
        if self._files.lacks_inodes():
            return CacheFullError(
                f"{what}: no room for another file on {self._files.cache_dir}: its disk has hardly any "
                "inodes left, and nothing is left to evict; remove files, or use a file system with more "
                "inodes",
                uri=what,
                needed=size,
                limit=self._limit,
                held=shortage.leased + shortage.reserved,
            )
        if self._limit is None or self._files.is_disk_short(size):
            return CacheFullError(
                f"{what}: no room for {human(size)} on {self._files.cache_dir}: downloads leave "
                f"{human(self._min_free)} of the disk free, and nothing is left to evict; "
                "free some space, or lower FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES",
                uri=what,
                needed=size,
                limit=self._limit,
                held=shortage.leased + shortage.reserved,
            )
        held = []
        if shortage.leased:
            names = [name for name, _, _ in self._index.leases.all()]
            some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            held.append(f"leases ({some}) hold {human(shortage.leased)}")
        if shortage.reserved:
            held.append(f"downloads under way {human(shortage.reserved)}")
        return CacheFullError(
            f"{what}: no room for {human(size)} in a cache of {human(self._limit)}: "
            f"{' and '.join(held) or 'nothing can be evicted'}; "
            "end a lease, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES",
            uri=what,
            needed=size,
            limit=self._limit,
            held=shortage.leased + shortage.reserved,
        )
