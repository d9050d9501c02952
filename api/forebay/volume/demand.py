"""How much of a shared rate a process asks for, judged by what it used of what it had."""

from __future__ import annotations

from forebay.index.shares import ALL
from forebay.transport import Use

# Who uses so much of its part would use more.
_FULL = 0.85
# What is asked for beyond what was used, so that more is seen to be wanted.
_MARGIN = 1.25
# So many rounds without use, and the part is given back.
_QUIET_ROUNDS = 2
_LEAST = 0.01


class Demand:
    """The demand of one process, round by round."""

    def __init__(self) -> None:
        self._quiet = _QUIET_ROUNDS

    def next(self, use: Use, granted: float, limit: float, seconds: float) -> float:
        """The demand for the next round.

        Args:
            use: what was used in this round.
            granted: what might have been used in a second of it.
            limit: what all processes may use together in a second.
            seconds: how long it took.

        Returns:
            so much a second; `ALL` for all that there is, 0 for nothing.
        """
        # Of requests it may be one less than there was room for, as there are no halves of them.
        if use.taken + use.was_short > _FULL * granted * seconds:
            self._quiet = 0
            return ALL
        self._quiet = 0 if use.taken else self._quiet + 1
        if self._quiet >= _QUIET_ROUNDS:
            return 0.0
        return max(_MARGIN * use.taken / max(seconds, 0.001), _LEAST * limit)
