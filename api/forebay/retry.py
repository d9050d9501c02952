"""Repeating attempts at a source that failed for the moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from forebay.backoff import Backoff
from forebay.errors import TransientSourceError

log = logging.getLogger(__name__)

_T = TypeVar("_T")


def retry_pauses() -> Backoff:
    """Pauses between attempts at one source: 0.05 to 0.2 s, then up to twice as long each, at most 15 s."""
    return Backoff(0.2, 15.0, factor=2.0, jitter=0.75)


def retry_transient(
    attempt: Callable[[], _T],
    max_attempts: int,
    *,
    should_retry: Callable[[TransientSourceError], bool] = lambda error: not error.exhausted,
    on_retry: Callable[[TransientSourceError], object] = lambda error: None,
) -> _T:
    """Repeats an attempt that fails with `TransientSourceError`, after growing and random pauses.

    The pauses are those of `retry_pauses`.

    Args:
        attempt: makes one attempt.
        max_attempts: the number of attempts in all.
        should_retry: whether another attempt may cure a failure.
        on_retry: called with each failure that another attempt follows.

    Raises:
        SourceError: the last attempt's; its ``attempts`` tells how many were made.
    """
    backoff = retry_pauses()
    attempts = 1
    while True:
        try:
            return attempt()
        except TransientSourceError as error:
            error.attempts = max(error.attempts, attempts)
            if attempts >= max_attempts or not should_retry(error):
                raise
            log.debug("%s", error)
            on_retry(error)
        attempts += 1
        time.sleep(backoff.next())
