"""What a forked child must not inherit: clients, their connections, and obstore altogether.

PyTorch's DataLoader, `multiprocessing` and Celery's prefork pool all fork. A child that goes on using
its parent's sockets mixes up answers; a child that calls obstore after its parent did waits for
threads that only the parent has, for ever.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first asks for it.

    Args:
        make: makes the value; called once in each process, whichever thread comes first.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: T | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def get(self) -> T:
        value = self._value
        if value is not None:
            return value
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def _forget(self) -> None:
        # The parent's value is kept, unused: taking it apart here could close or wait for what
        # belongs to the parent. The lock may have been held by a thread that does not exist here.
        _inherited.append(self._value)
        self._value = None
        self._lock = threading.Lock()


def obstore_is_safe() -> bool:
    """Whether obstore works in this process: not where a parent had it loaded before it forked."""
    return not _obstore_was_inherited


_all: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()
_inherited: list[Any] = []
_obstore_was_inherited = False


def _after_fork() -> None:
    global _obstore_was_inherited  # noqa: PLW0603
    # Its threads start at its first call, whoever makes that, so loaded counts as used.
    _obstore_was_inherited = _obstore_was_inherited or "obstore" in sys.modules
    for value in list(_all):
        value._forget()


os.register_at_fork(after_in_child=_after_fork)
