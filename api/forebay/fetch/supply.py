"""Where a fetch takes its objects from: a few at a time, as there may be more than fit in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from forebay.fetch.work import Item

# While so many objects are at hand, no more are taken: two batches of claims.
_AT_HAND = 256


class Supply:
    """The objects of a fetch that have not been taken yet.

    Args:
        portions: some at a time.
    """

    def __init__(self, portions: Iterable[list[Item]] = ()) -> None:
        self._portions: Iterator[list[Item]] | None = iter(portions)

    def __bool__(self) -> bool:
        """Whether there may be more."""
        return self._portions is not None

    def take(self, pending: deque[Item], waiting: int) -> None:
        """Adds to ``pending`` until enough objects are at hand, those that wait for others included."""
        while self._portions is not None and len(pending) + waiting < _AT_HAND:
            items = next(self._portions, None)
            if items is None:
                self._portions = None
            else:
                pending.extend(items)

    def end(self) -> None:
        """Leaves the rest where it is."""
        self._portions = None
