"""One request on its way, from `Transport.submit` to its outcome."""

from __future__ import annotations

from collections.abc import Callable

from forebay.transport.requests import Outcome, Request
from forebay.transport.sinks import Sink


class Exchange:
    """A request, the sink of its answer, and whom to tell how it ended.

    Attributes:
        request: what was asked for.
        sink: where the body goes.
        outcome: how it ended; ``None`` until it has.
        cancelled: whether `Transport.cancel` was called.
        origin: scheme, host and port of the request.
        holds: the bytes of memory that it may take.
        began: when it was sent; seconds of the monotonic clock.
    """

    __slots__ = ("began", "cancelled", "done", "holds", "origin", "outcome", "request", "sink")

    def __init__(self, request: Request, sink: Sink, done: Callable[[Exchange], None]) -> None:
        self.request = request
        self.sink = sink
        self.done = done
        self.origin = request.origin
        self.outcome: Outcome | None = None
        self.cancelled = False
        self.holds = 0
        self.began = 0.0
