"""Which of two requests that wait is sent first: what is needed now, then jobs by their priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.transport.exchange import Exchange, urgency

_LEVELS = {"high": 1, "normal": 2, "low": 3}


def urgency_of(priority: str) -> int:
    """The urgency of a job with a priority; an unknown one is normal. 0 is for what is needed now."""
    return _LEVELS.get(priority, _LEVELS["normal"])


@contextmanager
def at_priority(priority: str) -> Iterator[None]:
    """Has this thread ask for what it needs at the urgency of a job."""
    token = urgency.set(urgency_of(priority))
    try:
        yield
    finally:
        urgency.reset(token)


class Waiting:
    """The requests that wait for one host: the most urgent first, and those that came first among these."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Exchange]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __contains__(self, exchange: Exchange) -> bool:
        return exchange in self._lines.get(exchange.urgency, ())

    def __iter__(self) -> Iterator[Exchange]:
        for line in list(self._lines.values()):
            yield from line

    @property
    def urgency(self) -> int:
        """That of the first."""
        return min(self._lines)

    @property
    def first(self) -> Exchange:
        """The one whose turn is next."""
        return self._lines[min(self._lines)][0]

    def add(self, exchange: Exchange) -> None:
        """Has one wait."""
        self._lines.setdefault(exchange.urgency, deque()).append(exchange)

    def remove(self, exchange: Exchange) -> None:
        """Takes one out that waits."""
        line = self._lines[exchange.urgency]
        if line[0] is exchange:
            line.popleft()
        else:
            line.remove(exchange)
        if not line:
            del self._lines[exchange.urgency]

    def clear(self) -> None:
        """Takes out all."""
        self._lines.clear()
