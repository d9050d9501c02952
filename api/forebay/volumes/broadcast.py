"""The same samples for several volumes: one job in each, waited for together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from forebay.cache import MediaCache
from forebay.errors import DownloadError, Failure, ForebayError, JobTimeoutError
from forebay.fetch.wanted_parts import Parts
from forebay.jobs.creation import MessageSize
from forebay.jobs.handle import Job
from forebay.jobs.status import JobState, JobStatus
from forebay.tables import rows_of
from forebay.threads import map_in_threads


class Broadcast:
    """A handle on one job in each of several volumes; `Volumes.download_media` makes one.

    Attributes:
        jobs: the jobs, by volume.
        skipped: volumes that were left out, and why.
        errors: volumes whose job could not be waited for, and why; set by `wait`.
    """

    def __init__(self, jobs: Mapping[str, Job], skipped: Mapping[str, str] | None = None) -> None:
        self.jobs = dict(jobs)
        self.skipped = dict(skipped or {})
        self.errors: dict[str, ForebayError] = {}

    def __repr__(self) -> str:
        return f"Broadcast({', '.join(f'{volume}: {job.id}' for volume, job in self.jobs.items())})"

    def _repr_html_(self) -> str | None:
        try:
            statuses = self.statuses()
        except ForebayError:
            # One has expired, or Redis cannot be asked: then their ids must do.
            return None
        return rows_of([{"volume": volume, **status._cells()} for volume, status in statuses.items()])

    def start(self) -> None:
        """Starts all jobs; does not wait.

        Raises:
            NoWorkersError: a volume's last worker has ended since the jobs were created.
        """
        for job in self.jobs.values():
            job.start()

    def statuses(self) -> dict[str, JobStatus]:
        """The status of each job, by volume."""
        return {volume: job.status() for volume, job in self.jobs.items()}

    def status(self) -> JobStatus:
        """The status of all jobs together: counts and rates are sums over the volumes."""
        return together(list(self.statuses().values()))

    def failures(self) -> dict[str, list[Failure]]:
        """The samples that failed, by volume; volumes without any are left out."""
        found = {volume: job.failures() for volume, job in self.jobs.items()}
        return {volume: failures for volume, failures in found.items() if failures}

    def wait(
        self,
        timeout: float | None = None,
        *,
        skip_failures: bool = True,
        progress: Callable[[JobStatus], object] | None = None,
    ) -> Broadcast:
        """Blocks until every sample has ended on every volume, and resumes jobs as `Job.wait` does.

        If the workers of a volume have ended, the others continue, and `errors` has the reason.

        Args:
            timeout: in seconds; ``None`` for no limit.
            skip_failures: false to cancel all jobs and raise at the first failure of any.
            progress: called regularly with the status of all jobs together.

        Raises:
            JobTimeoutError: a job has not ended by then; the jobs are still running.
            DownloadError: a sample failed, and ``skip_failures`` is false.
        """
        lock, latest = threading.Lock(), self.statuses()

        def wait_for(volume: str) -> None:
            def note(status: JobStatus) -> None:
                with lock:
                    latest[volume] = status
                    if progress is not None:
                        progress(together(list(latest.values())))

            try:
                self.jobs[volume].wait(timeout, skip_failures=skip_failures, progress=note)
            except DownloadError:
                self.cancel()
                raise
            except JobTimeoutError:
                raise
            except ForebayError as error:
                self.errors[volume] = error

        map_in_threads(wait_for, list(self.jobs), len(self.jobs), "forebay-wait")
        return self

    def cancel(self) -> None:
        """Cancels all jobs: downloads that run are finished, no others are begun."""
        for job in self.jobs.values():
            job.cancel()


def create(
    caches: Mapping[str, MediaCache],
    uris: Sequence[str],
    *,
    update: bool | float | str = False,
    lease: float | str | None = None,
    message_size: MessageSize = None,
    parts: Parts | None = None,
    skipped: Mapping[str, str] | None = None,
) -> Broadcast:
    """Writes a job down in each volume, and starts none.

    Args:
        caches: the volumes' caches, by name.
        skipped: volumes that were left out, and why.
        update, lease, message_size, parts: as `MediaCache.download_media`.

    Raises:
        NoWorkersError: one of the volumes cannot be filled; then there is no job in any.
    """
    jobs: dict[str, Job] = {}
    try:
        for name, cache in caches.items():
            jobs[name] = cache.create_job(uris, update, lease, message_size, parts)
    except BaseException:
        for name, job in jobs.items():
            status = job.status()
            if status.lease is not None:
                caches[name].engine.open_index().leases.end(status.lease)
            job.forget()
        raise
    return Broadcast(jobs, skipped)


def together(statuses: Sequence[JobStatus]) -> JobStatus:
    """Several jobs as if they were one: counts and rates add up."""
    states = {status.state for status in statuses}
    state: JobState = "running" if "running" in states else "cancelled" if "cancelled" in states else "done"
    pending = sum(status.pending for status in statuses)
    pace = sum(status.samples_per_second for status in statuses)
    return replace(
        statuses[0],
        id=", ".join(status.id for status in statuses),
        state=state,
        total=sum(status.total for status in statuses),
        cached=sum(status.cached for status in statuses),
        downloaded=sum(status.downloaded for status in statuses),
        failed=sum(status.failed for status in statuses),
        pending=pending,
        bytes=sum(status.bytes for status in statuses),
        elapsed_seconds=max(status.elapsed_seconds for status in statuses),
        rate=sum(status.rate for status in statuses),
        samples_per_second=pace,
        eta_seconds=pending / pace if pace and state == "running" else None,
        created=min(status.created for status in statuses),
        lease=None,
    )
