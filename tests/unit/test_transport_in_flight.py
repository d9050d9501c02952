"""How many requests are in flight while a throttle bounds what comes."""

from __future__ import annotations

import math

from forebay.transport import BytesSink, Exchange, Request, TransportSettings
from forebay.transport.bounds import Bounds
from forebay.transport.in_flight import InFlight
from forebay.transport.traffic import Traffic


def test_without_a_stop_there_is_no_bound() -> None:
    bound = InFlight()
    bound.answered(100_000)

    assert bound.wait(0.0, 100_000) == 0.0
    assert bound.size == math.inf


def test_stops_halve_it_down_to_what_passes_soon() -> None:
    bound = InFlight()
    bound.answered(100_000)

    sizes = []
    for step in range(5):
        bound.stopped(step * 0.3, 128, 10_000_000)
        sizes.append(bound.size)

    assert sizes == [64.0, 32.0, 25.0, 25.0, 25.0]
    assert bound.wait(1.21, 24) == 0.0
    assert bound.wait(1.21, 25) > 0.0


def test_it_grows_where_answers_take_longer() -> None:
    bound = InFlight()
    bound.answered(100_000)
    for step in range(9):
        bound.stopped(step * 0.3, 25, 10_000_000)

    # when nothing was stopped for a while
    assert bound.wait(2.41, 25) > 0.0
    assert bound.wait(2.7, 25) == 0.0
    assert bound.size == 50.0


def test_objects_of_unknown_or_any_size_get_at_least_two() -> None:
    bound = InFlight()
    bound.stopped(0.0, 1, 1024)
    assert bound.size == 2.0

    bound.answered(1 << 30)
    bound.stopped(1.0, 2, 1024)
    assert bound.size == 2.0


def test_a_throttled_process_asks_for_no_more_than_passes_soon() -> None:
    # Given a throttle that has said stop once
    settings = TransportSettings(rate=lambda: 100_000)
    bounds = Bounds(settings)
    throttle = bounds.bytes
    assert throttle is not None
    traffic = Traffic(settings, max_requests=100, loops=1, bounds=bounds)
    for number in range(50):
        traffic.add(Exchange(Request(f"http://host/{number}"), BytesSink(1), lambda exchange: None), 0.0)
    first = traffic.take(0.0, 0)
    assert isinstance(first, Exchange)
    throttle.took(100_000, 0.0)
    traffic.ended(first, 0.0, received=100_000, refused=False)
    assert isinstance(traffic.take(0.01, 0), float)

    # When all of that has passed
    taken = 0
    while isinstance(traffic.take(1.2, taken), Exchange):
        taken += 1

    # Then few of the others are asked for
    assert 2 <= taken <= 4
