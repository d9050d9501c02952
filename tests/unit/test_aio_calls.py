"""Which calls of coroutines are made in the event loop, and which in threads."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from forebay.aio import calls
from forebay.aio.calls import Answer, Calls, in_thread


def name() -> str:
    return threading.current_thread().name


def test_a_quick_call_is_made_at_once_and_a_slow_one_in_a_thread_until_it_is_quick_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10_000))
    pace = [0.0]
    monkeypatch.setattr(calls, "time", SimpleNamespace(perf_counter=lambda: next(clock) * pace[0]))

    async def main() -> list[bool]:
        made, here = Calls(), []
        for pace[0] in (0.0, 1.0, 1.0, 0.0):
            here.append(await made.quick(name) == name())
        # what is slow for once is not slow for ever
        for _ in range(200):
            await made.quick(name)
        return [*here, await made.quick(name) == name()]

    # the second is the one that shows that calls are slow
    assert asyncio.run(main()) == [True, True, False, False, True]


def test_a_call_in_a_thread_raises_what_it_raised() -> None:
    async def main() -> None:
        await in_thread(lambda: int("x"))

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(main())


def test_a_call_that_was_asked_for_is_made_although_its_task_is_cancelled() -> None:
    may_go_on, ended = threading.Event(), threading.Event()

    def call() -> None:
        may_go_on.wait(60)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(in_thread(call))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    # its event loop is closed by now
    may_go_on.set()

    assert ended.wait(60)


def test_an_answer_to_a_closed_event_loop_is_for_nothing() -> None:
    async def main() -> Answer[int]:
        return Answer()

    answer = asyncio.run(main())

    answer.give(1)
    answer.fail(ValueError())
    assert not answer.future.done()
