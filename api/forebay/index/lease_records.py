"""Leases: sets of entries that no evictor may choose until they expire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forebay.index.part import Part
from forebay.index.records import batches

# A leased entry is moved from one set to another, which takes longer than to look one up.
_BATCH = 100


class Leases(Part):
    """The leases of one volume."""

    def add(self, lease: str, entries: Iterable[str], ttl: float) -> list[str]:
        """Puts entries, cached or not, under a lease for ``ttl`` seconds.

        Returns:
            the entries that an evictor had chosen before: they are gone in a moment.
        """
        k = self._keys
        keys = [k.leases, k.lease(lease), k.leased, k.atime, k.atime_leased, k.entries, k.claims, k.meta]
        leaving: list[str] = []
        for batch in batches(entries, _BATCH):
            leaving += self._script("lease_add", keys, [lease, ttl, *batch])
        return leaving

    def kept(self, entries: Sequence[str]) -> list[bool]:
        """Which entries a lease keeps."""
        return [
            count is not None
            for batch in batches(entries)
            for count in self._connection.command("hmget", self._keys.leased, batch)
        ]

    def of(self, entry: str) -> list[str]:
        """The names of the leases that keep an entry."""
        if self.kept([entry]) == [False]:
            return []
        names = [name for name, _ in self._by_expiry(self._keys.leases)]
        found = self._connection.pipeline(*(("sismember", self._keys.lease(name), entry) for name in names))
        return [name for name, is_member in zip(names, found, strict=True) if is_member]

    def all(self) -> list[tuple[str, float, int]]:
        """All leases: name, seconds until expiry (negative: expired), number of entries."""
        found = self._by_expiry(self._keys.leases)
        counts = self._connection.pipeline(*(("scard", self._keys.lease(name)) for name, _ in found))
        return [(name, expiry, int(count)) for (name, expiry), count in zip(found, counts, strict=True)]

    def extend(self, lease: str, ttl: float) -> bool:
        """Lets a lease expire ``ttl`` seconds from now; false when there is no such lease."""
        expiry, (seconds, _) = self._connection.pipeline(("zscore", self._keys.leases, lease), ("time",))
        if expiry is None:
            return False
        self._connection.command("zadd", self._keys.leases, {lease: seconds + ttl}, xx=True)
        return True

    def end(self, lease: str, *, expired: bool = False) -> None:
        """Ends a lease: entries that no other lease keeps may be evicted again.

        Args:
            expired: only if it has expired; it may have been extended a moment ago.
        """
        k = self._keys
        keys = [k.leases, k.lease(lease), k.leased, k.atime, k.atime_leased, k.entries, k.meta]
        while self._script("lease_end", keys, [lease, _BATCH, int(expired)]):
            pass
