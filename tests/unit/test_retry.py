"""Pauses that grow, and attempts that are repeated."""

from __future__ import annotations

import threading
import time
from itertools import cycle

import pytest

from forebay.backoff import Backoff
from forebay.errors import ObjectNotFoundError, TransientSourceError
from forebay.retry import retry_transient


def pauses(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next() for _ in range(count)]


class TestBackoff:
    def test_pauses_grow_up_to_the_longest(self) -> None:
        assert pauses(Backoff(1.0, 5.0, factor=2.0), 5) == [1.0, 2.0, 4.0, 5.0, 5.0]

    def test_it_grows_by_half_unless_told_otherwise(self) -> None:
        assert pauses(Backoff(1.0, 9.0), 3) == [1.0, 1.5, 2.25]

    def test_a_factor_of_one_never_grows(self) -> None:
        assert pauses(Backoff(0.5, 9.0, factor=1.0), 3) == [0.5, 0.5, 0.5]

    def test_the_first_is_not_longer_than_the_longest(self) -> None:
        assert pauses(Backoff(3.0, 2.0), 2) == [2.0, 2.0]

    def test_jitter_takes_a_random_share_away(self) -> None:
        numbers = cycle([0.0, 1.0])
        backoff = Backoff(1.0, 8.0, factor=2.0, jitter=0.5, uniform=lambda: next(numbers))

        assert pauses(backoff, 4) == [1.0, 1.0, 4.0, 4.0]

    def test_jitter_of_all_of_it_stays_within_the_pause(self) -> None:
        for _ in range(20):
            assert 0.0 <= Backoff(1.0, 8.0, jitter=1.0).next() <= 1.0

    def test_a_reset_begins_anew(self) -> None:
        backoff = Backoff(1.0, 5.0, factor=2.0)
        pauses(backoff, 3)

        backoff.reset()

        assert pauses(backoff, 2) == [1.0, 2.0]


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long this thread slept each time, without sleeping."""
    seconds: list[float] = []
    sleep, thread = time.sleep, threading.get_ident()

    def note(pause: float) -> None:
        # Threads that earlier tests left sleep as well.
        if threading.get_ident() == thread:
            seconds.append(pause)
        else:
            sleep(pause)

    monkeypatch.setattr("forebay.retry.time.sleep", note)
    return seconds


class Attempts:
    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.made = 0
        self._failures = failures
        self._error = error

    def __call__(self) -> int:
        self.made += 1
        if self.made <= self._failures:
            raise self._error or TransientSourceError("s3://b/a", f"failure {self.made}")
        return self.made


class TestRetry:
    def test_what_succeeds_is_not_repeated(self, slept: list[float]) -> None:
        assert retry_transient(Attempts(0), 5) == 1
        assert slept == []

    def test_attempts_go_on_until_one_succeeds(self, slept: list[float]) -> None:
        repeated: list[str] = []

        assert retry_transient(Attempts(2), 5, on_retry=lambda error: repeated.append(error.reason)) == 3

        assert repeated == ["failure 1", "failure 2"]
        assert 0.05 <= slept[0] <= 0.2
        assert 0.1 <= slept[1] <= 0.4

    def test_the_last_failure_says_how_many_attempts_were_made(self, slept: list[float]) -> None:
        with pytest.raises(TransientSourceError, match="failure 3") as raised:
            retry_transient(Attempts(9), 3)

        assert raised.value.attempts == 3
        assert len(slept) == 2

    def test_a_single_attempt_is_never_repeated(self, slept: list[float]) -> None:
        with pytest.raises(TransientSourceError, match="failure 1"):
            retry_transient(Attempts(9), 1)
        assert slept == []

    def test_failures_that_are_not_worth_it_are_not_repeated(self) -> None:
        attempts = Attempts(9)
        with pytest.raises(TransientSourceError):
            retry_transient(attempts, 5, should_retry=lambda error: error.kind != "connection")
        assert attempts.made == 1

        exhausted = TransientSourceError("s3://b/a", "tried often enough")
        exhausted.exhausted = True
        attempts = Attempts(9, exhausted)
        with pytest.raises(TransientSourceError):
            retry_transient(attempts, 5)
        assert attempts.made == 1

    def test_other_errors_are_not_repeated(self) -> None:
        attempts = Attempts(9, ObjectNotFoundError("s3://b/a", "no such object"))
        with pytest.raises(ObjectNotFoundError):
            retry_transient(attempts, 5)
        assert attempts.made == 1
