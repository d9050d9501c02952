"""The bound on the bytes of each second, on a clock that only the test moves."""

from __future__ import annotations

import threading

import pytest

from forebay.transport.throttle import Throttle


def taken(throttle: Throttle, clock: float, until: float, chunk: int = 1000) -> int:
    """How many bytes pass from one time to another, where there are always more."""
    total = 0
    while clock < until:
        if wait := throttle.wait(clock):
            clock += wait
        else:
            throttle.took(chunk, clock)
            total += chunk
    return total


def test_no_more_passes_than_may() -> None:
    throttle = Throttle(lambda: 100_000)

    assert taken(throttle, 0.0, 10.0) == pytest.approx(1_000_000, rel=0.02)


def test_what_was_not_used_is_not_made_up_for() -> None:
    throttle = Throttle(lambda: 100_000)
    taken(throttle, 0.0, 1.0)

    # after an hour without a request
    assert taken(throttle, 3600.0, 3601.0) <= 100_000 * 1.12


def test_without_a_rate_nothing_waits() -> None:
    throttle = Throttle(lambda: None)
    throttle.took(1 << 40, 0.0)

    assert throttle.wait(0.0) == 0.0


def test_another_rate_holds_after_a_second() -> None:
    rates = iter([1000, 1_000_000])
    throttle = Throttle(lambda: next(rates, 1_000_000))
    assert throttle.wait(0.0) == 0.0

    # given what takes 1,000 s at the first rate
    throttle.took(1_000_000, 0.0)
    assert throttle.wait(0.5) == 0.5

    # then it takes 1 s at the second
    assert throttle.wait(1.5) > 0
    assert throttle.wait(3.0) == 0.0


def test_an_end_of_the_limit_holds_after_a_second() -> None:
    rates = iter([1000])
    throttle = Throttle(lambda: next(rates, None))
    assert throttle.wait(0.0) == 0.0
    throttle.took(1_000_000, 0.0)

    assert throttle.wait(0.5) > 0
    assert throttle.wait(1.5) == 0.0


def test_a_part_of_it_is_for_other_processes() -> None:
    throttle = Throttle(lambda: 100_000)
    throttle.divide(4)

    assert taken(throttle, 0.0, 10.0) == pytest.approx(250_000, rel=0.02)


class TestGrants:
    """What a process has of a rate that many share."""

    def test_nothing_passes_until_something_is_granted(self) -> None:
        wanted = threading.Event()
        throttle = Throttle(lambda: None, wanted)
        throttle.grant(0.0, 0.0)
        assert not wanted.is_set()

        assert throttle.wait(0.0) > 0
        assert wanted.is_set()

        throttle.grant(100_000, 1.0)
        assert taken(throttle, 1.0, 11.0) == pytest.approx(1_000_000, rel=0.02)
        assert throttle.use() == (pytest.approx(1_000_000, rel=0.02), True)
        assert throttle.use() == (0, False)

    def test_who_has_to_wait_was_short(self) -> None:
        throttle = Throttle(lambda: None)
        throttle.grant(1000, 0.0)
        assert throttle.wait(0.0) == 0.0
        throttle.took(500, 0.0)
        assert throttle.use() == (500, False)

        assert throttle.wait(0.0) > 0
        assert throttle.use() == (0, True)

    def test_the_lower_rate_holds(self) -> None:
        throttle = Throttle(lambda: 100_000)
        throttle.grant(50_000, 0.0)
        assert taken(throttle, 0.0, 10.0) == pytest.approx(500_000, rel=0.02)

        throttle.grant(200_000, 10.0)
        assert taken(throttle, 10.0, 20.0) == pytest.approx(1_000_000, rel=0.02)

    def test_a_grant_is_not_divided_among_helpers(self) -> None:
        throttle = Throttle(lambda: None)
        throttle.divide(4)
        throttle.grant(100_000, 0.0)

        assert taken(throttle, 0.0, 10.0) == pytest.approx(1_000_000, rel=0.02)

    def test_what_was_taken_too_much_is_waited_for_across_grants(self) -> None:
        throttle = Throttle(lambda: None)
        throttle.grant(1000, 0.0)
        throttle.wait(0.0)
        throttle.took(10_000, 0.0)

        throttle.grant(0.0, 1.0)
        throttle.grant(1000, 5.0)
        assert throttle.wait(13.0) > 0
        assert throttle.wait(15.0) == 0.0

    def test_a_grant_ends(self) -> None:
        throttle = Throttle(lambda: None)
        throttle.grant(1000, 0.0, until=10.0)

        assert throttle.wait(9.9) == 0.0
        assert throttle.wait(10.0) > 0

    def test_a_grant_of_any_number(self) -> None:
        throttle = Throttle(lambda: None)
        throttle.grant(1000, 0.0)
        throttle.took(1_000_000, 0.0)
        throttle.grant(None, 1.0)

        assert throttle.wait(1.0) == 0.0
