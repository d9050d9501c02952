"""A worker is healthy when it makes progress, not when it answers."""

from __future__ import annotations

import pytest

from forebay.index.workers import Worker
from forebay_worker.health import problem

NOW = 1_000_000.0


def worker(*, seen: float = 1.0, progress: float = 1.0) -> Worker:
    """A worker that was heard of, and that made progress, so many seconds ago."""
    return Worker("default.1@here", concurrency=4, seen=NOW - seen, progress=NOW - progress)


@pytest.mark.parametrize(
    ("workers", "messages"),
    [
        ([worker()], 0),
        ([worker()], 5_000),
        ([worker(progress=86_400.0)], 0),
        ([worker(progress=119.0)], 5_000),
        ([worker(), worker()], 5_000),
        ([worker(seen=300.0, progress=300.0), worker()], 5_000),
    ],
    ids=[
        "at rest",
        "at work",
        "idle for a day",
        "a slow pack",
        "two of them",
        "the successor of a killed one",
    ],
)
def test_healthy(workers: list[Worker], messages: int) -> None:
    assert problem(workers, messages, NOW) is None


@pytest.mark.parametrize(
    ("workers", "messages", "expected"),
    [
        ([], 0, "no worker of this machine has registered"),
        ([worker(seen=16.0)], 0, "default.1@here has sent no heartbeat for 16 s"),
        ([worker(seen=99.0), worker(seen=17.0)], 0, "default.1@here has sent no heartbeat for 17 s"),
        (
            [worker(progress=120.0)],
            5_000,
            "default.1@here has begun or ended no message for 120 s, and 5,000 messages wait",
        ),
        (
            [worker(), worker(progress=300.0)],
            1,
            "default.1@here has begun or ended no message for 300 s, and 1 messages wait",
        ),
    ],
    ids=["none", "silent", "all silent", "lives but takes nothing", "one of two takes nothing"],
)
def test_unhealthy(workers: list[Worker], messages: int, expected: str) -> None:
    assert problem(workers, messages, NOW) == expected
