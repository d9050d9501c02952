"""Pauses that grow: between attempts, and between looks at a state that something else changes.

A module of its own, because the supervisor of the embedded index loads it, and must stay small.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Pauses that grow from ``first`` to ``max_pause``. Does not sleep: the caller waits as it needs to.

    Example::

        backoff = Backoff(0.02, 0.5)
        while not ready():
            time.sleep(backoff.next())

    Args:
        first: the first pause, in seconds.
        max_pause: the pause at which growth ends, in seconds.
        factor: by which each pause is longer than the one before it.
        jitter: which share of a pause is random, from 0 (none) to 1 (all of it), so that processes that
            failed together do not try again together.
        uniform: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        first: float,
        max_pause: float,
        factor: float = 1.5,
        jitter: float = 0.0,
        *,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._first = min(first, max_pause)
        self._max_pause = max_pause
        self._factor = factor
        self._jitter = jitter
        self._uniform = uniform
        self._following = self._first

    def next(self) -> float:
        """The pause to make now, in seconds; the next one will be longer."""
        pause = self._following
        self._following = min(pause * self._factor, self._max_pause)
        return pause * (1.0 - self._jitter * self._uniform()) if self._jitter else pause

    def reset(self) -> None:
        """Begins with the first pause again, as something has happened meanwhile."""
        self._following = self._first
