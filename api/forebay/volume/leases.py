"""Leases: what keeps entries from eviction for a while."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from typing_extensions import Self

from forebay.backoff import Backoff
from forebay.config.sizes import parse_duration, span
from forebay.errors import ConfigError, ForebayError, LeaseNotFoundError, VolumeError
from forebay.index import Index, IndexEmptiedError
from forebay.tables import Number, TableList, described
from forebay.uri import shown
from forebay.volume.recovery import Recovery
from forebay.volume.session import is_evictor_token

# An evictor that has chosen an entry is done with it within milliseconds, unless it was killed.
_LEAVING_SECONDS = 2.0
# How long a process that may not dismiss it waits for another that does.
_MAX_LEAVING_SECONDS = 120.0
_RECOVERY_SECONDS = 10.0
_LONGEST_NAME = 200
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

    def _cells(self) -> dict[str, str]:
        left = span(self.seconds_left)
        return {"lease": self.name, "expires in": left, "entries": Number(f"{self.entries:,}")}

    def _repr_html_(self) -> str:
        return described(self._cells())


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

    def _repr_html_(self) -> str | None:
        try:
            return find_lease(self._index, self.name)._repr_html_()
        except LeaseNotFoundError:
            return described({"lease": self.name, "expires in": "has ended"})
        except ForebayError:
            # Then its name must do.
            return None

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


def lease_entries(index: Index, recovery: Recovery, name: str, entries: Sequence[str], ttl: float) -> Lease:
    """Puts entries, and the blocks that there are of them, under a lease for ``ttl`` seconds.

    When this returns, no evictor is about to remove any of them: each is there for the lease's time,
    or is missing already. An evictor that is not done with them soon (it was paused, say) is dismissed.

    Raises:
        ConfigError: the name is none.
        VolumeError: an evictor is about to remove some, and this user may not dismiss it, nor does it end.
    """
    if not (isinstance(name, str) and name.isprintable() and len(name) <= _LONGEST_NAME):
        raise ConfigError(
            f"{shown(name)} is no name of a lease: it must have at most {_LONGEST_NAME} printable characters"
        )
    leaving = _add(index, recovery, name, [*entries, *recovery.blocks_of(entries)], ttl)
    pause = Backoff(_LEAVING_PAUSE_SECONDS, 0.25)
    began = asked = time.monotonic()
    while leaving:
        time.sleep(pause.next())
        holders = zip(leaving, index.claims.holders(leaving), strict=True)
        found = {entry: token for entry, token in holders if token is not None and is_evictor_token(token)}
        leaving, now = list(found), time.monotonic()
        if not leaving or now - asked < _LEAVING_SECONDS:
            continue
        asked = now
        try:
            recovery.dismiss(set(found.values()))
        except (OSError, VolumeError) as error:
            if now - began > _MAX_LEAVING_SECONDS:
                index.leases.end(name)
                raise VolumeError(
                    f"an eviction of volume {index.volume!r} does not end, and this process cannot end it "
                    f"({error}): start a worker as the user whose volume it is",
                    volume=index.volume,
                ) from None
    return Lease(name, index)


def _add(index: Index, recovery: Recovery, name: str, entries: Sequence[str], ttl: float) -> list[str]:
    pause, deadline = Backoff(0.05, 0.5), time.monotonic() + _RECOVERY_SECONDS
    while True:
        with contextlib.suppress(IndexEmptiedError):
            found = index.leases.add(name, entries, ttl)
            if not recovery.is_elsewhere():
                return found
        try:
            recovery.check(ask=True)
        except (OSError, VolumeError) as error:
            # A process that may write to the volume notices within seconds.
            if time.monotonic() > deadline:
                raise VolumeError(
                    f"Redis has lost its data about volume {index.volume!r}, and this process cannot "
                    f"count what lies there ({error}): start a worker as the user whose volume it is",
                    volume=index.volume,
                ) from None
            time.sleep(pause.next())


def all_leases(index: Index) -> list[LeaseStatus]:
    """Every lease that has not expired, the first to do so first."""
    return TableList((LeaseStatus(*found) for found in index.leases.all() if found[1] > 0), "leases")


def find_lease(index: Index, name: str) -> LeaseStatus:
    """The lease of that name.

    Raises:
        LeaseNotFoundError: there is none (any more).
    """
    for lease in all_leases(index):
        if lease.name == name:
            return lease
    raise LeaseNotFoundError(
        f"lease {shown(name)} does not exist on volume {index.volume!r}, or has expired: "
        "`forebay lease ls` lists the leases",
        lease=name,
    )


def end_expired_leases(index: Index) -> int:
    """Ends the leases that have expired; returns how many."""
    expired = [name for name, seconds, _ in index.leases.all() if seconds <= 0]
    for name in expired:
        index.leases.end(name, expired=True)
    return len(expired)
