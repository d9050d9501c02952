"""How much of a shared rate a process asks for, judged by what it used of what it had."""

from __future__ import annotations

from forebay.index.shares import ALL

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

    def next(self, used: float, may: float, limit: float, seconds: float, *, wanted: bool) -> float:
        """The demand for the next round.

        Args:
            used: what was used in this round.
            may: what might have been used in it.
            limit: what all processes may use together in a second.
            seconds: how long it took.
            wanted: whether something waited because nothing might be used.

        Returns:
            so much a second; `ALL` for all that there is, 0 for nothing.
        """
        if wanted or used > _FULL * may:
            self._quiet = 0
            return ALL
        self._quiet = 0 if used else self._quiet + 1
        if self._quiet >= _QUIET_ROUNDS:
            return 0.0
        return max(_MARGIN * used / max(seconds, 0.001), _LEAST * limit)
