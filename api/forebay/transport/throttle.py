"""A bound on what passes each second, bytes or requests, over all event loops of a process."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

# How long a rate holds before it is asked for anew.
_HOLD_SECONDS = 1.0
# So much of what was not used may be made up for: bytes come in bursts.
_BURST_SECONDS = 0.1
# How soon to ask again where nothing may be taken at all; a grant wakes the loops before.
_MOMENT_SECONDS = 0.25
# Less than this is an error of rounding.
_NO_TIME_SECONDS = 1e-6


class Use(NamedTuple):
    """What was used of a rate.

    Attributes:
        taken: so much.
        was_short: whether more was wanted at times.
    """

    taken: int
    was_short: bool


class Throttle:
    """Says when more may be taken. Knows no clock; it is told the time. Safe for threads.

    Two rates bound it: the one of its process, which may be divided among helpers, and what was granted to
    the process of a rate that many share.

    Args:
        rate: gives how much may be taken now in a second; ``None`` for any number.
        wanted: is set when something is waited for while nothing is granted.
        burst_seconds: so much of what was not used may be made up for.
    """

    def __init__(
        self,
        rate: Callable[[], float | None],
        wanted: threading.Event | None = None,
        *,
        burst_seconds: float = _BURST_SECONDS,
    ) -> None:
        self._ask = rate
        self._wanted = wanted
        self._parts = 1
        self._own: float | None = None
        self._granted: float | None = None
        self._granted_until = math.inf
        self._rate: float | None = None
        self._ask_at = -math.inf
        self._burst_seconds = burst_seconds
        # What was taken beyond the rate, as of then; negative: what may be taken at once.
        self._debt = 0.0
        self._settled_at: float | None = None
        self._taken = 0
        self._was_short = False
        self._lock = threading.Lock()

    def divide(self, parts: int) -> None:
        """Leaves all but one of so many parts of the own rate to other processes."""
        with self._lock:
            self._parts, self._ask_at = parts, -math.inf

    def grant(self, rate: float | None, now: float, until: float = math.inf) -> None:
        """Sets what this process has of a rate that many share: so much a second; ``None`` for any number.

        Args:
            until: from when on it has nothing.
        """
        with self._lock:
            self._granted, self._granted_until = rate, until
            self._set(now)

    @property
    def rate(self) -> float:
        """How much a second may be taken now."""
        rate = self._rate
        return math.inf if rate is None else rate

    def use(self) -> Use:
        """What was used since this was last asked."""
        with self._lock:
            use = Use(self._taken, self._was_short)
            self._taken, self._was_short = 0, False
            return use

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
                self._was_short = True
                if self._wanted is not None:
                    self._wanted.set()
                return _MOMENT_SECONDS
            self._settle(now)
            pause = self._debt / rate
            if pause <= _NO_TIME_SECONDS:
                return 0.0
            self._was_short = True
            # The rate may be another one by then.
            return min(pause, max(self._ask_at - now, _NO_TIME_SECONDS))

    def took(self, size: int, now: float) -> None:
        """Notes that so much was taken, at most a moment's too much."""
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
            self._debt = max(self._debt - paid, -self._rate * self._burst_seconds)
        self._settled_at = now
