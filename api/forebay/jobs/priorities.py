"""Priorities of jobs in Celery's queue.

Kombu keeps a list in Redis for each of some priorities, and a worker takes from the first of them that is not
empty. Celery's own numbers for them are used, so that Flower, which counts these lists, needs no settings.
"""

from __future__ import annotations

#: In their order: the job that goes first has the lowest number.
PRIORITIES = {"high": 0, "normal": 3, "low": 6}
_SEPARATOR = "\x06\x16"


def priority_of(name: str) -> int:
    """The number of a priority; an unknown one is normal."""
    return PRIORITIES.get(name, PRIORITIES["normal"])


def lists_of(queue: str, before: str | None = None) -> list[str]:
    """The keys of a queue's lists, the first to be taken from first.

    Args:
        queue: its key.
        before: a priority: only those that go before it; by default all.
    """
    least = 10 if before is None else priority_of(before)
    # Also what Kombu has for priorities that Forebay does not use.
    return [f"{queue}{_SEPARATOR}{n}" if n else queue for n in (0, 3, 6, 9) if n < least]
