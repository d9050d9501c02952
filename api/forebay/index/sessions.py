"""Sessions: the processes that claim and reserve, each with an expiry that its heartbeat moves on."""

from __future__ import annotations

from forebay.index.part import Part


class Sessions(Part):
    """The sessions of one volume."""

    def begin(self, session: str, ttl: float, run_id: str) -> None:
        """Begins a session that lives for ``ttl`` seconds after each `extend`.

        Args:
            run_id: the start of Redis for which the volume's files were counted.

        Raises:
            IndexEmptiedError: they were not counted since that start.
        """
        self._script("session_extend", [self._keys.sessions, self._keys.meta], [session, ttl, run_id])

    def extend(self, session: str, ttl: float) -> bool:
        """Lets a session expire ``ttl`` seconds from now; false when it has been reaped."""
        return bool(
            self._script("session_extend", [self._keys.sessions, self._keys.meta], [session, ttl, ""])
        )

    def all(self) -> list[tuple[str, float]]:
        """All sessions, with the seconds until they expire (negative: they have)."""
        return self._by_expiry(self._keys.sessions)

    def remembered(self) -> set[str]:
        """Every session of which Redis knows anything: an expiry, a reservation or a claim."""
        expiries, reserved, claims = self._connection.pipeline(
            ("zrange", self._keys.sessions, 0, -1),
            ("hkeys", self._keys.reserved),
            ("hvals", self._keys.claims),
        )
        return {*expiries, *reserved, *(token.rpartition(".")[0] for token in claims)}

    def close(self, session: str, *, is_gone: bool) -> bool:
        """Closes a session whose time is over: from now on it cannot be extended.

        Args:
            is_gone: whether its process is known to be gone; then its time does not matter.

        Returns:
            false when it lives.
        """
        return bool(self._script("session_close", [self._keys.sessions], [session, int(is_gone)]))

    def reap(self, session: str) -> int:
        """Ends a session whose claims have been cleaned up; returns the bytes that became free."""
        k = self._keys
        return int(self._script("session_reap", [k.sessions, k.reserved, k.meta], [session]))
