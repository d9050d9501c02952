"""The read plans that are active in this process, and which of them serves a read.

A workflow may read in threads of its own, and two workflows may run in two threads. So a read is served by
the latest plan of its own thread; if that thread has none, by the latest plan of any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from forebay.cache import MediaCache
from forebay.errors import ForebayError
from forebay.fiftyone.read_plan import ReadPlan
from forebay.fiftyone.remote_media import RemoteMedia
from forebay.lookahead.window import LookAhead

_active: tuple[ReadPlan, ...] = ()
_lock = threading.Lock()


def local_path(uri: str) -> str | None:
    """The local path of a URI by the active plan that includes it; ``None`` if there is no such plan.

    Raises:
        ForebayError: the media cannot be downloaded.
    """
    plan = _latest(lambda plan: plan.includes(uri)) if _active else None
    return None if plan is None else plan.local_path(uri)


def path_for_reading(uri: str) -> AbstractContextManager[str] | None:
    """As `local_path`, for a file that is opened within the block and not passed on."""
    plan = _latest(lambda plan: plan.includes(uri)) if _active else None
    return None if plan is None else plan.path_for_reading(uri)


def is_fetched_by_parent(uri: str) -> bool:
    """Whether a plan of the process that this one was forked from includes the URI."""
    return any(plan.includes(uri) for plan in _active if not plan.is_of_this_process)


def any_active() -> bool:
    """Whether any plan is active; cheap, because every loop asks it for every sample."""
    return bool(_active)


def reach_sample(sample_id: str) -> None:
    """Tells the plan of this thread, if there is one, that its loop has reached a sample."""
    plan = current()
    if plan is not None and plan.thread == threading.get_ident():
        plan.reach_sample(sample_id)


def current() -> ReadPlan | None:
    """The latest plan of this thread; if it has none, of this process."""
    return _latest(lambda plan: True) if _active else None


def _latest(fits: Callable[[ReadPlan], bool]) -> ReadPlan | None:
    thread = threading.get_ident()
    fitting = [plan for plan in reversed(_active) if plan.is_of_this_process and fits(plan)]
    return next((plan for plan in fitting if plan.thread == thread), fitting[0] if fitting else None)


@contextmanager
def activate(
    cache: Callable[[], MediaCache],
    media: RemoteMedia,
    *,
    batch_size: int | None = None,
    target_size_bytes: int | None = None,
    clear: bool = False,
    update: bool = False,
    strict: bool = False,
    iterated: bool = False,
    on_step: Callable[[int], object] = lambda number: None,
) -> Iterator[ReadPlan | None]:
    """Keeps a read plan active within the block, and logs at its end what could not be downloaded.

    Args:
        cache: returns the cache; called only if there is anything to fetch.
        media: what the workflow reads; without any, no plan is made.
        batch_size, target_size_bytes, clear, update: as for `LookAhead`.
        strict, iterated, on_step: as for `ReadPlan`.
    """
    global _active  # noqa: PLW0603
    if not any(media.steps):
        yield None
        return
    ahead = LookAhead(
        cache().engine,
        media.steps,
        batch_size=batch_size,
        target_size_bytes=target_size_bytes,
        clear=clear,
        update=update,
    )
    plan = ReadPlan(media, ahead, strict, iterated, on_step)
    with _lock:
        _active = (*_active, plan)
    try:
        yield plan
        plan.check()
    except ForebayError:
        plan.raised = True
        raise
    finally:
        with _lock:
            _active = tuple(other for other in _active if other is not plan)
        plan.close(outer=_active)
