"""A worker is healthy when it makes progress, not when it answers."""

from __future__ import annotations

import pytest

from forebay.index.workers import Worker
from forebay.processes import identity, pid_scope
from forebay_worker.health import problem

NOW = 1_000_000.0


# Of this boot, with a pid that was never given.
ENDED = f"{pid_scope()}-0-1"


def worker(*, seen: float = 1.0, progress: float = 1.0, process: str = "") -> Worker:
    """A worker that was heard of, and that made progress, so many seconds ago."""
    return Worker("default.1@here", 4, seen=NOW - seen, progress=NOW - progress, process=process)


@pytest.mark.parametrize(
    ("workers", "messages"),
    [
        ([worker()], 0),
        ([worker()], 5_000),
        ([worker(progress=86_400.0)], 0),
        ([worker(progress=119.0)], 5_000),
        ([worker(), worker()], 5_000),
        ([worker(seen=300.0, progress=300.0), worker()], 5_000),
        ([worker(seen=300.0, progress=300.0, process=ENDED), worker()], 5_000),
        ([worker(seen=300.0, progress=300.0, process=identity()), worker()], 0),
    ],
    ids=[
        "at rest",
        "at work",
        "idle for a day",
        "a slow pack",
        "two of them",
        "the successor of a killed one",
        "a killed one whose end is known",
        "a silent one, and nothing to do",
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
            "default.1@here has begun or ended no message for 300 s, and 1 message waits",
        ),
        (
            [worker(), worker(seen=20.0, process=identity())],
            5_000,
            "default.1@here has sent no heartbeat for 20 s, though its process runs, and 5,000 messages wait",
        ),
    ],
    ids=[
        "none",
        "silent",
        "all silent",
        "lives but takes nothing",
        "one of two takes nothing",
        "one of two hangs",
    ],
)
def test_unhealthy(workers: list[Worker], messages: int, expected: str) -> None:
    assert problem(workers, messages, NOW) == expected
