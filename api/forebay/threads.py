"""Calling one function for many items, in several threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def map_in_threads(function: Callable[[_T], _R], items: Sequence[_T], count: int, name: str) -> list[_R]:
    """Calls ``function`` for each item, ``count`` at a time, and returns the results in order.

    An interrupt of the caller (Ctrl-C) does not wait for the calls under way.

    Raises:
        BaseException: the first that a call raised; no further items are begun after it.
    """
    results: dict[int, _R] = {}
    failures: list[BaseException] = []
    numbers, lock = iter(range(len(items))), threading.Lock()

    def work() -> None:
        while not failures:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                results[number] = function(items[number])
            except BaseException as error:
                failures.append(error)

    threads = [_thread(work, f"{name}-{n}") for n in range(min(count, len(items)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:
        failures.append(error)
        raise
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]


def _thread(function: Callable[[], None], name: str) -> threading.Thread:
    """A thread with the caller's context, so that its log lines name the same job; see `forebay.logs`."""
    context = contextvars.copy_context()
    return threading.Thread(target=context.run, args=(function,), name=name, daemon=True)
