"""Threads that wait for sources and disks, so that the event loop of the App's server never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

T = TypeVar("T")

# Browsers open six connections to a server, so this serves several. The threads wait for the network, not for
# the CPU.
_MAX_THREADS = 32

# A limiter belongs to the event loop that it was made in, so there is one for each.
_limiters: RunVar[CapacityLimiter | None] = RunVar("forebay_app_threads")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Calls a function in one of this module's threads.

    A caller that is cancelled does not wait for the function to return; a function that has not begun by
    then is not called.
    """
    return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=_limiter())


def _limiter() -> CapacityLimiter:
    limiter = _limiters.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_MAX_THREADS)
        _limiters.set(limiter)
    return limiter
