"""A prefetch job: its ledger entry, its handle, its failures.

A job lives in the index, not in the process that made it: any process can watch it, wait for it,
cancel it, or try its failed samples again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from forebay.errors import DownloadError, JobNotFoundError
from forebay.fetch.fetcher import Outcome
from forebay.index.jobs import Ledger
from forebay.uri import redact
from forebay.volume.session import ended_here

if TYPE_CHECKING:
    from forebay.jobs.dispatcher import Dispatcher
    from forebay.volume.volume import Volume

_POLL_SECONDS = (0.02, 0.5)
_ASK_SECONDS = 0.5
_START_SECONDS = 10.0

JobState = Literal["running", "done", "cancelled"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One sample that failed.

    Attributes:
        uri: its URI, without secrets.
        reason: what happened, and what to do about it.
        attempts: how many attempts were made.
    """

    uri: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is.

    Attributes:
        id: the job's id.
        state: ``running``, ``done`` (every sample ended, in one way or the other), ``cancelled``.
        dispatch: who runs it: ``local`` or ``fleet``.
        total: samples.
        cached: samples that were there already.
        downloaded: samples that were downloaded.
        failed: samples that failed.
        pending: samples that have not ended yet.
        bytes: downloaded bytes.
        elapsed_seconds: since it was created, until it ended.
        rate: downloaded bytes a second.
        samples_per_second: samples that ended, without those that were there from the start.
        eta_seconds: an estimate of the time left; ``None`` where there is nothing to go by.
        created: when, in seconds since the epoch.
        lease: the lease that keeps its samples, if it asked for one.
    """

    id: str
    state: JobState
    dispatch: str
    total: int
    cached: int
    downloaded: int
    failed: int
    pending: int
    bytes: int
    elapsed_seconds: float
    rate: float
    samples_per_second: float
    eta_seconds: float | None
    created: float
    lease: str | None

    @classmethod
    def parse(cls, job: str, fields: dict[str, str]) -> JobStatus:
        counts = {name: int(fields.get(name, 0)) for name in _COUNTS}
        created = float(fields["created"])
        ended = float(fields["finished"]) if "finished" in fields else None
        state: JobState = "running"
        if counts["pending"] == 0:
            state = "done"
        elif fields.get("cancelled"):
            state, ended = "cancelled", float(fields["updated"])
        elapsed = max((ended or time.time()) - created, 1e-9)
        processed = counts["total"] - counts["pending"] - int(fields.get("present", 0))
        pace = processed / elapsed
        return cls(
            id=job,
            state=state,
            dispatch=fields.get("dispatch", ""),
            **counts,
            elapsed_seconds=elapsed,
            rate=counts["bytes"] / elapsed,
            samples_per_second=pace,
            eta_seconds=counts["pending"] / pace if pace and state == "running" else None,
            created=created,
            lease=fields.get("lease") or None,
        )

    @classmethod
    def of_loop(cls, *, total: int, passed: int, failed: int, elapsed_seconds: float) -> JobStatus:
        """What a loop over paths shows of itself, in the terms of a job."""
        pace = passed / max(elapsed_seconds, 1e-9)
        return cls(
            id="",
            state="running" if passed < total else "done",
            dispatch="",
            total=total,
            cached=passed - failed,
            downloaded=0,
            failed=failed,
            pending=total - passed,
            bytes=0,
            elapsed_seconds=elapsed_seconds,
            rate=0.0,
            samples_per_second=pace,
            eta_seconds=(total - passed) / pace,
            created=time.time() - elapsed_seconds,
            lease=None,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


_COUNTS = ("total", "cached", "downloaded", "failed", "pending", "bytes")


class Job:
    """A handle on a job. Its counts are attributes, read afresh each time: see `JobStatus`.

    Raises:
        JobNotFoundError: where there is no such job (any more).
    """

    def __init__(self, job: str, volume: Volume, dispatcher: Dispatcher) -> None:
        self.id = job
        self._volume = volume
        self._dispatcher = dispatcher
        self._ledger = Ledger(volume.index)

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> JobStatus:
        """How far it is."""
        fields = self._ledger.read(self.id)
        if "created" not in fields:
            raise JobNotFoundError(
                f"job {self.id!r} is not known on volume {self._volume.config.volume!r}: "
                "`forebay jobs` lists those that are"
            )
        return JobStatus.parse(self.id, fields)

    def __getattr__(self, name: str) -> Any:
        if name in JobStatus.__dataclass_fields__:
            return getattr(self.status(), name)
        raise AttributeError(name)

    def failures(self) -> list[Failure]:
        """The samples that failed, in the order in which they were given."""
        return [
            Failure(str(noted["uri"]), str(noted["reason"]), int(noted["attempts"]))
            for _, noted in self._ledger.failures(self.id)
        ]

    def watch(self) -> Iterator[JobStatus]:
        """The job's status whenever it has changed, until it has ended. Only looks on."""
        pause, last = _POLL_SECONDS[0], None
        status: JobStatus | None = None
        while True:
            status = self._status_after(status)
            shown = (status.state, status.pending, status.bytes, status.failed)
            if shown != last:
                pause, last = _POLL_SECONDS[0], shown
                yield status
            if status.state != "running":
                return
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_SECONDS[1])

    def wait(
        self,
        timeout: float | None = None,
        *,
        skip_failures: bool = True,
        progress: Callable[[JobStatus], object] | None = None,
    ) -> Job:
        """Waits until every sample has ended. What was lost on the way is enqueued again, and a job whose
        fleet or process is gone is gone on with here, unless ``dispatch`` is ``fleet``.

        Args:
            timeout: seconds.
            skip_failures: false to cancel the job and raise at the first failure.
            progress: called with the status now and then.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            DownloadError: a sample failed, and ``skip_failures`` is false.
            NoWorkersError: ``dispatch`` is ``fleet``, and its workers have been gone for
                ``worker_timeout_seconds``.
            JobNotFoundError: Redis has lost the job meanwhile.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        care = self._dispatcher.caretaker(self.id)
        pause, seen = _POLL_SECONDS[0], -1
        status: JobStatus | None = None
        while True:
            status = self._status_after(status)
            if progress is not None:
                progress(status)
            if status.failed and not skip_failures:
                self.cancel()
                raise DownloadError(_first_failure(self.failures(), status))
            if status.state != "running":
                return self
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {self.id} has not ended after {timeout} s; it goes on")
            care(status)
            pause = _POLL_SECONDS[0] if status.pending != seen else min(pause * 1.5, _POLL_SECONDS[1])
            seen = status.pending
            self._dispatcher.pause(self.id, pause)

    def _status_after(self, before: JobStatus | None) -> JobStatus:
        """How far it is now, for whoever has seen it ``before``."""
        try:
            return self.status()
        except JobNotFoundError:
            if before is None:
                raise
            done = f"{before.total - before.pending:,} of {before.total:,} samples"
            raise JobNotFoundError(
                f"job {self.id!r} is not known any more, as Redis was emptied, or the job forgotten: run the "
                f"prefetch again; what is downloaded stays, {done} had ended"
            ) from None

    def start(self) -> None:
        """Starts it, or goes on with what is pending of it; does not wait.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
        """
        if self.status().pending:
            self._dispatcher.start(self.id)

    def cancel(self) -> None:
        """Cancels it: downloads under way are finished, no others are begun."""
        self.status()
        self._ledger.write(self.id, cancelled=1, updated=time.time())

    def forget(self) -> None:
        """Removes what is known of it."""
        self._ledger.delete(self.id)

    def retry(self, *, wait: bool = True, progress: Callable[[JobStatus], object] | None = None) -> Job:
        """Tries the failed samples again, and those that a cancelled or abandoned job had left."""
        self.reopen()
        self.start()
        return self.wait(progress=progress) if wait else self

    def reopen(self) -> None:
        """Makes the failed samples pending again, and a cancelled job one that can go on: what `retry`
        does before it starts them."""
        self.status()
        self._ledger.write(self.id, cancelled="")
        self._ledger.retry(self.id)

    @property
    def abandoned(self) -> bool:
        """Whether it is a local job that has not ended, and whose process is gone."""
        return self.id in abandoned(self._volume, [self.id])

    @property
    def runs_here(self) -> bool:
        """Whether threads of this process work on it."""
        return self._dispatcher.runs_here(self.id)


def new_id() -> str:
    """An id for a job."""
    return uuid.uuid4().hex[:12]


def create(
    volume: Volume,
    job: str,
    missing: Sequence[str],
    *,
    total: int,
    present: int,
    failed: Sequence[Outcome],
    dispatch: str,
    pack_size: int,
    update: bool,
    lease: str | None,
    label: str,
) -> None:
    """Writes a new job down.

    Args:
        job: its id.
        missing: the URIs that are not cached yet.
        total: samples in all.
        present: how many of them are there already.
        failed: samples whose URI cannot be understood.
        dispatch: who runs it.
        pack_size: samples in a message.
        update: whether what changed at its source is downloaded again.
        lease: the lease that keeps its samples.
        label: what Flower shows of it, without secrets.
    """
    ledger = Ledger(volume.index)
    fields = {
        "total": total,
        "present": present,
        "cached": present,
        "dispatch": dispatch,
        "update": int(update),
        "lease": lease or "",
        "label": label,
    }
    # Samples that cannot even be understood are listed behind the others, and end at once.
    ledger.create(job, fields, [*missing, *(outcome.uri for outcome in failed)], pack_size)
    numbered = [
        Outcome(len(missing) + offset, outcome.uri, "failed", error=outcome.error)
        for offset, outcome in enumerate(failed)
    ]
    if numbered:
        record(ledger, job, numbered)


class Cancellation:
    """Tells, when called, whether a job has been cancelled; asks the ledger now and then."""

    def __init__(self, ledger: Ledger, job: str) -> None:
        self._ledger = ledger
        self._job = job
        self._cancelled = False
        self._asked = time.monotonic()

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._cancelled and now - self._asked > _ASK_SECONDS:
            self._asked = now
            # A job that has been forgotten is not gone on with, either.
            self._cancelled = bool(self._ledger.cancelled(self._job))
        return self._cancelled


def record(ledger: Ledger, job: str, outcomes: Sequence[Outcome]) -> int:
    """Writes down how samples of a job ended; returns how many are pending."""
    return ledger.mark(
        job,
        [
            (o.number, o.state[0], o.size, "" if o.error is None else _noted(o.uri, str(o.error), o.attempts))
            for o in outcomes
        ],
    )


def _noted(uri: str, reason: str, attempts: int) -> str:
    shown = redact(uri)
    return json.dumps({"uri": shown, "reason": reason.removeprefix(f"{shown}: "), "attempts": attempts})


def all_jobs(volume: Volume) -> list[JobStatus]:
    """Every job of the volume, oldest first."""
    ledger = Ledger(volume.index)
    found = [(job, ledger.read(job)) for job in ledger.jobs()]
    return [JobStatus.parse(job, fields) for job, fields in found if fields]


def abandoned(volume: Volume, jobs: Sequence[str] | None = None) -> set[str]:
    """Which local jobs have not ended although their process is gone; they stand still until somebody
    waits for them, or retries them.

    Args:
        jobs: ids of jobs; all of the volume by default.
    """
    ledger = Ledger(volume.index)
    sessions = volume.index.sessions()
    alive = {session for session, seconds in sessions if seconds > 0 and not ended_here(session)}
    found = set()
    for job in ledger.jobs() if jobs is None else jobs:
        fields = ledger.read(job)
        if fields.get("dispatch") == "local" and JobStatus.parse(job, fields).state == "running":
            runner = fields.get("runner")
            # One that has been made a moment ago is about to be started.
            late = time.time() - float(fields["updated"]) > _START_SECONDS
            if (runner not in alive) if runner else late:
                found.add(job)
    return found


def _first_failure(failures: list[Failure], status: JobStatus) -> str:
    first = failures[0]
    return (
        f"{first.uri}: {first.reason} (after {first.attempts} attempts; job {status.id} was cancelled with "
        f"{status.downloaded + status.cached} of {status.total} samples cached)"
    )
