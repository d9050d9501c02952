"""One request on its way, from `Transport.submit` to its outcome."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from forebay.transport.requests import Outcome, Request, origin_of
from forebay.transport.sinks import Sink

#: How urgent it is what a thread asks for; less is sooner, and 0 is for what is needed now.
urgency: contextvars.ContextVar[int] = contextvars.ContextVar("urgency", default=0)


class Exchange:
    """A request, the sink of its answer, and whom to tell how it ended.

    Attributes:
        request: what was asked for.
        sink: where the body goes.
        outcome: how it ended; ``None`` until it has.
        cancelled: whether `Transport.cancel` was called.
        origin: scheme, host and port of the request.
        holds: the bytes of memory that it may take.
        urgency: less is sent sooner.
        began: when it was sent; seconds of the monotonic clock.
    """

    __slots__ = ("began", "cancelled", "done", "holds", "origin", "outcome", "request", "sink", "urgency")

    def __init__(self, request: Request, sink: Sink, done: Callable[[Exchange], None]) -> None:
        self.request = request
        self.sink = sink
        self.done = done
        self.origin = origin_of(request.url)
        self.outcome: Outcome | None = None
        self.cancelled = False
        self.holds = 0
        self.urgency = urgency.get()
        self.began = 0.0
