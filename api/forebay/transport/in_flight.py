"""How many requests may be in flight while a throttle bounds what comes.

What is asked for comes as far as the buffers of the system at once, whatever the throttle says. So no more is
asked for than will pass soon, unless answers take longer than that.
"""

from __future__ import annotations

import math

# What is asked for passes within so many seconds, if it comes at once.
_AHEAD_SECONDS = 0.25
_LEAST = 2.0
# An answer counts so much for the average size.
_WEIGHT = 1 / 16


class InFlight:
    """The bound. Knows no clock; it is told the time.

    Attributes:
        size: requests that may be in flight; infinite until the throttle first says stop.
    """

    def __init__(self) -> None:
        self.size = math.inf
        self._average = 0.0
        self._changed_at = -math.inf

    def answered(self, size: int) -> None:
        """An answer of so many bytes has come."""
        self._average += (size - self._average) * (_WEIGHT if self._average else 1.0)

    def stopped(self, now: float, in_flight: int, rate: float) -> None:
        """The throttle let nothing pass, at so many bytes a second."""
        least = max(_LEAST, rate * _AHEAD_SECONDS / self._average) if self._average else _LEAST
        if self.size > least and now < self._changed_at + _AHEAD_SECONDS:
            return
        self.size = max(least, min(self.size, float(in_flight)) / 2.0)
        self._changed_at = now

    def wait(self, now: float, in_flight: int) -> float:
        """When to ask again, in seconds, as there are enough requests; 0 where there are not."""
        if in_flight < self.size:
            return 0.0
        if (left := self._changed_at + _AHEAD_SECONDS - now) > 0:
            return left
        # Nothing was stopped meanwhile: answers take longer.
        self.size, self._changed_at = self.size * 2.0, now
        return 0.0
