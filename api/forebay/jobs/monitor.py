"""Watching over a job, so that it ends: what was lost is enqueued again, what was abandoned is resumed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Protocol

from forebay import logs
from forebay.config import MediaCacheConfig
from forebay.errors import NoWorkersError
from forebay.index import Index
from forebay.jobs.ledger import end_dead_listing
from forebay.jobs.status import JobStatus

log = logging.getLogger(__name__)

# A job on which nothing has happened for so long, with nothing left in the queue, has lost messages.
STALL_SECONDS = 20.0
# Other jobs may keep the queue from becoming empty. While it is not, wait so many times longer.
_BUSY_FACTOR = 10
_TICK_SECONDS = 1.0


class Runners(Protocol):
    """The methods of the dispatcher that a monitor calls."""

    config: MediaCacheConfig
    index: Index

    def enqueue(self, job: str) -> int:
        """Sends the messages of a job that have pending samples; returns how many."""

    def queue_length(self) -> int:
        """How many messages wait in the volume's queue."""

    def run_here(self, job: str) -> None:
        """Runs what is pending of a job with threads of this process."""

    def raise_error(self, job: str) -> None:
        """Raises what ended a job's threads in this process before the job had ended, if anything did."""

    def is_abandoned(self, job: str, runner: str) -> bool:
        """Whether no process runs a local job."""

    def can_write(self) -> bool:
        """Whether this process itself may download into the directory, or has it not at all."""

    def no_workers(self) -> NoWorkersError:
        """The error that no worker of the volume is alive."""


class JobMonitor:
    """Watches over one job for a process that waits for it.

    Args:
        job: the job's id.
        runners: start and resume it.
    """

    def __init__(self, job: str, runners: Runners) -> None:
        self._job = job
        self._runners = runners
        self._checked = time.monotonic()
        self._alone_since: float | None = None

    def tick(self, status: JobStatus) -> None:
        """Does what the job needs now; called again and again while it is waited for.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and its workers have been gone for
                ``worker_timeout_seconds``.
            ForebayError: what ended the job's threads in this process.
        """
        self._runners.raise_error(self._job)
        if time.monotonic() - self._checked < _TICK_SECONDS:
            return
        self._checked = time.monotonic()
        fields = self._runners.index.jobs.read(self._job)
        end_dead_listing(self._runners.index.jobs, self._job, fields)
        if status.dispatch == "local":
            if self._runners.is_abandoned(self._job, fields.get("runner", "")):
                self._resume("the process that ran it has ended", "resumes it")
        elif self._runners.index.workers.alive():
            self._alone_since = None
            requeue_if_stalled(self._runners, self._job, fields)
        else:
            self._without_workers()

    def _without_workers(self) -> None:
        config = self._runners.config
        self._alone_since = self._alone_since or time.monotonic()
        if config.dispatch == "auto" and self._runners.can_write():
            self._runners.index.jobs.write(self._job, dispatch="local")
            self._resume("all workers have stopped", "continues with local threads")
        elif time.monotonic() - self._alone_since > config.worker_timeout_seconds:
            error = self._runners.no_workers()
            raise NoWorkersError(
                f"{error}; job {self._job} continues when a worker starts", volume=config.volume
            )

    def _resume(self, reason: str, how: str) -> None:
        with logs.about(self._job):
            log.warning("job %s: %s; this process %s", self._job, reason, how)
        self._runners.run_here(self._job)


def requeue_if_stalled(runners: Runners, job: str, fields: Mapping[str, str]) -> int:
    """Enqueues again what a job has lost.

    Args:
        fields: the job's record.

    Returns:
        how many messages were sent.
    """
    end_dead_listing(runners.index.jobs, job, fields)
    # A time far ahead is from before Redis' clock was put back, and says as little as one long ago.
    quiet = abs(time.time() - float(fields.get("updated", 0)))
    if (
        fields.get("dispatch") != "fleet"
        or int(fields.get("pending", 0)) == 0
        or fields.get("cancelled")
        or quiet < STALL_SECONDS
        # Other jobs keep the queue busy, so wait longer before re-enqueueing.
        or (quiet < _BUSY_FACTOR * STALL_SECONDS and runners.queue_length())
    ):
        return 0
    with logs.about(job):
        log.warning("job %s: no progress for %.0f s; enqueueing its pending samples again", job, quiet)
    return runners.enqueue(job)
