"""What each process makes for itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from forebay.sources.per_process import PerProcess


def in_child(work: Callable[[], str]) -> str:
    """What ``work`` gives in a forked child."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, work().encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def test_a_value_is_made_once_however_many_threads_ask():
    made: list[object] = []
    value = PerProcess(lambda: made.append(object()) or made[-1])

    with ThreadPoolExecutor(8) as pool:
        given = set(pool.map(lambda _: value.get(), range(100)))

    assert given == set(made)
    assert len(made) == 1


def test_a_value_that_could_not_be_made_is_tried_again():
    attempts = iter([ValueError("not yet"), None])

    def make() -> str:
        if error := next(attempts):
            raise error
        return "made"

    value = PerProcess(make)

    with pytest.raises(ValueError, match="not yet"):
        value.get()
    assert value.get() == "made"


def test_a_value_may_be_made_of_others():
    inner = PerProcess(lambda: "inner")
    outer = PerProcess(lambda: f"outer of {inner.get()}")

    assert outer.get() == "outer of inner"


def test_a_child_makes_its_own():
    value = PerProcess(lambda: str(os.getpid()))
    mine = value.get()

    theirs = in_child(value.get)

    assert theirs not in ("", mine)
    assert value.get() == mine


def test_a_fork_waits_until_nothing_is_being_made():
    # Given a thread in the middle of making a value, as when it imports a module
    begun, finish, forked = threading.Event(), threading.Event(), threading.Event()

    def make() -> str:
        begun.set()
        finish.wait(30)
        return "made after the fork" if forked.is_set() else "made before the fork"

    value = PerProcess(make)
    maker = threading.Thread(target=value.get)
    maker.start()
    begun.wait(30)

    # When this thread forks, which nothing but the end of the making lets it do
    threading.Timer(0.2, finish.set).start()
    answer = in_child(lambda: "here")
    forked.set()
    maker.join()

    assert (answer, value.get()) == ("here", "made before the fork")


def test_a_fork_from_within_the_making_is_possible():
    value = PerProcess(lambda: in_child(lambda: "from within"))

    assert value.get() == "from within"
