"""How a sample ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from forebay.errors import ForebayError

SampleState = Literal["cached", "downloaded", "failed"]


class SampleOutcome(NamedTuple):
    """How one sample ended.

    Attributes:
        number: the caller's number of the sample.
        uri: its URI as it was given.
        state: ``cached`` (it was there), ``downloaded``, or ``failed``.
        size: downloaded bytes.
        error: why it failed.
        attempts: how many attempts were made at its source.
    """

    number: int
    uri: str
    state: SampleState
    size: int = 0
    error: ForebayError | None = None
    attempts: int = 0


# Is told of outcomes, a few at a time.
Report = Callable[[list[SampleOutcome]], None]
