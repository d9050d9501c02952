"""Completing files where that is quick, and where it is slow."""

from __future__ import annotations

import queue
import threading

import pytest

from forebay.fetch import file_work
from forebay.fetch.file_work import FileWork


class Clock:
    """A clock that every file moves on by as much as it takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(file_work.time, "perf_counter", lambda: self.now)

    def file(self, seconds: float):
        def complete() -> None:
            self.now += seconds

        return complete


def test_a_volume_is_slow_while_its_files_take_long(monkeypatch: pytest.MonkeyPatch):
    # given files that are completed in no time
    clock, work = Clock(monkeypatch), FileWork()
    for _ in range(100):
        work.run(clock.file(0.0001))
    assert not work.is_slow

    # when they take long, it is noticed; and one alone is no reason to believe that it is over
    for _ in range(100):
        work.run(clock.file(0.005))
    assert work.is_slow
    work.run(clock.file(0.0001))
    assert work.is_slow

    # and when they are quick again, that is noticed, too
    for _ in range(100):
        work.run(clock.file(0.0001))
    assert not work.is_slow


def test_many_files_are_completed_at_a_time():
    # given files of which none is complete before ten are being worked on
    work, ended = FileWork(), queue.SimpleQueue[BaseException | None]()
    all_there = threading.Barrier(10)

    # when they are completed in threads of the volume's
    for _ in range(10):
        work.submit(lambda: all_there.wait(timeout=30), ended.put)

    # then all are
    assert [ended.get(timeout=30) for _ in range(10)] == [None] * 10


def test_an_error_reaches_who_waits():
    work, ended = FileWork(), queue.SimpleQueue[BaseException | None]()

    def fail() -> None:
        raise OSError("no space")

    work.submit(fail, ended.put)

    assert str(ended.get(timeout=30)) == "no space"
