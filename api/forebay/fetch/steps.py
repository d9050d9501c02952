"""What a transfer needs next, and the events that it waits for."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class YieldedError(Exception):
    """A transfer was given up, so that others get its claim and its place."""


class Completed(NamedTuple):
    """The event that a thread of the volume's has published the file, or failed to."""

    error: BaseException | None


class Step(Enum):
    """The next need of a transfer."""

    # An event of the transport.
    EVENT = "event"
    # Another attempt, at `Transfer.try_at`.
    PAUSE = "pause"
    # `Transfer.wanted` bytes in all.
    ROOM = "room"
    # Nothing: see `Transfer.download` and `Transfer.error`.
    DONE = "done"
