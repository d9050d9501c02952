"""Quotas: how much of a volume counts on a label, and which of its entries were used least recently."""

from __future__ import annotations

from collections.abc import Container, Sequence

from forebay.index.part import Part
from forebay.index.records import batches

_PAGE = 1000


class Quotas(Part):
    """The quotas of one volume's labels."""

    def charge(self, label: str, limit: int, entries: Sequence[str]) -> int:
        """Counts entries on a label's quota, unless they are another label's.

        Args:
            limit: of the quota, in bytes.

        Returns:
            the bytes that count on it now.
        """
        k, used = self._keys, 0
        for batch in batches(entries):
            used = int(self._script("quota_charge", [k.entries, k.owners, k.quotas], [label, limit, *batch]))
        return used

    def used(self, label: str) -> int:
        """The bytes that count on a label's quota."""
        return int(self._connection.command("hget", self._keys.quotas, f"used|{label}") or 0)

    def oldest(
        self, label: str, newest: float, ahead: float, wanted: int, spared: Container[str] = ()
    ) -> tuple[list[tuple[str, float]], float | None]:
        """A label's entries that may be evicted, least recently used first, of so many bytes at least.

        Args:
            newest: the newest access time that may be evicted, in seconds since the epoch.
            ahead: the newest access time that can be true; later ones are of a machine with a wrong clock.
            wanted: bytes.
            spared: entries that are passed over.

        Returns:
            entries and their access times; and the access time of the oldest that is newer than that.
        """
        k, chosen, size, at = self._keys, list[tuple[str, float]](), 0, 0
        while size < wanted:
            page = self._connection.command("zrange", k.atime, at, at + _PAGE - 1, False, True)
            if not page:
                break
            at += _PAGE
            owners = self._connection.command("hmget", k.owners, [entry for entry, _ in page])
            for (entry, atime), owner in zip(page, owners, strict=True):
                charged, _, name = (owner or "").partition("|")
                if name != label or entry in spared:
                    continue
                if newest < float(atime) <= ahead:
                    return chosen, float(atime)
                if size < wanted:
                    chosen.append((entry, float(atime)))
                    size += int(charged)
        return chosen, None
