"""Claims: the right to download, or to evict, one entry. They end by release or by commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

from forebay.index.part import Part
from forebay.index.records import Claimed, Download, batches

# A time of a fetch, in seconds since the epoch.
_LATER_THAN_ANY = 1e18


class Claims(Part):
    """The claims on entries of one volume."""

    def all(self) -> dict[str, str]:
        """Every claim: entry and token; those made ahead of a download, or for an eviction, included."""
        return dict(self._connection.command("hgetall", self._keys.claims))

    def holders(self, entries: Sequence[str]) -> list[str | None]:
        """The token of the claim on each entry; ``None`` where there is none."""
        return [
            token
            for batch in batches(entries)
            for token in self._connection.command("hmget", self._keys.claims, batch)
        ]

    def acquire(
        self,
        session: str,
        wanted: Sequence[tuple[str, str]],
        *,
        always: bool = False,
        since: Sequence[float] = (),
    ) -> list[Claimed]:
        """Claims entries (each with a token of this session).

        Args:
            always: claim entries that are published, too: they will be replaced or removed.
            since: for each entry, claim it although it is published if it was fetched, or checked, before
                this time, in seconds since the epoch.

        Raises:
            SessionLostError: the session has been reaped.
        """
        k = self._keys
        results: list[Claimed] = []
        limits = since or repeat(_LATER_THAN_ANY if always else 0.0)
        for batch in batches((*pair, limit) for pair, limit in zip(wanted, limits, strict=False)):
            for answer in self._script(
                "claim_acquire",
                [k.entries, k.claims, k.sessions, k.meta],
                [session, *(part for one in batch for part in one)],
            ):
                kind, text = answer[0], answer[1:]
                if kind == "+":
                    results.append(Claimed(True, text))
                elif kind == "=":
                    results.append(Claimed(False, text))
                else:
                    results.append(Claimed(False, holder=text, holder_alive=kind == "!"))
        return results

    def release(self, claims: Iterable[tuple[str, str]]) -> None:
        """Gives claims (entry and token) back."""
        for batch in batches(claims):
            self._script("claim_release", [self._keys.claims], [part for pair in batch for part in pair])

    def commit(self, session: str, done: Sequence[Download]) -> tuple[list[bool], int]:
        """Publishes entries.

        Returns:
            for each whether it was published; not so when its claim was no longer the token's. And the
            bytes that the session has reserved now.
        """
        k = self._keys
        keys = [k.entries, k.atime, k.atime_leased, k.leased, k.claims, k.reserved, k.meta]
        published: list[bool] = []
        held = 0
        for batch in batches(done):
            parts = (part for d in batch for part in (d.entry, d.token, d.size, d.time, d.value))
            held, *answers = self._script("claim_commit", keys, [session, *parts])
            published += map(bool, answers)
        return published, int(held)
