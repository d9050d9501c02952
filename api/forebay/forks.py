"""Keeps a forked child from using what belongs to its parent, and from waiting for what the parent had begun.

PyTorch's DataLoader, `multiprocessing` and Celery's prefork pool fork. A child has none of its parent's
threads, and it must not touch the parent's connections: to close one properly means to write to it. A module
that another thread was importing stays half imported in the child, whose own import of it would wait for
ever: so whatever is imported when it is first used is imported within `setting_up`.
"""

from __future__ import annotations

import logging  # noqa: F401 - see where this module's functions are registered
import os
import threading
import weakref
from contextlib import AbstractContextManager
from typing import Any, Protocol

# How long a fork waits for what other threads are setting up. Only a set-up that waits for the forking
# thread takes that long.
_PATIENCE_SECONDS = 10.0


class Forgetful(Protocol):
    """Has something that belongs to one process."""

    def forget(self) -> object:
        """Is called in a forked child: gives up what is the parent's, and returns it, untouched."""


class _SettingUp:
    """Its lock is held while something is set up, and while a process forks."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._forking: int | None = None

    def before(self) -> None:
        if self.lock.acquire(timeout=_PATIENCE_SECONDS):
            self._forking = threading.get_ident()

    def in_parent(self) -> None:
        if self._forking == threading.get_ident():
            self._forking = None
            self.lock.release()

    def in_child(self) -> None:
        self.lock = threading.RLock()
        self._forking = None
        for one in list(_all):
            # Kept for ever, because taking it apart would write to the parent's connections.
            _inherited.append(one.forget())


_all: weakref.WeakSet[Any] = weakref.WeakSet()
_inherited: list[object] = []
_setting_up = _SettingUp()
# After those of `logging`, which takes its own lock before a fork: the last to be registered is the first to
# be called, and a thread that sets something up may need that lock to come to an end.
os.register_at_fork(
    before=_setting_up.before, after_in_parent=_setting_up.in_parent, after_in_child=_setting_up.in_child
)


def setting_up() -> AbstractContextManager[bool]:
    """The lock under which a process sets up what is its own; no fork happens meanwhile."""
    return _setting_up.lock


def forget_in_children(one: Forgetful) -> None:
    """Has ``one.forget`` called in every child that is forked from now on."""
    _all.add(one)
