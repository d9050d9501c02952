"""Published entries: which there are, when they were used, and how they enter or leave without a download."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from forebay.index.part import Part
from forebay.index.records import BATCH, Entry, StoredFile, Totals, batches


class Entries(Part):
    """The published entries of one volume."""

    def present(self, entries: Sequence[str], now: float | None = None) -> list[bool]:
        """Which entries are published; those count as used ``now`` (seconds since the epoch).

        One that is being evicted at this moment is not: its file may be gone already.
        """
        k = self._keys
        keys = [k.entries, k.atime, k.atime_leased, k.claims]
        flags = "".join(
            self._script("entry_present", keys, [now or time.time(), *batch]) for batch in batches(entries)
        )
        return [flag == "1" for flag in flags]

    def values(self, entries: Sequence[str]) -> list[Entry | None]:
        """The value of each entry; ``None`` for one that is not published."""
        found: list[Entry | None] = []
        for batch in batches(entries):
            values = self._connection.command("hmget", self._keys.entries, batch)
            found += [None if value is None else Entry.parse(value) for value in values]
        return found

    def scan(self) -> Iterator[list[tuple[str, str]]]:
        """All entries with their values, a page at a time; an entry may come twice."""
        cursor = 0
        while True:
            cursor, page = self._connection.command("hscan", self._keys.entries, cursor, count=BATCH)
            if page:
                yield list(page.items())
            if not cursor:
                return

    def access_times(self, entries: Sequence[str]) -> list[float | None]:
        """The access time of each entry; hits that their process has not flushed yet do not count."""
        times: list[float | None] = []
        for batch in batches(entries):
            free, leased = self._connection.pipeline(
                ("zmscore", self._keys.atime, batch), ("zmscore", self._keys.atime_leased, batch)
            )
            times += [a if a is not None else b for a, b in zip(free, leased, strict=True)]
        return times

    def touch(self, used: Mapping[str, float]) -> None:
        """Records when entries were used; a later time that is known already is kept."""
        for batch in batches(used.items()):
            pairs = [part for entry, now in batch for part in (now, entry)]
            self._connection.pipeline(
                *(
                    ("execute_command", "ZADD", key, "XX", "GT", *pairs)
                    for key in (self._keys.atime, self._keys.atime_leased)
                )
            )

    def adopt(self, files: Iterable[StoredFile], *, counted: bool = False, token: str = "") -> int:
        """Takes files on the volume into the index.

        Args:
            counted: whether their bytes are among those counted as not indexed yet.
            token: the token of the caller's own claims on them, if any.

        Returns:
            how many entries were new, or had another size.
        """
        k = self._keys
        keys = [k.entries, k.atime, k.atime_leased, k.leased, k.claims, k.meta]
        changed = 0
        for batch in batches(files):
            parts = (part for f in batch for part in (f.entry, f.size, f.atime, f.value))
            changed += self._script("entry_adopt", keys, [int(counted), token, *parts])
        return changed

    def renew(self, entries: Iterable[tuple[str, str, str, str]]) -> int:
        """Writes other values for entries whose files stay as they are, such as one with a new etag.

        Args:
            entries: each with the token of the caller's claim on it, the value that it must still have, and
                the new value, whose size is the same.

        Returns:
            how many were renewed: those whose claim and value are still those.
        """
        return sum(
            self._script("entry_renew", [self._keys.entries, self._keys.claims], [*chain(*batch)])
            for batch in batches(entries)
        )

    def forget(self, entries: Iterable[tuple[str, str]], token: str = "") -> int:
        """Drops entries (with the values that they must still have) whose files are gone."""
        k = self._keys
        keys = [k.entries, k.atime, k.atime_leased, k.leased, k.claims, k.meta, k.owners, k.quotas]
        return sum(
            self._script("entry_forget", keys, [token, *(part for pair in batch for part in pair)])
            for batch in batches(entries)
        )

    def forget_all(self) -> None:
        """Drops every entry that is not claimed."""
        for page in self.scan():
            self.forget(page)

    def totals(self) -> Totals:
        """The volume's totals."""
        names = ("published", "reserved", "unindexed", "leased", "count")
        values = self._connection.command("hmget", self._keys.meta, list(names))
        return Totals(*(int(value or 0) for value in values))
