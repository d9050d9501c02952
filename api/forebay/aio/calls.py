"""Calls of blocking code by coroutines: at once where that is quick, else in a few threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from forebay import forks
from forebay.errors import ForebayError

_T = TypeVar("_T")
_THREADS = 8
# Calls are made at once as long as they take no longer than this, on the average; and again below a quarter.
SLOW_SECONDS = 0.002
# The share of the newest call in the average.
_WEIGHT = 1 / 16


class Answer(Generic[_T]):
    """What another thread tells a coroutine; made in its event loop.

    Attributes:
        future: to be awaited.

    Raises:
        ForebayError: there is no event loop of asyncio.
    """

    __slots__ = ("_loop", "future")

    def __init__(self) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ForebayError("forebay.aio needs an event loop of asyncio, and none runs here") from None
        self.future: asyncio.Future[_T] = self._loop.create_future()

    def give(self, result: _T) -> None:
        """Ends the wait, from any thread; nothing waits any more where the event loop is closed."""
        self._soon(lambda: self.future.set_result(result))

    def fail(self, error: BaseException) -> None:
        """Ends the wait with an error."""
        self._soon(lambda: self.future.set_exception(error))

    def _soon(self, end: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):
            # A task that was cancelled does not wait any more.
            self._loop.call_soon_threadsafe(lambda: None if self.future.done() else end())


class Calls:
    """Makes the calls of one cache; finds out whether its volume is quick enough for the event loop."""

    def __init__(self) -> None:
        self._average = 0.0
        self._is_slow = False

    async def quick(self, function: Callable[[], _T]) -> _T:
        """Calls what takes microseconds on a disk of this machine: at once, unless the volume is slow."""
        if self._is_slow:
            return await in_thread(lambda: self._measured(function))
        return self._measured(function)

    def _measured(self, function: Callable[[], _T]) -> _T:
        began = time.perf_counter()
        try:
            return function()
        finally:
            self._average += _WEIGHT * (time.perf_counter() - began - self._average)
            self._is_slow = self._average > (SLOW_SECONDS / 4 if self._is_slow else SLOW_SECONDS)


async def in_thread(function: Callable[[], _T]) -> _T:
    """Calls a function in a thread. A call that has been asked for is made, also if the task is cancelled.

    Raises:
        BaseException: what it raised.
    """
    answer: Answer[_T] = Answer()
    context = contextvars.copy_context()

    def call() -> None:
        try:
            result = context.run(function)
        except BaseException as error:
            answer.fail(error)
        else:
            answer.give(result)

    try:
        _pools.of_process().submit(call)
    except RuntimeError as error:
        raise ForebayError(f"no thread can be started: {error}") from None
    return await answer.future


class _Pools:
    """The threads for calls, of this process; they start when they are needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        forks.forget_in_children(self)

    def of_process(self) -> ThreadPoolExecutor:
        """The pool."""
        if self._pool is None:
            with forks.setting_up():
                self._pool = self._pool or ThreadPoolExecutor(_THREADS, thread_name_prefix="forebay-aio")
        return self._pool

    def forget(self) -> object:
        """Gives up the parent's threads, which a child does not have."""
        pool, self._pool = self._pool, None
        return pool


_pools = _Pools()
