"""How many requests one host gets at a time, and how fast: found out from its answers.

Nothing here knows a clock: every method is told the time, in seconds of any clock that only goes on.

Two things can be the bottleneck. A host that answers late serves more the more requests are in flight;
so their number grows as long as the throughput grows with it. A host that allows so many requests a
second refuses the rest, however few are in flight; so after a refusal requests are also paced: at first
by what it did serve, later by a cubic curve, as TCP has it: quickly back to where the refusal was, slowly
past it, and then faster and faster.
"""

from __future__ import annotations

import math
from collections import deque

# A request counts as this many bytes besides its body, so that throughput covers small and large ones.
REQUEST_BYTES = 64 << 10
_GROWTH = 2.0
# Less growth of throughput than this, for one growth of the window, and a larger window is no use.
_WORTHWHILE = 1.15
_SHORTEST_ROUND = 0.02
_SHORTEST_ANSWER = 0.05
_STEADY_SECONDS = 1.0
# After a refusal the pace falls to this part, and comes back along a curve of this steepness at least.
_CUT = 0.85
_STEEPNESS = 0.4
_DOUBLING_SECONDS = 0.5
_SLOWEST = 0.5


class Window:
    """One host's window.

    Args:
        first: requests at a time before anything is known.
        max_size: requests at a time at most.

    Attributes:
        size: how many requests may be in flight now; at least 1.
        pace: how many requests may start each second; ``None`` for any number.
    """

    def __init__(self, now: float, *, first: int, max_size: int) -> None:
        self.size = float(min(first, max_size))
        self.pace: float | None = None
        self._max_size = max_size
        self._paused_until = 0.0
        self._next_start = 0.0
        self._served: deque[float] = deque(maxlen=4096)
        # Answers to requests from before the last cut say nothing about what came of it.
        self._cut_at = now - 1.0
        self._peak: float | None = None
        self._base = 0.0
        self._restart = 0.0
        self._round_began = now
        self._round_work = 0
        self._round_answers = 0
        self._was_full = False
        self._growing = True
        self._last_rate = 0.0
        self._former_size = self.size
        self._failures = 0
        self._settled_at = now

    def allows(self, now: float, in_flight: int) -> bool:
        """Whether another request may start now."""
        if in_flight >= int(self.size):
            self._was_full = True
            return False
        return now >= self._paused_until and now >= self._next_start

    def wakeup(self, now: float, in_flight: int) -> float:
        """When a request may start; infinite where that is a matter of answers, not of time."""
        if in_flight >= int(self.size):
            return math.inf
        return max(self._paused_until, self._next_start, now)

    def started(self, now: float) -> None:
        """A request was sent."""
        if self.pace is not None:
            self._follow_curve(now)
        if self.pace is not None:
            # What was not used is lost, but for the little that a busy loop comes too late.
            self._next_start = max(self._next_start, now - 0.05) + 1.0 / max(self.pace, _SLOWEST)

    def served(self, now: float, received: int) -> None:
        """An answer came that is no sign of overload."""
        self._served.append(now)
        self._round_work += received + REQUEST_BYTES
        self._round_answers += 1
        elapsed = now - self._round_began
        if self._round_answers >= self.size and elapsed >= _SHORTEST_ROUND:
            self._end_round(now, self._round_work / elapsed)

    def refused(self, now: float, began: float, retry_after: float | None = None) -> None:
        """The host refused a request because there are too many.

        Args:
            began: when that request was sent.
            retry_after: for how many seconds the host asks to be left alone.
        """
        if retry_after:
            self._paused_until = max(self._paused_until, now + retry_after)
        if began <= self._cut_at:
            return
        goodput = self._goodput(now)
        if self.pace is None:
            # What was served so far may be little because it has just begun: the pace doubles until
            # the next refusal.
            rate = self.size / 2.0 / max(now - began, _SHORTEST_ANSWER)
            self._peak, self.pace = None, max(goodput, rate)
            self._shrink(now)
        else:
            # It is the rate that is too high, not the number in flight.
            self._peak = max(goodput, 0.9 * self.pace)
            self.pace = max(self._peak * _CUT, _SLOWEST)
            self._cut_at = now
        self._restart = max(now, self._paused_until)
        self._base = self.pace
        self._next_start = max(now, self._paused_until) + 1.0 / self.pace

    def timed_out(self, now: float, began: float) -> None:
        """The host did not answer a request that was sent at ``began``."""
        if began > self._cut_at:
            self._shrink(now)

    def _goodput(self, now: float) -> float:
        """Answers per second over the last second."""
        while self._served and self._served[0] < now - 1.0:
            self._served.popleft()
        if not self._served:
            return 0.0
        return len(self._served) / min(max(now - self._served[0], 0.1), 1.0)

    def _follow_curve(self, now: float) -> None:
        after = max(now - self._restart, 0.0)
        if self._peak is None:
            self.pace = self._base * 2.0 ** min(after / _DOUBLING_SECONDS, 40.0)
        else:
            steepness = max(_STEEPNESS, self._peak / 100.0)
            back = (self._peak * (1.0 - _CUT) / steepness) ** (1.0 / 3.0)
            self.pace = max(steepness * (after - back) ** 3 + self._peak, self._base)
        # A pace that binds no longer is of no use; the limit is gone, or was never one of rate.
        if after > 2.0 and self.pace > 4.0 * self._goodput(now) + 10.0:
            self.pace = self._peak = None
            self._next_start = 0.0
            return

    def _shrink(self, now: float) -> None:
        self._cut_at = now
        self.size = max(1.0, self.size / 2.0)
        self._settle(now)
        self._begin_round(now)

    def _settle(self, now: float) -> None:
        self._growing, self._failures, self._settled_at = False, 0, now

    def _begin_round(self, now: float) -> None:
        self._round_began, self._round_work, self._round_answers, self._was_full = now, 0, 0, False

    def _end_round(self, now: float, rate: float) -> None:
        was_full = self._was_full
        self._begin_round(now)
        if not was_full:
            return
        if not self._growing:
            if now - self._settled_at >= _STEADY_SECONDS and self.size < self._max_size:
                self._growing, self._last_rate, self._failures = True, rate, 1
                self._grow()
            return
        if rate > _WORTHWHILE * self._last_rate:
            self._last_rate, self._failures = rate, 0
            if self.size < self._max_size:
                self._grow()
            else:
                self._settle(now)
            return
        # One round may be slow for a hundred reasons, so it takes two to give up.
        self._failures += 1
        if self._failures >= 2:
            self.size = self._former_size
            self._settle(now)

    def _grow(self) -> None:
        self._former_size = self.size
        self.size = min(self.size * _GROWTH, float(self._max_size))
