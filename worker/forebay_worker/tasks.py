"""The one task of a worker: work off one pack of a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forebay.dispatch import fleet
from forebay.errors import SourceError
from forebay.fetch import Outcome
from forebay.index.ledger import Ledger, Pack
from forebay.jobs import Cancellation, record
from forebay.uri import redact
from forebay_worker import lifecycle

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

    def fetch(job: str, pack: int) -> None:
        work_off(cache, job, pack)

    app.task(fetch, name=fleet.TASK, ignore_result=True, max_retries=None)


def work_off(cache: MediaCache, job: str, number: int) -> None:
    """Downloads what is pending of one pack, and writes down how each sample ended."""
    ledger = Ledger(cache.volume.index)
    pack = ledger.begin(job, number)
    if pack.cancelled or not pack.samples:
        return
    lifecycle.progressed(cache, 0)
    cancelled = Cancellation(ledger, job)
    deadline = time.monotonic() + _BUDGET_SECONDS
    ended = 0

    def report(outcomes: list[Outcome]) -> None:
        nonlocal ended
        ended += len(outcomes)
        record(ledger, job, outcomes)

    with lifecycle.working_on(cache, job):
        for samples in _portions(ledger, job, pack, report):
            cache.fetcher.fetch(
                samples,
                report,
                update=pack.update,
                cancelled=lambda: cancelled() or lifecycle.stopping.is_set() or time.monotonic() > deadline,
            )
    lifecycle.progressed(cache, ended)
    if ended < len(pack.samples) and not cancelled():
        ledger.unbegin(job, number)
        cache.dispatcher.enqueue(job, [number])


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
