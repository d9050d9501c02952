"""Where transfers write to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

from forebay.config import MediaCacheConfig
from forebay.fetch.arrivals import Arrivals
from forebay.fetch.file_work import FileWork
from forebay.index import Index
from forebay.neighbours.neighbourhood import Neighbourhood, Wanted
from forebay.volume.files import Files
from forebay.volume.session import Session
from forebay.volume.unread import UnreadPrefetches
from forebay.volume.upstream import Upstream

W = TypeVar("W", bound=Wanted)

# Between looks at what others fetch: the first pause, and the longest. What a neighbour has brought is read
# soon, as that neighbour may end, or evict it.
_LOOK_SECONDS, _LOOK_NEARBY_SECONDS = (0.005, 0.25), (0.005, 0.05)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where transfers write to, with which settings, and who else may have what they fetch."""

    index: Index
    session: Session
    files: Files
    unread: UnreadPrefetches
    config: MediaCacheConfig
    file_work: FileWork = field(default_factory=FileWork)
    neighbours: Neighbourhood | None = None
    upstream: Upstream | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)

    @property
    def look_seconds(self) -> tuple[float, float]:
        """The first and the longest pause between looks at what others fetch."""
        return _LOOK_SECONDS if self.neighbours is None else _LOOK_NEARBY_SECONDS

    def look_again(self, waiting: list[W], pending: deque[W]) -> list[W]:
        """Adds to ``pending`` what has been waited for long enough to be claimed again; returns the rest.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        if self.neighbours is not None:
            return self.neighbours.look(waiting, pending)
        pending.extend(waiting)
        return []
