"""The handle on a job.

A job lives in the index, not in the process that made it: any process can watch it, wait for it,
cancel it, or try its failed samples again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from forebay.config.sizes import count
from forebay.errors import DownloadError, Failure, ForebayError, JobNotFoundError, JobTimeoutError
from forebay.index import Index
from forebay.jobs.dispatcher import Dispatcher
from forebay.jobs.ledger import abandoned, break_off
from forebay.jobs.status import JobState, JobStatus
from forebay.tables import TableList
from forebay.uri import shown

# How long the properties show one snapshot of a job that has not ended.
_SNAPSHOT_SECONDS = 0.2
# A job is looked at after a twentieth of the time for which it is being followed, so its end is noticed late
# by as much at most; and not more or less often than this.
_POLL_SHARE, _POLL_SECONDS = 1 / 20, (0.02, 0.5)


class Job:
    """A handle on a job; `MediaCache.download_media` and `MediaCache.job` make one.

    Counts and state are properties of one snapshot, so what is read together fits together. A snapshot is
    replaced when it is 0.2 s old, or for good when the job is done; `start`, `retry`, `reopen`, `cancel` and
    `forget` of this handle drop it. `status` always reads anew.

    Attributes:
        id: the job's id.

    Raises:
        JobNotFoundError: no job has this id; it may have expired.
    """

    def __init__(self, job: str, index: Index, dispatcher: Dispatcher) -> None:
        self.id = job
        self._index = index
        self._dispatcher = dispatcher
        self._records = index.jobs
        self._snapshot: JobStatus | None = None
        self._read_at = 0.0

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def _repr_html_(self) -> str | None:
        try:
            return self._latest()._repr_html_()
        except ForebayError:
            # It has expired, or Redis cannot be asked: then its id must do.
            return None

    # How far it is

    def status(self) -> JobStatus:
        """Reads the job anew.

        Returns:
            its status at one moment.

        Raises:
            JobNotFoundError: no job has this id; it may have expired.
        """
        fields = self._records.read(self.id)
        if "created" not in fields:
            raise JobNotFoundError(
                f"job {shown(self.id)} is not known on volume {self._index.volume!r}: "
                "`forebay jobs` lists those that are",
                job=self.id,
            )
        self._snapshot, self._read_at = JobStatus.parse(self.id, fields), time.monotonic()
        return self._snapshot

    @property
    def state(self) -> JobState:
        """``running``, ``done`` or ``cancelled``."""
        return self._latest().state

    @property
    def dispatch(self) -> str:
        """``local`` if threads of one process download the samples, ``fleet`` if workers do."""
        return self._latest().dispatch

    @property
    def total(self) -> int:
        """Number of samples."""
        return self._latest().total

    @property
    def listing(self) -> bool:
        """Whether its samples are still being listed: there are at least `total`."""
        return self._latest().listing

    @property
    def cached(self) -> int:
        """Samples that were cached already."""
        return self._latest().cached

    @property
    def downloaded(self) -> int:
        """Samples that were downloaded."""
        return self._latest().downloaded

    @property
    def failed(self) -> int:
        """Samples that failed."""
        return self._latest().failed

    @property
    def pending(self) -> int:
        """Samples that have not ended yet."""
        return self._latest().pending

    @property
    def bytes(self) -> int:
        """Downloaded bytes."""
        return self._latest().bytes

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since it was created, until it ended."""
        return self._latest().elapsed_seconds

    @property
    def rate(self) -> float:
        """Downloaded bytes a second."""
        return self._latest().rate

    @property
    def samples_per_second(self) -> float:
        """Samples that ended a second, without those that were cached already."""
        return self._latest().samples_per_second

    @property
    def eta_seconds(self) -> float | None:
        """An estimate of the seconds left; ``None`` before the first sample has ended, and after the last."""
        return self._latest().eta_seconds

    @property
    def created(self) -> float:
        """When it was created, in seconds since the epoch."""
        return self._latest().created

    @property
    def lease(self) -> str | None:
        """The name of the lease on its samples; ``None`` if it was created without one."""
        return self._latest().lease

    def is_abandoned(self) -> bool:
        """Whether it is a local job that has not ended although its process has."""
        return self.id in abandoned(self._index, [self.id])

    @property
    def runs_here(self) -> bool:
        """Whether threads of this process work on it."""
        return self._dispatcher.runs_here(self.id)

    def failures(self) -> list[Failure]:
        """The samples that failed, in the order in which they were given."""
        noted = (noted for _, noted in self._records.failures(self.id))
        return TableList(
            (Failure(str(one["uri"]), str(one["reason"]), int(one["attempts"])) for one in noted), "failures"
        )

    # Following it

    def watch(self) -> Iterator[JobStatus]:
        """Yields the job's status whenever it has changed, until the job has ended. Resumes nothing."""
        began, last = time.monotonic(), None
        status: JobStatus | None = None
        while True:
            status = self._status_after(status)
            shown = (status.state, status.pending, status.bytes, status.failed)
            if shown != last:
                last = shown
                yield status
            if status.state != "running":
                return
            time.sleep(_pause(began))

    def wait(
        self,
        timeout: float | None = None,
        *,
        skip_failures: bool = True,
        progress: Callable[[JobStatus], object] | None = None,
    ) -> Job:
        """Blocks until every sample has ended.

        Meanwhile this process enqueues lost messages again. If the workers or the process that ran the job
        have died, this process resumes it, unless ``dispatch`` is ``fleet``.

        Args:
            timeout: in seconds; ``None`` for no limit.
            skip_failures: false to cancel the job and raise at the first failure.
            progress: called with the status regularly.

        Returns:
            this handle.

        Raises:
            JobTimeoutError: the job has not ended by then; it is still running.
            DownloadError: a sample failed, and ``skip_failures`` is false.
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker has been alive for
                ``worker_timeout_seconds``.
            JobNotFoundError: Redis has lost the job meanwhile.
        """
        for status, seconds in looks(self, timeout, skip_failures=skip_failures):
            if seconds:
                self._dispatcher.pause(self.id, seconds)
            elif progress is not None:
                progress(status)
        return self

    def _latest(self) -> JobStatus:
        """The last snapshot, unless it is too old and the job has not ended by then; else a new one."""
        last = self._snapshot
        if last is not None and (
            last.state == "done" or time.monotonic() - self._read_at < _SNAPSHOT_SECONDS
        ):
            return last
        return self.status()

    def _status_after(self, before: JobStatus | None) -> JobStatus:
        """The status now; ``before`` is the last one that was read, for the error."""
        try:
            return self.status()
        except JobNotFoundError:
            if before is None:
                raise
            done = f"{before.total - before.pending:,} of {count(before.total, 'sample')}"
            raise JobNotFoundError(
                f"job {self.id!r} no longer exists: Redis lost its data, or the job was forgotten. Run the "
                f"prefetch again; downloaded files stay ({done} had ended)",
                job=self.id,
            ) from None

    # Changing it

    def start(self) -> None:
        """Starts the job, or resumes its pending samples; does not wait.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
        """
        status, self._snapshot = self.status(), None
        if status.pending or status.listing:
            self._dispatcher.start(self.id)
        else:
            self._dispatcher.drop_helpers()

    def cancel(self) -> None:
        """Cancels the job: downloads that run are finished, no others are begun."""
        self.status()
        self._records.write(self.id, "updated", cancelled=1)
        self._snapshot = None

    def break_off_listing(self) -> None:
        """Ends the listing of its samples; the process that lists calls this before it exits.

        The missing rest counts as one failed sample. The samples that were listed are still downloaded.
        """
        break_off(self._records, self.id, "the process that listed the objects was interrupted")
        self._snapshot = None

    def forget(self) -> None:
        """Removes the records of the job; cached files stay."""
        self._records.delete(self.id)
        self._snapshot = None

    def retry(self, *, wait: bool = True, progress: Callable[[JobStatus], object] | None = None) -> Job:
        """Retries failed samples, and resumes the pending ones of a cancelled or abandoned job.

        Args:
            wait: false to return at once.
            progress: as `wait`.

        Returns:
            this handle.

        Raises:
            NoWorkersError: as `start` and `wait`.
        """
        self.reopen()
        self.start()
        return self.wait(progress=progress) if wait else self

    def reopen(self) -> None:
        """Makes failed samples pending again, and a cancelled job resumable; `retry` then calls `start`."""
        self.status()
        self._records.write(self.id, cancelled="")
        self._records.retry(self.id)
        self._snapshot = None


def looks(
    job: Job, timeout: float | None = None, *, skip_failures: bool = True
) -> Iterator[tuple[JobStatus, float]]:
    """What `Job.wait` does, without its pauses.

    Yields:
        a new status and 0.0; then, if the job has not ended, the same status and how many seconds to wait.
    """
    began = time.monotonic()
    deadline = None if timeout is None else began + timeout
    monitor = job._dispatcher.monitor(job.id)
    status: JobStatus | None = None
    while True:
        status = job._status_after(status)
        yield status, 0.0
        if status.failed and not skip_failures:
            job.cancel()
            failures = job.failures()
            text = _first_failure(failures, status)
            # More may have failed since the status was read.
            failed = max(status.failed, len(failures))
            raise DownloadError(text, job=job.id, failed=failed, failures=failures)
        if status.state != "running":
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise JobTimeoutError(
                f"job {job.id} has not ended after {timeout} s, and is still running: wait again, or "
                "cancel it",
                job=job.id,
            )
        monitor.tick(status)
        yield status, _pause(began)


def _pause(began: float) -> float:
    least, most = _POLL_SECONDS
    return min(max(least, (time.monotonic() - began) * _POLL_SHARE), most)


def _first_failure(failures: list[Failure], status: JobStatus) -> str:
    first = failures[0]
    return (
        f"{first.uri}: {first.reason} (after {first.attempts} attempts; job {status.id} was cancelled with "
        f"{status.downloaded + status.cached} of {count(status.total, 'sample')} cached)"
    )
