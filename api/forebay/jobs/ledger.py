"""The ledger of a job: what of it is written when it begins, and when samples end."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence

from forebay.config.sizes import count
from forebay.errors import ForebayError
from forebay.fetch.outcome import SampleOutcome
from forebay.index import Index
from forebay.index.job_records import JobRecords, Listed
from forebay.jobs.status import JobStatus
from forebay.processes import is_identity_alive
from forebay.tables import TableList
from forebay.uri import redact

_ASK_SECONDS = 0.5
_START_SECONDS = 10.0
# A page that takes longer than all its attempts together may.
_LISTING_SECONDS = 1800.0


def new_id() -> str:
    """A new id for a job."""
    return uuid.uuid4().hex[:12]


def create(
    records: JobRecords,
    job: str,
    missing: Sequence[Listed],
    *,
    total: int,
    present: int,
    failed: Sequence[SampleOutcome],
    dispatch: str,
    message_size: int,
    update: str,
    lease: str | None,
    label: str,
    lister: str = "",
    parts: str = "",
    priority: str = "",
    quota: str = "",
) -> None:
    """Writes a new job into the index.

    Args:
        job: its id.
        missing: the URIs that are not cached yet, with their checksums where a list gives them.
        total: samples in all.
        present: how many of them are cached already.
        failed: samples whose URI cannot be parsed, and local files that do not exist.
        dispatch: where it runs, ``local`` or ``fleet``.
        message_size: samples in a message.
        update: which copies are compared with their sources, as `Freshness.text` says it.
        lease: the lease that keeps its samples.
        label: its name in Flower, without secrets.
        lister: the identity of the process that still lists samples of the job; empty if all are listed.
        parts: the bytes that are wanted of each object; empty for all.
        priority: which of two jobs comes first.
        quota: label and bytes of the quota that its downloads count on; empty for none.
    """
    fields = {
        "total": total,
        "present": present,
        "cached": present,
        "dispatch": dispatch,
        "update": update,
        "lease": lease or "",
        "label": label,
    }
    optional = {"lister": lister, "parts": parts, "priority": priority, "quota": quota}
    fields |= {name: text for name, text in optional.items() if text}
    # Samples that have failed already are listed behind the others, and end at once.
    samples = [*missing, *(outcome.uri for outcome in failed)]
    records.create(job, fields, samples, message_size)
    _record_failed(records, job, len(missing), failed)


def extend(
    records: JobRecords,
    job: str,
    missing: Sequence[Listed],
    *,
    total: int,
    present: int,
    failed: Sequence[SampleOutcome],
) -> int:
    """Adds samples to a job that is still being listed; see `create`.

    Returns:
        the number of the first sample; -1 when it is not being listed (any more).
    """
    samples = [*missing, *(outcome.uri for outcome in failed)]
    first = records.extend(job, samples, total=total, present=present)
    if first >= 0:
        _record_failed(records, job, first + len(missing), failed)
    return first


def break_off(records: JobRecords, job: str, reason: str, where: str = "") -> None:
    """Ends the listing of a job before its end, which is one more sample that failed.

    Args:
        where: what could not be listed; by default where the job's samples come from.
    """
    fields = records.read(job)
    if "lister" in fields:
        found = count(int(fields["total"]), "object")
        text = f"the listing broke off after {found}: {reason}; run the prefetch again"
        uri = where or fields.get("label", "")
        extend(
            records,
            job,
            (),
            total=1,
            present=0,
            failed=[SampleOutcome(0, uri, "failed", error=ForebayError(text))],
        )
        records.seal(job)


def end_dead_listing(records: JobRecords, job: str, fields: Mapping[str, str]) -> None:
    """Ends the listing of a job whose lister has died, or is out of sight and has done nothing for long.

    Args:
        fields: the job's record.
    """
    lister = fields.get("lister")
    if lister is None:
        return
    quiet = time.time() - max(float(fields.get("updated", 0)), float(fields.get("listed", 0)))
    if not is_identity_alive(lister) or quiet > _LISTING_SECONDS:
        break_off(records, job, "the process that listed the objects has ended")


def _record_failed(records: JobRecords, job: str, first: int, failed: Sequence[SampleOutcome]) -> None:
    if failed:
        numbered = enumerate(failed, first)
        record(records, job, [SampleOutcome(n, one.uri, "failed", error=one.error) for n, one in numbered])


def record(records: JobRecords, job: str, outcomes: Sequence[SampleOutcome]) -> int:
    """Records how samples of a job ended; returns how many are pending."""
    return records.mark(
        job,
        [
            (o.number, o.state[0], o.size, "" if o.error is None else _noted(o.uri, str(o.error), o.attempts))
            for o in outcomes
        ],
    )


def all_jobs(records: JobRecords) -> list[JobStatus]:
    """Every job of the volume, oldest first."""
    found = [(job, records.read(job)) for job in records.all()]
    return TableList((JobStatus.parse(job, fields) for job, fields in found if "created" in fields), "jobs")


def abandoned(index: Index, jobs: Iterable[str] | None = None) -> set[str]:
    """Local jobs that have not ended although their process has: they stand still until a process waits for
    them, or retries them.

    Args:
        jobs: ids of jobs; all of the volume by default.
    """
    sessions = index.sessions.all()
    alive = {session for session, seconds in sessions if seconds > 0 and is_identity_alive(session)}
    found = set()
    for job in index.jobs.all() if jobs is None else jobs:
        fields = index.jobs.read(job)
        if fields.get("dispatch") == "local" and JobStatus.parse(job, fields).state == "running":
            runner = fields.get("runner")
            # One that has been made a moment ago is about to be started.
            late = time.time() - float(fields["updated"]) > _START_SECONDS
            if (runner not in alive) if runner else late:
                found.add(job)
    return found


class Cancellation:
    """Tells, when called, whether a job has been cancelled; asks the index now and then."""

    def __init__(self, records: JobRecords, job: str) -> None:
        self._records = records
        self._job = job
        self._cancelled = False
        self._asked = time.monotonic()

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._cancelled and now - self._asked > _ASK_SECONDS:
            self._asked = now
            # A job that has been forgotten counts as cancelled.
            self._cancelled = self._records.cancelled(self._job)
        return self._cancelled


def _noted(uri: str, reason: str, attempts: int) -> str:
    shown = redact(uri)
    return json.dumps({"uri": shown, "reason": reason.removeprefix(f"{shown}: "), "attempts": attempts})
