"""The index: entries, claims, reservations, eviction and leases of one volume, as typed calls.

Each method is one round trip, or one for every `BATCH` entries where it takes many: a batch keeps the
server busy for a millisecond or two. None of them decides anything; the decisions that must be atomic
are in the Lua scripts, the others in `forebay.fetch` and `forebay.eviction`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from forebay.index.connection import Connection
from forebay.index.keys import Keys

BATCH = 500
# A leased entry is moved from one set to another, which takes longer than to look one up.
LEASE_BATCH = 100
_T = TypeVar("_T")


class SessionLostError(Exception):
    """This process was taken for dead: its claims and reservations are gone."""


class LockLostError(Exception):
    """A lock ran out, and is somebody else's now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of a published entry.

    Attributes:
        size: bytes.
        etag: as the source gave it, or empty.
        fetched: when it was downloaded, in seconds since the epoch.
        uri: its URI without secrets, kept only where it cannot be told from the entry's name.
    """

    size: int
    etag: str = ""
    fetched: int = 0
    uri: str = ""

    @classmethod
    def parse(cls, value: str) -> Entry:
        size, etag, fetched, *uri = value.split("|", 3)
        return cls(int(size), etag, int(fetched), uri[0] if uri else "")

    def format(self) -> str:
        value = f"{self.size}|{self.etag.replace('|', '%7c')}|{self.fetched}"
        return f"{value}|{self.uri}" if self.uri else value


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a claim. Exactly one of these is true, or the claim is held by ``holder``.

    Attributes:
        granted: the entry is the caller's to download.
        value: the published entry's value; with ``granted``, of the entry that will be replaced.
        holder: the token of whoever holds the claim.
        holder_alive: whether that holder's session is alive.
    """

    granted: bool
    value: str = ""
    holder: str = ""
    holder_alive: bool = True


@dataclass(frozen=True, slots=True)
class Download:
    """A download that is complete, and whose file is in its place.

    Attributes:
        entry: what was downloaded.
        token: of the claim on it.
        size: bytes.
        time: when it was done, in seconds since the epoch; it counts as the first use.
        value: what the index keeps of it.
    """

    entry: str
    token: str
    size: int
    time: float
    value: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """The answer to a reservation; all in bytes. ``granted`` is -1 when there was no room."""

    granted: int
    published: int
    reserved: int
    unindexed: int
    leased: int


@dataclass(frozen=True, slots=True)
class Totals:
    """A volume's totals, in bytes, and its number of entries."""

    published: int
    reserved: int
    unindexed: int
    leased: int
    count: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that the evictor may take, with its access time and its size in bytes."""

    entry: str
    atime: float
    size: int


class Index:
    """One volume's index on one Redis."""

    def __init__(self, connection: Connection, volume: str) -> None:
        self.connection = connection
        self.keys = Keys(volume)

    # Entries

    def present(self, entries: Sequence[str], now: float | None = None) -> list[bool]:
        """Which entries are published; those count as used ``now`` (seconds since the epoch)."""
        k = self.keys
        flags = ""
        for batch in batches(entries):
            flags += self._script(
                "present", [k.entries, k.atime, k.atime_leased], [now or time.time(), *batch]
            )
        return [flag == "1" for flag in flags]

    def values(self, entries: Sequence[str]) -> list[Entry | None]:
        """What is known of each entry."""
        found: list[Entry | None] = []
        for batch in batches(entries):
            values = self.connection.command("hmget", self.keys.entries, batch)
            found += [None if value is None else Entry.parse(value) for value in values]
        return found

    def scan(self) -> Iterator[list[tuple[str, str]]]:
        """All entries with their values, a page at a time; an entry may come twice."""
        cursor = 0
        while True:
            cursor, page = self.connection.command("hscan", self.keys.entries, cursor, count=BATCH)
            if page:
                yield list(page.items())
            if not cursor:
                return

    def oldest(self, count: int) -> list[tuple[str, float]]:
        """The least recently used entries that no lease keeps, with their access times."""
        return [
            (str(entry), float(score))
            for entry, score in self.connection.command(
                "zrange", self.keys.atime, 0, count - 1, withscores=True
            )
        ]

    def access_times(self, entries: Sequence[str]) -> list[float | None]:
        """When each entry was used last, as far as the index has been told."""
        times: list[float | None] = []
        for batch in batches(entries):
            free, leased = self.connection.pipeline(
                ("zmscore", self.keys.atime, batch), ("zmscore", self.keys.atime_leased, batch)
            )
            times += [a if a is not None else b for a, b in zip(free, leased, strict=True)]
        return times

    def touch(self, used: dict[str, float]) -> None:
        """Notes when entries were used; a later time that is known already is kept."""
        for batch in batches(used.items()):
            pairs = [part for entry, now in batch for part in (now, entry)]
            self.connection.pipeline(
                *(
                    ("execute_command", "ZADD", key, "XX", "GT", *pairs)
                    for key in (self.keys.atime, self.keys.atime_leased)
                )
            )

    def adopt(
        self, files: Iterable[tuple[str, int, float, str]], *, counted: bool = False, token: str = ""
    ) -> int:
        """Takes files on the volume into the index.

        Args:
            files: entry, size in bytes, access time and value of each.
            counted: whether their bytes are among those counted as not indexed yet.
            token: the token of the caller's own claims on them, if any.
        """
        k = self.keys
        changed = 0
        for batch in batches(files):
            changed += self._script(
                "adopt",
                [k.entries, k.atime, k.atime_leased, k.leased, k.claims, k.meta],
                [int(counted), token, *(part for file in batch for part in file)],
            )
        return changed

    def forget(self, entries: Iterable[tuple[str, str]], token: str = "") -> int:
        """Drops entries (with the values that they must still have) whose files are gone."""
        k = self.keys
        return sum(
            self._script(
                "forget",
                [k.entries, k.atime, k.atime_leased, k.claims, k.meta],
                [token, *(part for pair in batch for part in pair)],
            )
            for batch in batches(entries)
        )

    def totals(self) -> Totals:
        """The volume's totals."""
        names = ("published", "reserved", "unindexed", "leased", "count")
        values = self.connection.command("hmget", self.keys.meta, list(names))
        return Totals(*(int(value or 0) for value in values))

    # Sessions, claims and reservations

    def begin(self, session: str, ttl: float) -> None:
        """Begins a session that lives for ``ttl`` seconds after each `beat`."""
        self._script("beat", [self.keys.sessions], [session, ttl, 1])

    def beat(self, session: str, ttl: float) -> bool:
        """Prolongs a session; false when it has been reaped."""
        return bool(self._script("beat", [self.keys.sessions], [session, ttl, 0]))

    def sessions(self) -> list[tuple[str, float]]:
        """All sessions, with the seconds until they expire (negative: they have)."""
        return self._by_expiry(self.keys.sessions)

    def claims(self) -> dict[str, str]:
        """Every claim: entry and token. There are as many as downloads under way."""
        return dict(self.connection.command("hgetall", self.keys.claims))

    def holders(self, entries: Sequence[str]) -> list[str | None]:
        """The token of whoever holds the claim on each entry."""
        return [
            token
            for batch in batches(entries)
            for token in self.connection.command("hmget", self.keys.claims, batch)
        ]

    def claim(
        self, session: str, wanted: Sequence[tuple[str, str]], *, always: bool = False
    ) -> list[Claimed]:
        """Claims entries (each with a token of this session).

        Args:
            always: claim entries that are published, too: they will be replaced.

        Raises:
            SessionLostError: the session has been reaped.
        """
        k = self.keys
        results: list[Claimed] = []
        for batch in batches(wanted):
            for answer in self._script(
                "claim",
                [k.entries, k.claims, k.sessions],
                [session, "always" if always else "missing", *(part for pair in batch for part in pair)],
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
            self._script("release", [self.keys.claims], [part for pair in batch for part in pair])

    def reserve(self, session: str, least: int, most: int, limit: int | None) -> Reservation:
        """Sets the session's reservation to between ``least`` and ``most`` bytes in all.

        Raises:
            SessionLostError: the session has been reaped.
        """
        k = self.keys
        answer = self._script(
            "reserve",
            [k.meta, k.reserved, k.sessions],
            [session, least, most, -1 if limit is None else limit],
        )
        return Reservation(*map(int, answer))

    def commit(self, session: str, done: Sequence[Download]) -> tuple[list[bool], int]:
        """Publishes entries.

        Returns:
            for each whether it was published; not so when its claim was no longer the token's. And the
            bytes that the session has reserved now.
        """
        k = self.keys
        keys = [k.entries, k.atime, k.atime_leased, k.leased, k.claims, k.reserved, k.meta]
        published: list[bool] = []
        held = 0
        for batch in batches(done):
            parts = (part for d in batch for part in (d.entry, d.token, d.size, d.time, d.value))
            held, *answers = self._script("commit", keys, [session, *parts])
            published += map(bool, answers)
        return published, int(held)

    def reap(self, session: str) -> int:
        """Ends a session whose claims have been cleaned up; returns the bytes that became free."""
        k = self.keys
        return int(self._script("reap", [k.sessions, k.reserved, k.meta], [session]))

    # Eviction

    def lock(self, name: str, token: str, ttl: float) -> bool:
        """Takes or prolongs one of the volume's locks for ``ttl`` seconds; 0 gives it back."""
        return bool(self._script("lock", [name], [token, int(ttl * 1000)]))

    def select_victims(
        self, token: str, newest: float, wanted: int, most: int
    ) -> tuple[list[Candidate], float | None, int]:
        """Chooses and claims what to evict.

        Args:
            token: the token of the eviction lock.
            newest: the newest access time that may be evicted, in seconds since the epoch.
            wanted: bytes.
            most: entries.

        Returns:
            the candidates, the access time of the oldest entry that is still in its grace period, and
            how many entries were passed over because they are claimed.
        """
        k = self.keys
        in_grace, claimed, *rest = self._script(
            "evict_select", [k.atime, k.claims, k.entries, k.evictor], [token, newest, wanted, most]
        )
        candidates = [
            Candidate(rest[i], float(rest[i + 1]), int(rest[i + 2])) for i in range(0, len(rest), 3)
        ]
        return candidates, float(in_grace) if in_grace else None, int(claimed)

    def commit_victims(self, token: str, verdicts: Iterable[tuple[str, str]]) -> int:
        """Records what became of chosen entries: ``"gone"``, or the access time that they bear.

        Returns:
            the bytes that became free.
        """
        k = self.keys
        return sum(
            self._script(
                "evict_commit",
                [k.entries, k.atime, k.atime_leased, k.claims, k.meta, k.leased],
                [token, *(part for pair in batch for part in pair)],
            )
            for batch in batches(verdicts)
        )

    # Leases

    def lease(self, lease: str, entries: Iterable[str], ttl: float) -> list[str]:
        """Puts entries, cached or not, under a lease for ``ttl`` seconds.

        Returns:
            the entries that an evictor had chosen before: they are gone in a moment.
        """
        k = self.keys
        keys = [k.leases, k.lease(lease), k.leased, k.atime, k.atime_leased, k.entries, k.claims, k.meta]
        leaving: list[str] = []
        for batch in batches(entries, LEASE_BATCH):
            leaving += self._script("lease_add", keys, [lease, ttl, *batch])
        return leaving

    def leased(self, entries: Sequence[str]) -> list[bool]:
        """Which entries a lease keeps."""
        return [
            count is not None
            for batch in batches(entries)
            for count in self.connection.command("hmget", self.keys.leased, batch)
        ]

    def leases(self) -> list[tuple[str, float, int]]:
        """All leases: id, seconds until expiry (negative: expired), number of entries."""
        found = self._by_expiry(self.keys.leases)
        counts = self.connection.pipeline(*(("scard", self.keys.lease(name)) for name, _ in found))
        return [(name, expiry, int(count)) for (name, expiry), count in zip(found, counts, strict=True)]

    def prolong_lease(self, lease: str, ttl: float) -> bool:
        """Sets a lease's expiry to ``ttl`` seconds from now; false when there is no such lease."""
        expiry, (seconds, _) = self.connection.pipeline(("zscore", self.keys.leases, lease), ("time",))
        if expiry is None:
            return False
        self.connection.command("zadd", self.keys.leases, {lease: seconds + ttl}, xx=True)
        return True

    def end_lease(self, lease: str, *, expired: bool = False) -> None:
        """Ends a lease: entries that no other lease keeps may be evicted again.

        Args:
            expired: only if it has expired; it may have been prolonged a moment ago.
        """
        k = self.keys
        keys = [k.leases, k.lease(lease), k.leased, k.atime, k.atime_leased, k.entries, k.meta]
        while self._script("lease_end", keys, [lease, LEASE_BATCH, int(expired)]):
            pass

    # Counters

    def count(
        self, process: str, number: int, new: Mapping[tuple[str, str], float], most_sources: int
    ) -> None:
        """Adds what a process has counted, by counter and source, to the volume's counters.

        Args:
            number: of this request; the same one sent again counts once.
            most_sources: how many sources are told apart.
        """
        k = self.keys
        keys = [k.counters, k.counted_sources, k.counted_lately, k.counted_by(process)]
        parts = (part for (counter, source), amount in new.items() for part in (counter, source, amount))
        self._script("count", keys, [number, most_sources, *parts])

    def counters(self) -> dict[str, dict[str, float]]:
        """What all processes counted: by source, which may be empty, and by counter."""
        found: dict[str, dict[str, float]] = {}
        for field, amount in self.connection.command("hgetall", self.keys.counters).items():
            counter, _, source = field.partition("@")
            found.setdefault(source, {})[counter] = float(amount)
        return found

    def download_rate(self) -> tuple[float, float]:
        """Downloaded bytes and objects a second, over the last minute."""
        slots, (seconds, _) = self.connection.pipeline(("hgetall", self.keys.counted_lately), ("time",))
        oldest = seconds // 5 - 12
        totals = {"bytes": 0.0, "objects": 0.0}
        for field, amount in slots.items():
            slot, _, what = field.partition("|")
            if int(slot) >= oldest:
                totals[what] += float(amount)
        return totals["bytes"] / 60, totals["objects"] / 60

    def _by_expiry(self, key: str) -> list[tuple[str, float]]:
        found, (seconds, micros) = self.connection.pipeline(("zrange", key, 0, -1, False, True), ("time",))
        return [(name, float(expiry) - seconds - micros / 1e6) for name, expiry in found]

    def _script(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        import redis

        try:
            return self.connection.script(name, keys, arguments)
        except redis.ResponseError as error:
            if str(error).startswith("SESSION"):
                raise SessionLostError(str(error)) from None
            if str(error).startswith("LOCK"):
                raise LockLostError(str(error)) from None
            raise


def batches(items: Iterable[_T], size: int = BATCH) -> Iterator[list[_T]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
