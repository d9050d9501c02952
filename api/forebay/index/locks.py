"""Locks of one volume: one process at a time evicts, maintains, recovers, or re-enqueues."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.index.part import Part


class HeldLock:
    """A lock that this process has taken.

    Attributes:
        token: names this holder.
    """

    def __init__(self, locks: Locks, key: str, token: str, ttl: float) -> None:
        self.token = token
        self._locks = locks
        self._key = key
        self._ttl = ttl

    def extend(self) -> bool:
        """Lets the lock expire its time to live from now; false when another process holds it by now."""
        return self._locks.take(self._key, self.token, self._ttl)


class Locks(Part):
    """The locks of one volume."""

    @contextmanager
    def hold(self, key: str, ttl: float, token: str = "") -> Iterator[HeldLock | None]:
        """Takes a lock for at most ``ttl`` seconds, and gives it back at the end of the block.

        Args:
            key: the lock, one of `Keys`.
            token: names the holder; by default one that is made up.

        Yields:
            the lock; ``None`` where another process holds it.
        """
        token = token or f"{os.getpid()}.{secrets.token_hex(8)}"
        if not self.take(key, token, ttl):
            yield None
            return
        try:
            yield HeldLock(self, key, token, ttl)
        finally:
            self.take(key, token, 0)

    def take(self, key: str, token: str, ttl: float) -> bool:
        """Takes or extends a lock for ``ttl`` seconds; 0 gives it back."""
        return bool(self._script("lock", [key], [token, int(ttl * 1000)]))

    def drop(self, *keys: str) -> None:
        """Removes locks without their tokens: Redis may have lost their release."""
        self._connection.command("unlink", *keys)
