"""What was decided about how one object comes here, and what has come of it so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from forebay.errors import SourceError
from forebay.index import Entry
from forebay.index.groups import Server

Origin = Literal["cloud", "neighbour", "upstream"]

# That there is no room here says nothing of a neighbour.
_OURS = "cache_full"


@dataclass(slots=True)
class Way:
    """How one object comes here.

    Attributes:
        failed: is told of what went wrong at a server.
        is_chosen: whether it was decided where to fetch it from.
        server: the neighbour that it is read from; ``None`` for the cloud.
        expected: what that neighbour's index says of it.
        shunned: the volumes that are not asked for it any more.
        asked: the volume that was asked to bring it; empty for none.
        is_arriving: whether it is read from there while it still arrives there.
        waits: whether it is read only when it is complete there, as reading it before has failed.
        since: when a neighbour's copy must have been checked at the earliest, in seconds since the epoch.
    """

    failed: Callable[[Server, Exception], object] = lambda server, error: None
    is_chosen: bool = False
    server: Server | None = None
    expected: Entry | None = None
    shunned: set[str] = field(default_factory=set)
    asked: str = ""
    is_arriving: bool = False
    waits: bool = False
    since: float = 0.0

    @property
    def origin(self) -> Origin:
        """Where its bytes come from."""
        return "cloud" if self.server is None else "neighbour"

    def is_over(self, error: BaseException) -> bool:
        """Whether an error is that of a neighbour, so that the object is to be had another way.

        That neighbour is not asked for it again, unless it was still arriving there: then it is waited for.
        """
        if self.server is None or not isinstance(error, SourceError) or error.kind == _OURS:
            return False
        if self.is_arriving:
            self.waits, self.is_arriving = True, False
        else:
            self.failed(self.server, error)
            self.shunned.add(self.server.volume)
        self.is_chosen, self.server, self.expected, self.asked = False, None, None, ""
        return True
