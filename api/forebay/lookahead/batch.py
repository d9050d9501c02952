"""One batch of a look-ahead: its samples, how far it is, and the lease on it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from enum import IntEnum
from numbers import Integral, Real

from forebay.errors import ConfigError, ForebayError, UriError
from forebay.uri import entry_of, is_local
from forebay.volume.leases import Lease


class Phase(IntEnum):
    """The phases of the download of a batch, in order."""

    FETCHING = 0
    # Its last download has begun: the next batch may follow.
    LAST_BEGUN = 1
    FETCHED = 2
    # The loop has left it, nothing is being fetched, and its lease has ended.
    SETTLED = 3


class Batch:
    """Samples ``first`` up to, not including, ``end``, and what must be fetched for them.

    Safe to use from many threads. Nothing that takes long is done with its lock.

    Attributes:
        first, end: numbers of samples.
        uris: of what must be fetched, each once.
        outcomes: of entries that have ended: why they failed, or ``None``.
    """

    def __init__(self, first: int, end: int, uris: Sequence[str]) -> None:
        self.first = first
        self.end = end
        self.uris = list(uris)
        self.outcomes: dict[str, ForebayError | None] = {}
        self._changed = threading.Condition()
        self._phase = Phase.FETCHING
        self._left = False
        self._lease: Lease | None = None
        # Entries that are being read, and that only the lease protects.
        self._reading: list[str] = []

    @property
    def phase(self) -> Phase:
        """The phase that it has reached."""
        return self._phase

    @property
    def left(self) -> bool:
        """Whether the loop has passed by."""
        return self._left

    @property
    def lease(self) -> Lease | None:
        """The lease on it, if it has one."""
        return self._lease

    def advance(self, phase: Phase) -> None:
        """Goes on to a phase; never back to an earlier one."""
        with self._changed:
            self._phase = max(self._phase, phase)
            self._changed.notify_all()

    def wait_for(self, phase: Phase, timeout: float | None = None) -> bool:
        """Waits until it has come to a phase, for at most ``timeout`` seconds; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._phase >= phase, timeout)

    def leave(self) -> None:
        """Notes that the loop has passed by."""
        with self._changed:
            self._left = True

    def keep(self, lease: Lease) -> None:
        """Notes the lease on it."""
        with self._changed:
            self._lease = lease

    def lose(self, lease: Lease) -> None:
        """Notes that its lease has ended, unless it has another one by now."""
        with self._changed:
            if self._lease is lease:
                self._lease = None

    def take_lease(self) -> tuple[Lease | None, list[str]]:
        """Takes the lease from it, to end it; and the entries that are being read just then."""
        with self._changed:
            lease, self._lease = self._lease, None
            return lease, list(self._reading)

    def begin_reading(self, entry: str) -> None:
        """Notes that an entry is being read, which the lease protects."""
        with self._changed:
            self._reading.append(entry)

    def end_reading(self, entry: str) -> None:
        """Ends what `begin_reading` began."""
        with self._changed:
            self._reading.remove(entry)


def is_fetchable(uri: str) -> bool:
    """Whether a URI is a remote one that can be parsed."""
    try:
        return not is_local(uri) and bool(entry_of(uri))
    except UriError:
        return False


def fetchable(sample: object) -> list[str]:
    """The remote URIs of a sample, or of a single one; what is none fails when the loop asks for it."""
    uris = (sample,) if isinstance(sample, str) else sample
    if not isinstance(uris, Iterable):
        return []
    return [uri for uri in uris if isinstance(uri, str) and is_fetchable(uri)]


def check_sizes(batch_size: object, target_size_bytes: object) -> None:
    """Checks the sizes of batches; ``None`` is for the default.

    Raises:
        ConfigError: one of them is not a number from 1.
    """
    for name, value, kind, allowed in (
        ("batch_size", batch_size, Integral, "a number from 1"),
        ("target_size_bytes", target_size_bytes, Real, "a size from 1 byte, such as 128MB"),
    ):
        if value is not None and not (isinstance(value, kind) and float(value) >= 1):
            raise ConfigError(f"{name}={value!r} is not allowed: must be {allowed}, or None", setting=name)
