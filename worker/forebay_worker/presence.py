"""A worker's presence in the index: heartbeats, progress, and the jobs that it works on."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.cache import MediaCache
from forebay.errors import ForebayError
from forebay.jobs.monitor import requeue_if_stalled
from forebay.processes import host_name, identity
from forebay.schedules.clock import Clock
from forebay.volume.heartbeat import Heartbeat

log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 5.0
_UPKEEP_LOCK_SECONDS = 60.0


class Presence:
    """One worker, as the index knows it.

    Args:
        cache: the worker's cache.
    """

    def __init__(self, cache: MediaCache) -> None:
        self._cache = cache
        self._name = f"celery@{host_name()}"
        self._concurrency = 1
        # The children of a prefork pool announce the worker, too, and inherit this.
        self._process = identity()
        # Jobs that this process works on. It extends the lifetime of their records, because otherwise the
        # job monitor would take a long download for a lost message.
        self._working: Counter[str] = Counter()
        # With a prefork pool each child needs a thread of its own.
        self._pid_of_tasks = 0
        self._heartbeat: Heartbeat | None = None
        # A thread of its own: to list what a standing prefetch names may take long.
        self._clock = Heartbeat(
            "forebay-schedules", _HEARTBEAT_SECONDS, (Clock(cache.engine).tick,), "the clock of schedules"
        )
        self._begun = False
        self._over = False

    def name(self, name: str) -> None:
        """Names the worker, as Celery does."""
        self._name = name

    def begin(self, concurrency: int) -> None:
        """Announces the worker, and starts its job monitor, which watches the volume's jobs.

        Args:
            concurrency: how many tasks it runs at a time.
        """
        self._concurrency = concurrency
        self._heartbeat = Heartbeat(
            "forebay-upkeep",
            _HEARTBEAT_SECONDS,
            (
                self._begin,
                # Its heartbeat takes part in the volume's maintenance.
                self._cache.engine.open_session,
                self._requeue_lost,
            ),
            "the job monitor",
        )
        try:
            # A user who has been told that this worker is ready finds it.
            self._begin()
        except ForebayError as error:
            log.warning("could not announce this worker yet: %s", error)
        self._heartbeat.start(at_once=True)
        self._clock.start(at_once=True)
        if self._over:
            # A signal came meanwhile, and this thread signed off in its handler.
            self.end()

    def end(self) -> None:
        """Stops the heartbeat and unregisters this worker."""
        self._over = True
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._clock.stop()
        try:
            self._cache.engine.open_index().workers.retire(self._name)
        except ForebayError as error:
            log.warning("could not unregister this worker: %s", error)

    def progressed(self, samples: int) -> None:
        """Notes that this worker has ended some samples."""
        self._announce(samples)

    @contextmanager
    def working_on(self, job: str) -> Iterator[None]:
        """Extends the lifetime of a job's record meanwhile."""
        if self._pid_of_tasks != os.getpid():
            self._pid_of_tasks = os.getpid()
            tasks = (self._extend_job_records,)
            Heartbeat(
                "forebay-job-records", _HEARTBEAT_SECONDS, tasks, "extending the lifetime of job records"
            ).start()
        self._working[job] += 1
        try:
            yield
        finally:
            self._working[job] -= 1

    def _begin(self) -> None:
        # The first time as progress: a worker that has just begun is not stuck.
        self._announce(None if self._begun else 0)
        self._begun = True

    def _announce(self, samples: int | None) -> None:
        workers = self._cache.engine.open_index().workers
        workers.announce(self._name, self._concurrency, samples=samples, process=self._process)

    def _extend_job_records(self) -> None:
        for job in [job for job, count in self._working.items() if count > 0]:
            self._cache.engine.open_index().jobs.write(job, "updated")
            self.progressed(0)

    def _requeue_lost(self) -> None:
        """Enqueues again what got lost; one worker of the volume does so at a time."""
        index = self._cache.engine.open_index()
        with index.locks.hold(index.keys.upkeep, _UPKEEP_LOCK_SECONDS) as lock:
            if lock is None:
                return
            dispatcher = self._cache.engine.open_dispatcher()
            for job in index.jobs.all():
                fields = index.jobs.read(job)
                if fields and "finished" not in fields:
                    requeue_if_stalled(dispatcher, job, fields)
            index.workers.forget_gone()
