"""Fetching a batch of a look-ahead: by threads of this process, or by the fleet."""

from __future__ import annotations

from collections.abc import Callable

from forebay.config.freshness import Update, of_update
from forebay.engine import Engine
from forebay.errors import CacheFullError, ObjectTooLargeError
from forebay.fetch.checks_due import take_fresh
from forebay.fetch.outcome import SampleOutcome
from forebay.lookahead.batch import Batch
from forebay.uri import canonical_uri, entry_of, redact
from forebay.volume.cached_entries import take_cached


def fetch_batch(
    engine: Engine, batch: Batch, failures: dict[str, str], *, update: Update, begun: Callable[[], None]
) -> None:
    """Fetches what is missing of a batch, until the loop has passed by.

    Args:
        failures: takes the URI of what failed, and why.
        update: download again what has changed at its source; as `forebay.config.freshness.Update`.
        begun: called when the last download has begun.
    """
    entries = [entry_of(uri) for uri in batch.uris]
    fresh = of_update(update, engine.config)
    cached = [False] * len(entries)
    if not fresh.is_always:
        cached = take_cached(engine.open_index(), engine.files, entries)
        if fresh.is_by_age and engine.open_dispatcher().can_fetch():
            cached = take_fresh(engine.open_index(), fresh, batch.uris, entries, cached)
    missing = [uri for uri, there in zip(batch.uris, cached, strict=True) if not there]
    if not missing:
        # Without a choice of who downloads: for a user who may only read, there is none without workers.
        begun()
        return
    dispatch, _ = engine.open_dispatcher().choose()
    if dispatch == "fleet":
        # Its queue keeps the order.
        begun()
        _fetch_by_fleet(engine, batch, missing, failures, update)
        return

    def report(outcomes: list[SampleOutcome]) -> None:
        for outcome in outcomes:
            error = outcome.error
            # What found no room yet has not failed.
            if error is not None and (
                isinstance(error, ObjectTooLargeError) or not isinstance(error, CacheFullError)
            ):
                failures[outcome.uri] = str(error)
            batch.outcomes[entry_of(outcome.uri)] = error

    engine.open_fetcher().fetch(
        enumerate(missing),
        report,
        fresh=fresh,
        cancelled=lambda: batch.left,
        begun=begun,
        unused=True,
    )


def cached_size(engine: Engine, batch: Batch) -> tuple[float, int]:
    """How many samples of a batch are cached, those in part counted in part; and their bytes."""
    entries = [entry_of(uri) for uri in batch.uris]
    sizes = [value.size for value in engine.open_index().entries.values(entries) if value is not None]
    return (batch.end - batch.first) * len(sizes) / len(entries), sum(sizes)


def _fetch_by_fleet(
    engine: Engine, batch: Batch, uris: list[str], failures: dict[str, str], update: Update
) -> None:
    job = engine.open_job_maker().create(uris, update=update)
    job.start()
    job.wait(progress=lambda _: job.cancel() if batch.left else None)
    if job.failed:
        full = {redact(canonical_uri(uri)): uri for uri in uris}
        for failure in job.failures():
            failures[full[failure.uri]] = f"{failure.uri}: {failure.reason}"
    job.forget()
