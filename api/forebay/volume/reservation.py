"""Reservations: bytes that are promised to a download before it writes them.

A session reserves space in blocks, which saves a round trip for nearly every object, and gives parts of
them to its downloads. A `Reservation` is one download's part.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from forebay.index import Download, Index, SessionLostError, Space

_MAX_BLOCK = 32 << 20


class Reservation:
    """The bytes that one download may write. It ends with `close`, or with the commit of the download.

    Attributes:
        size: bytes that are reserved now.
        token: of the claim that they are for.
    """

    def __init__(self, pool: ReservationPool, token: str, size: int = 0) -> None:
        self.size = size
        self.token = token
        self._pool = pool

    def grow(self, size: int) -> Space | None:
        """Reserves ``size`` bytes in all, if that is more than there are.

        Returns:
            ``None`` when they are reserved, otherwise what stands in the way.

        Raises:
            SessionLostError: the session is gone, and with it every claim of this process.
        """
        if size > self.size:
            shortage = self._pool.reserve(size - self.size, self.token)
            if shortage is not None:
                return shortage
            self.size = size
        return None

    def grow_at_once(self, size: int) -> bool:
        """Reserves ``size`` bytes in all if this process has reserved enough already; never asks Redis.

        Raises:
            SessionLostError: as `grow`.
        """
        if size > self.size:
            if not self._pool.reserve_at_once(size - self.size, self.token):
                return False
            self.size = size
        return True

    def shrink(self, size: int) -> None:
        """Gives back all but ``size`` bytes."""
        if self.size > size:
            self._pool.release(self.size - size, self.token)
            self.size = size

    def close(self) -> None:
        """Gives everything back."""
        self.shrink(0)

    def hand_over(self) -> None:
        """Leaves the bytes to the file that is in its place: its commit turns them into published ones."""
        self.size = 0


class ReservationPool:
    """The bytes that one session has reserved, and how many of them its downloads use.

    Args:
        index: the volume's index.
        limit: the cache's size in bytes, ``None`` for no limit.
        before: called before any bytes are given out.
        is_disk_short: whether so many more bytes would leave too little space on the disk.
    """

    def __init__(
        self,
        index: Index,
        limit: int | None,
        before: Callable[[], object],
        is_disk_short: Callable[[int], bool],
    ) -> None:
        self._index = index
        self._limit = limit
        self._block = _MAX_BLOCK if limit is None else min(_MAX_BLOCK, limit // 64)
        self._before = before
        self._is_disk_short = is_disk_short
        # Calls of Redis come one after the other; the numbers can be read and changed meanwhile.
        self._calls = threading.Lock()
        self._lock = threading.Lock()
        self._session = ""
        # Of the tokens of the session's claims.
        self._prefix = "."
        self._held = 0
        self._used = 0

    def begin(self, session: str) -> None:
        """Begins anew for another session: what was given out before is void."""
        with self._lock:
            self._session, self._prefix, self._held, self._used = session, f"{session}.", 0, 0

    def reserve_at_once(self, size: int, token: str) -> bool:
        """Gives ``size`` bytes to a download, if so many are reserved and not in use. Never waits for Redis.

        Raises:
            SessionLostError: the session of the token is gone.
        """
        with self._lock:
            if not token.startswith(self._prefix):
                raise SessionLostError
            if self._held - self._used < size:
                return False
            self._used += size
            return True

    def reserve(self, size: int, token: str) -> Space | None:
        """Gives ``size`` bytes to the download that has the claim ``token``.

        Returns:
            ``None`` when they are reserved, otherwise what stands in the way.

        Raises:
            SessionLostError: the session of the token is gone.
        """
        self._before()
        if self.reserve_at_once(size, token):
            return None
        # The disk is looked at once for every block that is reserved, and without the lock.
        if self._is_disk_short(size):
            totals = self._index.entries.totals()
            return Space(-1, totals.published, totals.reserved, totals.unindexed, totals.leased)
        with self._calls:
            if self.reserve_at_once(size, token):
                return None
            answer = self._set(size)
            if answer.granted < 0:
                return answer
            with self._lock:
                self._check(token)
                self._used += size
            return None

    def release(self, size: int, token: str) -> None:
        """Takes back what `reserve` gave; void when the session of ``token`` is gone."""
        with self._lock:
            if self._is_ours(token):
                self._used -= size

    def release_unused(self) -> None:
        """Gives back to the volume what no download uses.

        Raises:
            SessionLostError: the session is gone.
        """
        with self._calls:
            if self._held > self._used:
                self._set(0)

    def commit(self, done: Sequence[Download]) -> list[bool]:
        """Publishes downloads: their reserved bytes become published ones.

        Returns:
            for each whether it was published; not so when its claim was lost.
        """
        with self._calls:
            session = self._session
            answers, held = self._index.claims.commit(session, done)
            with self._lock:
                if session == self._session:
                    self._held = held
                    self._used -= sum([d.size for d in done if d.token.startswith(self._prefix)])
            return answers

    def _set(self, more: int) -> Space:
        """Reserves what is in use and ``more`` bytes; beside these a block, where there is room for it."""
        with self._lock:
            session, held, wanted = self._session, self._held, self._used + more
            # Until Redis has answered, nothing is given out of what it may take back.
            self._held = self._used
        block = self._block if more else 0
        try:
            answer = self._index.reservations.set(session, wanted, wanted + block, self._limit)
            held = answer.granted if answer.granted >= 0 else held
        finally:
            with self._lock:
                if session == self._session:
                    self._held = held
        return answer

    def _check(self, token: str) -> None:
        if not self._is_ours(token):
            raise SessionLostError

    def _is_ours(self, token: str) -> bool:
        return token.startswith(self._prefix)
