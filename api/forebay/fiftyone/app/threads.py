"""The threads in which the App's server waits for sources and disks, so that its event loop never does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from anyio.lowlevel import RunVar

T = TypeVar("T")

# A browser opens six connections to one server; this serves a good number of them. What waits does so
# for the network, not for a processor.
_THREADS = 32


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Calls a function in a thread of this module's own.

    Whoever is cancelled meanwhile does not wait for its end; one that has not begun is not called.
    """
    import anyio.to_thread

    return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=_limiter())


def _limiter() -> CapacityLimiter:
    from anyio import CapacityLimiter

    limiters = _limiters()
    limiter = limiters.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_THREADS)
        limiters.set(limiter)
    return limiter


@functools.cache
def _limiters() -> RunVar[CapacityLimiter | None]:
    from anyio.lowlevel import RunVar

    # One for each event loop, as a limiter belongs to the loop that it was made in.
    return RunVar("forebay_app_threads")
