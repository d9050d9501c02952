"""What a worker does beside its tasks: it says that it lives, and looks after what got lost."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from forebay import logs
from forebay.errors import ForebayError
from forebay.fetch.fetcher import Outcome
from forebay.index.jobs import Ledger
from forebay.jobs import fleet
from forebay_worker import metrics

if TYPE_CHECKING:
    from forebay.cache import MediaCache

Report = Callable[[list[Outcome]], None]

log = logging.getLogger(__name__)

_BEAT_SECONDS = 5.0
_UPKEEP_LOCK_SECONDS = 60.0

# Jobs that this process is working on; their ledgers are kept fresh, so that a long download is not
# taken for a lost message.
_working: Counter[str] = Counter()
# Set when this process is told to end: tasks stop before their next download, and what they have
# not done goes back into the queue.
stopping = threading.Event()
_pid = 0


@dataclass
class _Self:
    """What this worker is called, and how many tasks it runs at a time."""

    name: str = ""
    concurrency: int = 1


_self = _Self()


def register(cache: MediaCache) -> None:
    """Hooks a worker's start and end."""
    from celery import signals

    def ready(sender: Any, **_: Any) -> None:
        _self.name, _self.concurrency = str(sender.hostname), int(sender.pool.limit or 1)
        fleet.announce(cache.volume.index, _self.name, _self.concurrency, samples=0)
        threading.Thread(target=_look_after, args=(cache,), name="forebay-upkeep", daemon=True).start()
        _end_tasks_first(fleet.DRAIN_SECONDS)
        metrics.serve(cache)

    def init(sender: Any, **_: Any) -> None:
        _self.name = str(sender)

    def ending(**_: Any) -> None:
        stopping.set()
        try:
            fleet.retire(cache.volume.index, _self.name)
        except ForebayError as error:
            log.warning("could not sign off: %s", error)

    def child_ending(**_: Any) -> None:
        cache.close()

    def task_begins(kwargs: dict[str, Any], **_: Any) -> None:
        logs.job.set(kwargs.get("job"))

    def task_ends(**_: Any) -> None:
        logs.job.set(None)

    signals.celeryd_init.connect(init, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(ending, weak=False)
    signals.worker_shutdown.connect(ending, weak=False)
    signals.worker_process_shutdown.connect(child_ending, weak=False)
    # Around everything that Celery itself logs of the task.
    signals.task_prerun.connect(task_begins, weak=False)
    signals.task_postrun.connect(task_ends, weak=False)


def _end_tasks_first(seconds: float) -> None:
    """Lets SIGTERM wait for tasks to end, which they do after the download under way, and for no longer.

    Celery's soft shutdown begins with a sleep of all of its time, in which tasks do not know of it.
    """
    from celery.worker import state

    celerys = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        stopping.set()
        deadline = time.monotonic() + seconds
        while state.active_requests and time.monotonic() < deadline:
            time.sleep(0.05)
        if callable(celerys):
            celerys(number, frame)

    signal.signal(signal.SIGTERM, handle)


@contextmanager
def working_on(cache: MediaCache, job: str) -> Iterator[None]:
    """Keeps a job's ledger fresh meanwhile."""
    _start_beat(cache)
    _working[job] += 1
    try:
        yield
    finally:
        _working[job] -= 1


def progressed(cache: MediaCache, samples: int) -> None:
    """Notes that this worker has ended some samples."""
    name = _self.name or f"celery@{socket.gethostname()}"
    fleet.announce(cache.volume.index, name, _self.concurrency, samples=samples)


def _start_beat(cache: MediaCache) -> None:
    """One thread in each process that runs tasks: with a prefork pool those are the children."""
    global _pid  # noqa: PLW0603
    if _pid == os.getpid():
        return
    _pid = os.getpid()
    threading.Thread(target=_keep_fresh, args=(cache,), name="forebay-fresh", daemon=True).start()


def _keep_fresh(cache: MediaCache) -> None:
    while True:
        time.sleep(_BEAT_SECONDS)
        try:
            ledger = Ledger(cache.volume.index)
            for job in [job for job, count in _working.items() if count > 0]:
                ledger.write(job, updated=time.time())
                progressed(cache, 0)
        except Exception as error:
            # This thread must not end: without it, the worker is taken for dead.
            log.warning("keeping jobs fresh failed: %s", error)


def _look_after(cache: MediaCache) -> None:
    """Says that the worker lives; and one worker of the volume enqueues again what got lost."""
    while not stopping.is_set():
        try:
            fleet.announce(cache.volume.index, _self.name, _self.concurrency)
            # The session is what takes part in the volume's maintenance.
            cache.volume.session  # noqa: B018
            _requeue(cache)
        except Exception as error:
            # As above.
            log.warning("looking after jobs failed: %s", error)
        time.sleep(_BEAT_SECONDS)


def _requeue(cache: MediaCache) -> None:
    index = cache.volume.index
    lock, token = index.keys.prefix + "upkeep", f"{_self.name}.{os.getpid()}"
    if not index.lock(lock, token, _UPKEEP_LOCK_SECONDS):
        return
    try:
        ledger = Ledger(index)
        for job in ledger.jobs():
            fields = ledger.read(job)
            if fields and "finished" not in fields:
                cache.dispatcher.requeue_if_stalled(job, fields)
        fleet.forget_gone(index)
    finally:
        index.lock(lock, token, 0)
