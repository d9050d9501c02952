"""The one task of a worker: it downloads the samples of one message of a job."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from celery import Celery

from forebay.cache import MediaCache
from forebay.config.freshness import of_text
from forebay.errors import ForebayError, SourceError
from forebay.fetch.outcome import SampleOutcome
from forebay.fetch.wanted_parts import parts_of_text
from forebay.index.job_records import JobRecords, Message
from forebay.jobs.fleet import TASK
from forebay.jobs.ledger import Cancellation, record
from forebay.transport.urgency import at_priority
from forebay.uri import redact
from forebay_worker import lifecycle
from forebay_worker.giving_way import GivingWay
from forebay_worker.presence import Presence
from forebay_worker.tally import SamplesFailedError, Tally

Samples = list[tuple[int, str, str]]
Report = Callable[[list[SampleOutcome]], None]

log = logging.getLogger(__name__)

# A message is far shorter than the visibility timeout, after which it would be delivered again.
_BUDGET_SECONDS = 600.0
# How often a message may be begun before its samples are tried one by one, and how often a sample that
# takes the worker down with it is tried then.
_MAX_MESSAGE_ATTEMPTS = 3
_MAX_SAMPLE_ATTEMPTS = 2


def register(app: Celery, cache: MediaCache, presence: Presence, giving_way: GivingWay) -> None:
    """Adds the task to a Celery application."""

    def fetch(job: str, message: int) -> str:
        return fetch_message(cache, presence, job, message, giving_way)

    # What is thrown is an ordinary end of a task, which the log tells in one line.
    app.task(fetch, name=TASK, ignore_result=True, max_retries=None, throws=(SamplesFailedError,))


def fetch_message(
    cache: MediaCache, presence: Presence, job: str, number: int, giving_way: GivingWay | None = None
) -> str:
    """Downloads what is pending of one message, and records how each sample ended.

    Returns:
        the task's result, as Flower shows it.

    Raises:
        SamplesFailedError: some samples failed, which is recorded as well; the others are done.
        ForebayError: nothing can be fetched now; this does not count as an attempt.
    """
    records = cache.engine.open_index().jobs
    message = records.begin(job, number)
    if message.cancelled:
        return "skipped: the job was cancelled or forgotten"
    if not message.samples:
        return "skipped: all its samples had ended"
    cancelled = Cancellation(records, job)
    urgent = None if giving_way is None else partial(giving_way.to_others, message.priority)
    deadline = time.monotonic() + _BUDGET_SECONDS
    tally = Tally(len(message.samples))

    def report(outcomes: list[SampleOutcome]) -> None:
        # Before it is recorded: who waits for the job finds all its failures in the log then.
        for outcome in outcomes:
            if outcome.error is not None:
                log.warning("%s", outcome.error, extra={"sample": redact(outcome.uri)})
        record(records, job, outcomes)
        tally.add(outcomes)

    try:
        presence.progressed(0)
        with presence.working_on(job), at_priority(message.priority):
            for samples in _portions(records, job, message, report):
                cache.engine.open_fetcher().fetch(
                    samples,
                    report,
                    fresh=of_text(message.update),
                    cancelled=partial(_is_to_stop, cancelled, deadline, urgent),
                    wanted=parts_of_text(message.parts),
                    quota=message.quota,
                )
    except ForebayError:
        # That Redis was away, say, is not the samples' fault, which would count as killing workers.
        with contextlib.suppress(ForebayError):
            records.unbegin(job, number)
        raise
    presence.progressed(tally.ended)
    if tally.left and not cancelled():
        records.unbegin(job, number)
        cache.engine.open_dispatcher().enqueue(job, [number])
    return tally.result()


def _is_to_stop(cancelled: Cancellation, deadline: float, urgent: Callable[[], bool] | None) -> bool:
    if cancelled() or lifecycle.stopping.is_set() or time.monotonic() > deadline:
        return True
    return urgent is not None and urgent()


def _portions(records: JobRecords, job: str, message: Message, report: Report) -> Iterator[Samples]:
    """The samples to fetch at a time: all, or one by one where a sample may be killing workers."""
    if message.attempts <= _MAX_MESSAGE_ATTEMPTS:
        yield message.samples
        return
    for number, uri, checksum in message.samples:
        # Counted only when its turn has come: those behind it are not to blame.
        if records.suspect(job, number) <= _MAX_SAMPLE_ATTEMPTS:
            yield [(number, uri, checksum)]
        else:
            reason = (
                f"workers ended {message.attempts - 1} times while they fetched it; it is not tried again"
            )
            report([SampleOutcome(number, uri, "failed", error=SourceError(redact(uri), reason))])
