"""Another attempt at what failed for the moment."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from forebay.errors import TransientSourceError

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)

_T = TypeVar("_T")


def persistently(
    attempt: Callable[[], _T],
    most: int,
    worthwhile: Callable[[TransientSourceError], bool] = lambda error: not error.exhausted,
    repeated: Callable[[TransientSourceError], object] = lambda error: None,
) -> _T:
    """Repeats an attempt that failed for the moment, with growing and random pauses between.

    Args:
        most: how many attempts are made in all.
        worthwhile: whether such a failure is worth another one.
        repeated: told of each failure that another attempt follows.

    Raises:
        SourceError: the last attempt's.
    """
    try:
        return attempt()
    except TransientSourceError as error:
        if most == 1 or not worthwhile(error):
            raise
        log.debug("%s", error)
        repeated(error)
    # Imported here: most objects arrive at the first attempt.
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    def note(state: RetryCallState) -> None:
        failure = state.outcome and state.outcome.exception()
        if isinstance(failure, TransientSourceError):
            log.debug("%s", failure)
            repeated(failure)

    retrying = Retrying(
        retry=retry_if_exception(lambda e: isinstance(e, TransientSourceError) and worthwhile(e)),
        before_sleep=note,
        stop=stop_after_attempt(most - 1),
        wait=wait_random_exponential(multiplier=0.2, min=0.05, max=15.0),
        reraise=True,
    )
    time.sleep(random.uniform(0.05, 0.2))
    return retrying(attempt)


class Backoff:
    """Pauses that grow: each is longer than the one before, up to a longest one.

    Args:
        first: the first pause, in seconds.
        longest: the longest pause, in seconds.
        factor: how much longer each pause is than the one before.
        jitter: which part of each pause is random, from 0 to 1, so that many processes do not come at once.
    """

    def __init__(self, first: float, longest: float, factor: float = 1.5, jitter: float = 0.0) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._jitter = jitter
        self._next = first

    def next(self) -> float:
        """The next pause, in seconds."""
        pause = self._next
        self._next = min(self._next * self._factor, self._longest)
        return pause * (1 - self._jitter * random.random())

    def sleep(self) -> None:
        """Sleeps for the next pause."""
        time.sleep(self.next())

    def reset(self) -> None:
        """Begins again with the first pause."""
        self._next = self._first
