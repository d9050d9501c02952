"""Sessions: the processes that claim and reserve, each with an expiry that its heartbeat moves on."""

from __future__ import annotations

from forebay.index.part import Part


class Sessions(Part):
    """The sessions of one volume."""

    def begin(self, session: str, ttl: float) -> None:
        """Begins a session that lives for ``ttl`` seconds after each `extend`."""
        self._script("session_extend", [self._keys.sessions], [session, ttl, 1])

    def extend(self, session: str, ttl: float) -> bool:
        """Lets a session expire ``ttl`` seconds from now; false when it has been reaped."""
        return bool(self._script("session_extend", [self._keys.sessions], [session, ttl, 0]))

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

    def reap(self, session: str) -> int:
        """Ends a session whose claims have been cleaned up; returns the bytes that became free."""
        k = self._keys
        return int(self._script("session_reap", [k.sessions, k.reserved, k.meta], [session]))
