"""Leases: what keeps entries from eviction for a while."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from typing_extensions import Self

from forebay.config.sizes import parse_duration
from forebay.errors import LeaseNotFoundError
from forebay.index import Index
from forebay.volume.session import is_evictor_token

# An evictor that has chosen an entry is done with it within milliseconds, unless it was killed.
_LEAVING_SECONDS = 5.0
_LEAVING_PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """A lease at one moment.

    Attributes:
        name: the lease's name.
        seconds_left: until it expires.
        entries: how many entries it keeps, cached or not.
    """

    name: str
    seconds_left: float
    entries: int


class Lease:
    """A handle on a lease; as a context manager it ends the lease at the end of the block.

    Attributes:
        name: the lease's name.
    """

    def __init__(self, name: str, index: Index) -> None:
        self.name = name
        self._index = index

    def __repr__(self) -> str:
        return f"Lease({self.name!r})"

    def renew(self, ttl: float | str) -> bool:
        """Extends the lease.

        Args:
            ttl: the time from now until it expires, in seconds or as ``24h``.

        Returns:
            false if it has ended already.

        Raises:
            ConfigError: ``ttl`` is not a duration.
        """
        return self._index.leases.extend(self.name, parse_duration(ttl))

    def end(self) -> None:
        """Ends the lease: entries that no other lease keeps may be evicted again."""
        self._index.leases.end(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def lease_entries(index: Index, name: str, entries: Sequence[str], ttl: float) -> Lease:
    """Puts entries under a lease for ``ttl`` seconds.

    When this returns, no evictor is about to remove any of them: each is there for the lease's time,
    or is missing already.
    """
    leaving = index.leases.add(name, entries, ttl)
    deadline = time.monotonic() + _LEAVING_SECONDS
    while leaving and time.monotonic() < deadline:
        time.sleep(_LEAVING_PAUSE_SECONDS)
        holders = index.claims.holders(leaving)
        leaving = [
            entry
            for entry, token in zip(leaving, holders, strict=True)
            if token is not None and is_evictor_token(token)
        ]
    return Lease(name, index)


def all_leases(index: Index) -> list[LeaseStatus]:
    """Every lease that has not expired, the first to do so first."""
    return [LeaseStatus(*found) for found in index.leases.all() if found[1] > 0]


def find_lease(index: Index, name: str) -> LeaseStatus:
    """The lease of that name.

    Raises:
        LeaseNotFoundError: there is none (any more).
    """
    for lease in all_leases(index):
        if lease.name == name:
            return lease
    raise LeaseNotFoundError(
        f"lease {name!r} does not exist on volume {index.volume!r}, or has expired: "
        "`forebay lease ls` lists the leases",
        lease=name,
    )


def end_expired_leases(index: Index) -> int:
    """Ends the leases that have expired; returns how many."""
    expired = [name for name, seconds, _ in index.leases.all() if seconds <= 0]
    for name in expired:
        index.leases.end(name, expired=True)
    return len(expired)
