"""A worker's start and end: Celery's signals, SIGTERM, and what happens then."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from celery import signals

from forebay import logs
from forebay.cache import MediaCache
from forebay.jobs.celery_app import DRAIN_SECONDS
from forebay_worker import line, serving_neighbours, worker_metrics
from forebay_worker.presence import Presence

log = logging.getLogger(__name__)

# Set when this process is told to end: tasks stop before their next download, and what they have
# not done goes back into the queue.
stopping = threading.Event()
# Set when that was a signal's doing: the worker does not end because something is wrong.
told = threading.Event()
# How long a worker that ends waits for Redis, or for its supervisor. With what its tasks get, this is less
# than the time after which the supervisor kills it.
PATIENCE_SECONDS = 4.0


def register(cache: MediaCache, presence: Presence) -> None:
    """Hooks a worker's start and end."""
    supervised = line.attach()
    redis_answers = True
    serving: serving_neighbours.ServingNeighbours | None = None

    def ready(sender: Any, **_: Any) -> None:
        nonlocal serving
        serving = serving_neighbours.serve(cache)
        presence.name(str(sender.hostname))
        presence.begin(int(sender.pool.limit or 1))
        _end_tasks_first(cache, DRAIN_SECONDS)
        if supervised is None:
            worker_metrics.serve(cache)
        else:
            supervised.ready(worker_metrics.page(cache))

    def init(sender: Any, **_: Any) -> None:
        presence.name(str(sender))

    def ending(**_: Any) -> None:
        # Comes twice: at once, in the handler of a signal, and when tasks have ended, which announce the
        # worker and count.
        nonlocal redis_answers, serving
        stopping.set()
        ended, serving = serving, None
        if ended is not None and redis_answers:
            redis_answers = _ends_soon(ended.stop)
        redis_answers = redis_answers and _ends_soon(presence.end)
        if supervised is not None:
            _ends_soon(supervised.report)

    def told_to_end(**_: Any) -> None:
        told.set()
        cache.engine.hurry(DRAIN_SECONDS)

    def child_ending(**_: Any) -> None:
        cache.close()

    def task_begins(kwargs: dict[str, Any], **_: Any) -> None:
        logs.job.set(kwargs.get("job"))

    def task_ends(**_: Any) -> None:
        logs.job.set(None)

    signals.celeryd_init.connect(init, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(told_to_end, weak=False)
    signals.worker_shutting_down.connect(ending, weak=False)
    signals.worker_shutdown.connect(ending, weak=False)
    signals.worker_process_shutdown.connect(child_ending, weak=False)
    # Around everything that Celery itself logs of the task.
    signals.task_prerun.connect(task_begins, weak=False)
    signals.task_postrun.connect(task_ends, weak=False)


def _ends_soon(work: Callable[[], object]) -> bool:
    """Does something in a thread of its own, and waits for it a little; whether it has ended.

    A signal may have interrupted the calling thread anywhere, also where it holds a lock that the work needs.
    """
    thread = threading.Thread(target=work, name="forebay-ending", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return not thread.is_alive()


def _end_tasks_first(cache: MediaCache, seconds: float) -> None:
    """Lets SIGTERM wait for tasks to end, which they do after the download under way, and for no longer.

    Celery's soft shutdown begins with a sleep of all of its time, in which tasks do not know of it.
    """
    from celery.worker import state

    celerys = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        told.set()
        stopping.set()
        cache.engine.hurry(seconds)
        deadline = time.monotonic() + seconds
        while state.active_requests and time.monotonic() < deadline:
            time.sleep(0.05)
        if callable(celerys):
            celerys(number, frame)

    signal.signal(signal.SIGTERM, handle)
