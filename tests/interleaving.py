"""A scheduler that decides, by a seed, in which order several operations take their steps.

Each operation runs in a thread of its own, and pauses before each call of Redis, before each call of the
system on a file of the cache, and wherever it would sleep. Only one runs at a time: the scheduler picks the
next one, lets it take one step, and has the invariants checked while all are paused. What a thread of the
transport does belongs to the step of the operation that waits for it. The same seed gives the same order.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from forebay.index.connection import Connection

# The calls that change what lies on a volume, or on whose answer it depends whether something does.
_CALLS = ("rename", "unlink", "chmod", "utime", "stat", "lstat", "rmdir", "mkdir")
# A thread that does not pause for so long waits for a lock that another one has.
_BLOCKED_SECONDS = 0.5
_STUCK_SECONDS = 5.0
_MAX_STEPS = 5_000


class Actor:
    """One operation, in its thread."""

    def __init__(self, name: str, operation: Callable[[], object]) -> None:
        self.name = name
        self.at = "its beginning"
        self.error: BaseException | None = None
        self.paused = threading.Event()
        self.go_on = threading.Event()
        self.is_done = False
        self._operation = operation
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def pause(self, at: str) -> None:
        self.at = at
        self.paused.set()
        self.go_on.wait()
        self.go_on.clear()

    def _run(self) -> None:
        self.pause(self.at)
        try:
            self._operation()
        except BaseException as error:
            self.error = error
        self.is_done = True
        self.paused.set()


def _where(actor: Actor) -> str:
    """Where an operation waits."""
    frame = sys._current_frames().get(actor.thread.ident or 0)
    return f"{actor.name}, at {actor.at}:\n" + "".join(traceback.format_stack(frame)[-6:])


class Scheduler:
    """Runs operations in an order that a seed determines.

    Args:
        seed: of the order.
        directory: calls of the system on paths below it are steps.
        check: called between any two steps; raises what is wrong.
    """

    def __init__(self, seed: int, directory: str, check: Callable[[], object]) -> None:
        self.trace: list[str] = []
        self._random = random.Random(seed)
        self._directory = directory
        self._check = check
        self._actors: dict[threading.Thread, Actor] = {}

    def run(self, operations: dict[str, Callable[[], object]], patch: pytest.MonkeyPatch) -> None:
        """Runs operations, each with a name, until all have ended.

        Raises:
            AssertionError: an invariant does not hold, or an operation raised.
        """
        actors = [Actor(name, operation) for name, operation in operations.items()]
        self._hook(patch)
        for actor in actors:
            actor.thread.start()
            actor.paused.wait()
            self._actors[actor.thread] = actor
        try:
            for _ in range(_MAX_STEPS):
                left = [actor for actor in actors if not actor.is_done]
                if not left:
                    break
                ready = [actor for actor in left if actor.paused.wait(0)]
                if not ready:
                    goes_on = any(actor.paused.wait(_STUCK_SECONDS) for actor in left)
                    assert goes_on, "all wait for each other:\n" + "\n".join(map(_where, left))
                    continue
                self._step(self._random.choice(ready))
            else:
                raise AssertionError(f"no end: {[(a.name, a.at) for a in actors if not a.is_done]}")
        finally:
            self._actors.clear()
            for actor in actors:
                actor.go_on.set()
            for actor in actors:
                actor.thread.join(10)
        for actor in actors:
            if actor.error is not None:
                raise AssertionError(f"{actor.name} raised {actor.error!r}") from actor.error

    def step(self, at: str) -> None:
        """A point at which the thread may be paused, if it is one of an operation."""
        actor = self._actors.get(threading.current_thread())
        if actor is not None:
            actor.pause(at)

    def _step(self, actor: Actor) -> None:
        self.trace.append(f"{actor.name}: {actor.at}")
        actor.paused.clear()
        actor.go_on.set()
        actor.paused.wait(_BLOCKED_SECONDS)
        self._check()

    def _hook(self, patch: pytest.MonkeyPatch) -> None:
        for call in _CALLS:
            self._hook_call(call, patch)
        patiently = Connection._patiently

        def of_redis(connection: Connection, *arguments: Any, **keywords: Any) -> Any:
            self.step("a call of Redis")
            return patiently(connection, *arguments, **keywords)

        patch.setattr(Connection, "_patiently", of_redis)
        sleep = time.sleep

        def sleeping(seconds: float) -> None:
            if threading.current_thread() in self._actors:
                self.step("sleep")
            else:
                sleep(seconds)

        patch.setattr(time, "sleep", sleeping)

    def _hook_call(self, call: str, patch: pytest.MonkeyPatch) -> None:
        real = getattr(os, call)

        def stepping(path: Any, *arguments: Any, **keywords: Any) -> Any:
            at = keywords.get("dir_fd", keywords.get("src_dir_fd"))
            whole = str(path) if at is None else f"{os.readlink(f'/proc/self/fd/{at}')}/{path}"
            if whole.startswith(self._directory):
                self.step(f"{call} {whole[len(self._directory) :]}")
            return real(path, *arguments, **keywords)

        patch.setattr(os, call, stepping)
