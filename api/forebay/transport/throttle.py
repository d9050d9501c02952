"""A bound on the bytes that come each second, over all event loops of a process."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

# How long a rate holds before it is asked for anew.
_HOLD_SECONDS = 1.0
# So much of what was not used may be made up for: requests come in bursts.
_BURST_SECONDS = 0.1
# How soon to ask again where nothing may be taken at all; a grant wakes the loops before.
_MOMENT_SECONDS = 0.25
# Less than this is an error of rounding.
_NO_TIME_SECONDS = 1e-6


class Throttle:
    """Says when more bytes may be taken. Knows no clock; it is told the time. Safe for threads.

    Two rates bound it: the one of its process, which may be divided among helpers, and what was granted to
    the process of a rate that many share.

    Args:
        rate: gives the bytes a second that may come now; ``None`` for any number.
        wanted: is set when bytes are waited for while nothing is granted.
    """

    def __init__(self, rate: Callable[[], int | None], wanted: threading.Event | None = None) -> None:
        self._ask = rate
        self._wanted = wanted
        self._parts = 1
        self._own: float | None = None
        self._granted: float | None = None
        self._granted_until = math.inf
        self._rate: float | None = None
        self._ask_at = -math.inf
        # Bytes that were taken beyond the rate, as of then; negative: that may be taken at once.
        self._debt = 0.0
        self._settled_at: float | None = None
        self._taken = 0
        self._lock = threading.Lock()

    def divide(self, parts: int) -> None:
        """Leaves all but one of so many parts of the own rate to other processes."""
        with self._lock:
            self._parts, self._ask_at = parts, -math.inf

    def grant(self, rate: float | None, now: float, until: float = math.inf) -> None:
        """Sets what this process has of a rate that many share: bytes a second; ``None`` for any number.

        Args:
            until: from when on it has nothing.
        """
        with self._lock:
            self._granted, self._granted_until = rate, until
            self._set(now)

    @property
    def rate(self) -> float:
        """The bytes a second that may be taken now."""
        rate = self._rate
        return math.inf if rate is None else rate

    def taken(self) -> int:
        """The bytes that were taken since this was last asked."""
        with self._lock:
            taken, self._taken = self._taken, 0
            return taken

    def wait(self, now: float) -> float:
        """When to ask again, in seconds, as nothing may be taken now; 0 where something may."""
        if now >= self._ask_at or now >= self._granted_until:
            self._look(now)
        if self._rate is None:
            return 0.0
        with self._lock:
            rate = self._rate
            if rate is None:
                return 0.0
            if not rate:
                if self._wanted is not None:
                    self._wanted.set()
                return _MOMENT_SECONDS
            self._settle(now)
            pause = self._debt / rate
            if pause <= _NO_TIME_SECONDS:
                return 0.0
            # The rate may be another one by then.
            return min(pause, max(self._ask_at - now, _NO_TIME_SECONDS))

    def took(self, size: int, now: float) -> None:
        """Notes that so many bytes were taken, at most a moment's too many."""
        with self._lock:
            self._taken += size
            if self._rate is not None:
                self._settle(now)
                self._debt += size

    def _look(self, now: float) -> None:
        rate = self._ask()
        with self._lock:
            self._ask_at = now + _HOLD_SECONDS
            self._own = None if rate is None else rate / self._parts
            if now >= self._granted_until:
                self._granted = 0.0
            self._set(now)

    def _set(self, now: float) -> None:
        # What was taken at the former rate is waited for at the new one.
        self._settle(now)
        rates = [rate for rate in (self._own, self._granted) if rate is not None]
        self._rate = min(rates) if rates else None
        if self._rate is None:
            self._debt = 0.0

    def _settle(self, now: float) -> None:
        if self._rate is not None:
            passed = math.inf if self._settled_at is None else max(0.0, now - self._settled_at)
            paid = self._rate * passed if self._rate else 0.0
            self._debt = max(self._debt - paid, -self._rate * _BURST_SECONDS)
        self._settled_at = now
