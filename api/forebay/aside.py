"""Keeps the handlers of signals out of code that they must not interrupt.

Python calls them in the main thread, between any two steps of what runs there. A handler that raises would
end a download at a place where its error looks like the disk's or the network's; one that uses the cache
itself would wait for ever for a lock that the interrupted code holds. So what the main thread asks for runs
in another one, and the main thread only waits for it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
# How long a function that was told to stop is waited for.
_STOP_SECONDS = 10.0


class Stopped(BaseException):
    """Raised in a function that runs aside: a handler raised an error in the thread that waits for it."""


def aside(function: Callable[[], _T]) -> _T:
    """Calls a function where no handler interrupts it. If a handler raises, the function goes on alone."""
    return stoppable(lambda _: function(), 0.0)


def stoppable(function: Callable[[Callable[[], None]], _T], patience: float = _STOP_SECONDS) -> _T:
    """Calls a function where no handler interrupts it.

    Args:
        function: is given a function that it calls now and then, which raises `Stopped` once a handler has
            raised an error.
        patience: for how many seconds the function is then waited for.
    """
    if threading.current_thread() is threading.main_thread():
        call = _Call(function)
        if call.start():
            return call.wait(patience)
    return function(lambda: None)


class _Call(Generic[_T]):
    def __init__(self, function: Callable[[Callable[[], None]], _T]) -> None:
        self._function = function
        self._results: list[_T] = []
        self._error: BaseException | None = None
        self._is_stopped = False
        # Not an event, whose own lock a handler may find held.
        self._running = threading.Lock()

    def start(self) -> bool:
        """Starts the thread; false where there can be none, as at the end of the interpreter."""
        self._running.acquire()
        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=[self._run], name="forebay-aside", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def wait(self, patience: float) -> _T:
        """The function's result, or its error, or that of a handler."""
        try:
            self._running.acquire()
        except BaseException:
            self._is_stopped = True
            self._running.acquire(timeout=patience)
            raise
        if self._error is not None:
            try:
                raise self._error
            finally:
                # The error's traceback refers to this frame.
                self._error = None
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._function(self._stop))
        except BaseException as error:
            self._error = error
        finally:
            self._running.release()

    def _stop(self) -> None:
        if self._is_stopped:
            raise Stopped
