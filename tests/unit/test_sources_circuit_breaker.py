"""What does not answer at all is not asked for every object of a job."""

from __future__ import annotations

import pytest

from forebay.errors import (
    CacheFullError,
    ObjectNotFoundError,
    SourceError,
    SourceNotAllowedError,
    TransientSourceError,
)
from forebay.sources import circuit_breaker
from forebay.sources.circuit_breaker import CircuitBreaker, NotTriedError
from forebay.uri import parse

URI = parse("http://host/a.jpg")
SILENCE = TransientSourceError("http://host/a.jpg", "cannot connect")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "time", clock)
    return clock


def silent(times: int, known: CircuitBreaker) -> CircuitBreaker:
    for _ in range(times):
        known.record(URI, SILENCE)
    return known


def test_after_four_objects_the_others_are_not_tried(clock: Clock) -> None:
    known = silent(3, CircuitBreaker())
    known.check(URI)

    known.record(URI, SILENCE)

    with pytest.raises(NotTriedError) as raised:
        known.check(parse("http://host/b.jpg?secret=1"))
    assert str(raised.value) == (
        "http://host/b.jpg?…: not tried, as http://host has not answered for 4 objects before; check its "
        "address, the network and that it is up (tried again after 30 s)"
    )
    known.check(parse("http://other/b.jpg"))
    known.check(parse("s3://host/b.jpg"))


def test_another_attempt_is_made_after_half_a_minute(clock: Clock) -> None:
    known = silent(4, CircuitBreaker())

    clock.now += 31
    known.check(URI)

    known.record(URI, SILENCE)
    with pytest.raises(NotTriedError):
        known.check(URI)


def test_the_first_answer_lets_everything_through(clock: Clock) -> None:
    known = silent(4, CircuitBreaker())
    clock.now += 31

    known.record(URI, None)

    silent(100, known).check(URI)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        ObjectNotFoundError("http://host/a.jpg", "no such object"),
        TransientSourceError("http://host/a.jpg", "503", "server_error"),
        SourceError("http://host/a.jpg", "the server refused"),
    ],
    ids=repr,
)
def test_whoever_answered_lately_is_trusted_to_come_back(clock: Clock, answer: Exception | None) -> None:
    known = CircuitBreaker()
    known.record(URI, answer)

    clock.now += 599
    silent(100, known).check(URI)

    clock.now += 2
    known.record(URI, SILENCE)
    with pytest.raises(NotTriedError):
        known.check(URI)


def test_what_says_nothing_of_the_server_does_not_count(clock: Clock) -> None:
    known = silent(3, CircuitBreaker())

    known.record(URI, SourceNotAllowedError("http://host/a.jpg", "not allowed"))
    known.record(URI, NotTriedError("http://host/a.jpg", "not tried"))
    known.record(URI, CacheFullError("full"))
    known.check(URI)

    known.record(URI, SILENCE)
    with pytest.raises(NotTriedError):
        known.check(URI)
