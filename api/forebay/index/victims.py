"""Victims: entries that an evictor has chosen, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable

from forebay.index.part import Part
from forebay.index.records import AHEAD_SECONDS, Victim, batches

# The verdicts on an entry that leaves: its file was removed, or there was none.
GONE = "gone"
ABSENT = "absent"


class Victims(Part):
    """The eviction of one volume's entries."""

    def select(
        self, token: str, grace: float, wanted: int, max_entries: int
    ) -> tuple[float, list[Victim], float | None, int]:
        """Chooses and claims what to evict, least recently used first.

        Args:
            token: the token of the eviction lock.
            grace: for how many seconds a used entry is spared.
            wanted: bytes.

        Returns:
            the server's time in seconds since the epoch, the victims, the access time of the oldest entry
            that is still in its grace period, and how many entries were passed over because they are
            claimed.

        Raises:
            LockLostError: the eviction lock is not the token's.
            SessionLostError: the session of the token has been reaped.
        """
        k = self._keys
        now, in_grace, claimed, *rest = self._script(
            "evict_select",
            [k.atime, k.claims, k.entries, k.evictor, k.sessions],
            [token, grace, wanted, max_entries, AHEAD_SECONDS],
        )
        victims = [Victim(rest[i], float(rest[i + 1]), int(rest[i + 2])) for i in range(0, len(rest), 3)]
        return float(now), victims, float(in_grace) if in_grace else None, int(claimed)

    def commit(self, token: str, verdicts: Iterable[tuple[str, str]]) -> int:
        """Records what became of chosen entries, and ends the claims on them.

        Args:
            verdicts: entry and `GONE`, `ABSENT`, or the access time that its file bears.

        Returns:
            the bytes that became free.
        """
        k = self._keys
        keys = [k.entries, k.atime, k.atime_leased, k.leased, k.claims, k.meta, k.owners, k.quotas]
        return sum(
            self._script("evict_commit", keys, [token, *(part for pair in batch for part in pair)])
            for batch in batches(verdicts)
        )
