"""Reservations: bytes that are promised to a session before it writes them."""

from __future__ import annotations

from forebay.index.part import Part
from forebay.index.records import Space


class Reservations(Part):
    """The reserved bytes of one volume's sessions."""

    def set(self, session: str, min_size: int, max_size: int, limit: int | None) -> Space:
        """Sets the session's reservation to between ``min_size`` and ``max_size`` bytes in all.

        Args:
            limit: the most that the volume may hold, in bytes; ``None`` for no limit.

        Raises:
            SessionLostError: the session has been reaped.
            IndexEmptiedError: another server serves the index now, and may have lost reservations.
        """
        k = self._keys
        answer = self._script(
            "reserve",
            [k.meta, k.reserved, k.sessions],
            [session, min_size, max_size, -1 if limit is None else limit],
            fenced=True,
        )
        return Space(*map(int, answer))
