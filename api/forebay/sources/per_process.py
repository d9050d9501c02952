"""Values that each process makes for itself, because a forked child must not use its parent's clients.

PyTorch's DataLoader, `multiprocessing` and Celery's prefork pool all fork. A child that goes on using
its parent's sockets mixes up answers; a child that calls obstore after its parent did waits for
threads that only the parent has, for ever; and a child that was forked while another thread imported a
module waits for that import, for ever.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - the first look-up of a host's name would import it otherwise
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# How long a fork waits for what other threads are setting up. Only a set-up that waits for the forking
# thread takes that long.
_MAX_FORK_WAIT_SECONDS = 10.0


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first asks for it.

    No fork happens while it is made, so that ``make`` may import modules.

    Args:
        make: makes the value; called once in each process, by the first thread that needs it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: T | None = None
        _all.add(self)

    def get(self) -> T:
        value = self._value
        if value is not None:
            return value
        with _setting_up.lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def _forget(self) -> None:
        # The parent's value is kept, unused: taking it apart here could close or wait for what
        # belongs to the parent.
        _inherited.append(self._value)
        self._value = None


def obstore_is_safe() -> bool:
    """Whether obstore works in this process: not where a parent had it loaded before it forked."""
    return not _obstore_was_inherited


class _SettingUp:
    """Its lock is held while something is set up, and while a process forks."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._forking_thread: int | None = None

    def before_fork(self) -> None:
        if self.lock.acquire(timeout=_MAX_FORK_WAIT_SECONDS):
            self._forking_thread = threading.get_ident()

    def after_fork_in_parent(self) -> None:
        if self._forking_thread == threading.get_ident():
            self._forking_thread = None
            self.lock.release()

    def after_fork_in_child(self) -> None:
        self.lock = threading.RLock()
        self._forking_thread = None


_setting_up = _SettingUp()
_all: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()
_inherited: list[Any] = []
_obstore_was_inherited = False


def _start_afresh() -> None:
    global _obstore_was_inherited  # noqa: PLW0603
    _setting_up.after_fork_in_child()
    # Its threads start at the first call of any code in the process, so loaded counts as used.
    _obstore_was_inherited = _obstore_was_inherited or "obstore" in sys.modules
    for value in list(_all):
        value._forget()


os.register_at_fork(
    before=_setting_up.before_fork,
    after_in_parent=_setting_up.after_fork_in_parent,
    after_in_child=_start_afresh,
)
