"""The one task of a worker: work off one pack of a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forebay.errors import SourceError
from forebay.fetch.fetcher import Outcome
from forebay.index.jobs import Ledger, Pack
from forebay.jobs import fleet
from forebay.jobs.jobs import Cancellation, record
from forebay.uri import redact
from forebay_worker import lifecycle
from forebay_worker.tally import SamplesFailedError, Tally

if TYPE_CHECKING:
    from celery import Celery

    from forebay.cache import MediaCache

Samples = list[tuple[int, str]]

log = logging.getLogger(__name__)

# A message is far shorter than the visibility timeout, after which it would be delivered again.
_BUDGET_SECONDS = 600.0
# How often a pack may be begun before its samples are tried one by one, and how often a sample that
# takes the worker down with it is tried then.
_PACK_ATTEMPTS = 3
_SAMPLE_ATTEMPTS = 2


def register(app: Celery, cache: MediaCache) -> None:
    """Adds the task to a Celery application."""

    def fetch(job: str, pack: int) -> str:
        return work_off(cache, job, pack)

    # What is thrown is an ordinary end of a task, which the log tells in one line.
    app.task(fetch, name=fleet.TASK, ignore_result=True, max_retries=None, throws=(SamplesFailedError,))


def work_off(cache: MediaCache, job: str, number: int) -> str:
    """Downloads what is pending of one pack, and writes down how each sample ended.

    Returns:
        what Flower shows as the task's result.

    Raises:
        SamplesFailedError: some samples failed, which is written down as well; the others are done.
    """
    ledger = Ledger(cache.volume.index)
    pack = ledger.begin(job, number)
    if pack.cancelled:
        return "nothing was done: the job is cancelled, or forgotten"
    if not pack.samples:
        return "nothing was left to do"
    lifecycle.progressed(cache, 0)
    cancelled = Cancellation(ledger, job)
    deadline = time.monotonic() + _BUDGET_SECONDS
    tally = Tally(len(pack.samples))

    def report(outcomes: list[Outcome]) -> None:
        record(ledger, job, outcomes)
        tally.add(outcomes)
        for outcome in outcomes:
            if outcome.error is not None:
                log.warning("%s", outcome.error, extra={"sample": redact(outcome.uri)})

    with lifecycle.working_on(cache, job):
        for samples in _portions(ledger, job, pack, report):
            cache.fetcher.fetch(
                samples,
                report,
                update=pack.update,
                cancelled=lambda: cancelled() or lifecycle.stopping.is_set() or time.monotonic() > deadline,
            )
    lifecycle.progressed(cache, tally.ended)
    if tally.left and not cancelled():
        ledger.unbegin(job, number)
        cache.dispatcher.enqueue(job, [number])
    return tally.result()


def _portions(ledger: Ledger, job: str, pack: Pack, report: lifecycle.Report) -> Iterator[Samples]:
    """What to fetch at a time: all of a pack, or one by one where a sample may be killing workers."""
    if pack.attempts <= _PACK_ATTEMPTS:
        yield pack.samples
        return
    for number, uri in pack.samples:
        # Counted only when its turn has come: those behind it are not to blame.
        if ledger.suspect(job, number) <= _SAMPLE_ATTEMPTS:
            yield [(number, uri)]
        else:
            reason = f"workers ended {pack.attempts - 1} times while they fetched it; it is not tried again"
            report([Outcome(number, uri, "failed", error=SourceError(redact(uri), reason))])
