"""The lists of Celery's queue are those that Kombu has for the priorities."""

from __future__ import annotations

from kombu.transport.redis import PRIORITY_STEPS, Channel

from forebay.jobs.priorities import PRIORITIES, lists_of, priority_of
from forebay_worker.message_gate import reread
from tests.messages import message


def test_kombus_lists() -> None:
    names = [f"queue{Channel.sep}{step}" if step else "queue" for step in PRIORITY_STEPS]

    assert lists_of("queue") == names


def test_a_priority_has_a_list_of_its_own() -> None:
    assert set(PRIORITIES.values()) <= set(PRIORITY_STEPS)
    assert [priority_of(name) for name in ("high", "normal", "low", "", "?")] == [0, 3, 6, 3, 3]


def test_the_lists_before() -> None:
    assert lists_of("queue", before="high") == []
    assert lists_of("queue", before="normal") == ["queue"]
    assert lists_of("queue", before="low") == ["queue", f"queue{Channel.sep}3"]


def test_a_message_keeps_its_priority() -> None:
    import json

    for given, kept in ((6, 6), (3, 3), (10, 0), (-1, 0), ("3", 0), (True, 0), (None, 0)):
        one = message()
        one["properties"]["priority"] = given
        assert json.loads(reread(json.dumps(one).encode()))["properties"]["priority"] == kept
