"""Fetching a batch of a look-ahead: by threads of this process, or by the fleet."""

from __future__ import annotations

from collections.abc import Callable

from forebay.engine import Engine
from forebay.errors import CacheFullError, ObjectTooLargeError
from forebay.fetch.outcome import SampleOutcome
from forebay.lookahead.batch import Batch
from forebay.uri import entry_of, redact


def fetch_batch(
    engine: Engine, batch: Batch, failures: dict[str, str], *, update: bool, begun: Callable[[], None]
) -> None:
    """Fetches what is missing of a batch, until the loop has passed by.

    Args:
        failures: takes the URI of what failed, and why.
        update: download again what has changed at its source.
        begun: called when the last download has begun.
    """
    dispatch, _ = engine.open_dispatcher().choose()
    if dispatch == "fleet":
        # Its queue keeps the order.
        begun()
        _fetch_by_fleet(engine, batch, failures, update)
        return
    entries = [entry_of(uri) for uri in batch.uris]
    there = [False] * len(entries) if update else engine.open_index().entries.present(entries)
    missing = [
        uri
        for uri, entry, known in zip(batch.uris, entries, there, strict=True)
        if not known or engine.files.touch(entry) is None
    ]
    if not missing:
        begun()
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
        update=update,
        cancelled=lambda: batch.left,
        begun=begun,
        unused=True,
    )


def cached_size(engine: Engine, batch: Batch) -> tuple[float, int]:
    """How many samples of a batch are cached, those in part counted in part; and their bytes."""
    entries = [entry_of(uri) for uri in batch.uris]
    sizes = [value.size for value in engine.open_index().entries.values(entries) if value is not None]
    return (batch.end - batch.first) * len(sizes) / len(entries), sum(sizes)


def _fetch_by_fleet(engine: Engine, batch: Batch, failures: dict[str, str], update: bool) -> None:
    job = engine.open_job_maker().create(batch.uris, update=update)
    job.start()
    job.wait(progress=lambda _: job.cancel() if batch.left else None)
    if job.failed:
        full = {redact(uri): uri for uri in batch.uris}
        for failure in job.failures():
            failures[full[failure.uri]] = f"{failure.uri}: {failure.reason}"
    job.forget()
