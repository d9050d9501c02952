"""Large objects that are arriving in this process: others may read what is there of them already.

The bytes of an object in ranges do not come in order, and its partial file has its full size from the
beginning. So what is there is told by the ranges' sinks, not by the file.
"""

from __future__ import annotations

import threading
import time

from forebay.sources.base import ObjectInfo
from forebay.transport import FileSink

# How often it is looked whether more has arrived. To be told of each piece would cost the download more.
_LOOK_SECONDS = 0.02
# The index has it soon after the file was published, or never: published files are committed in batches.
_COMMIT_SECONDS = 2.0


class Arrival:
    """One object that arrives in ranges. Safe for threads.

    Args:
        info: what its source said; size and etag are known.
        path: of the partial file.
        part: bytes of a range.

    Attributes:
        began: when its source answered, in seconds since the epoch.
    """

    def __init__(self, info: ObjectInfo, path: str, part: int) -> None:
        assert info.size is not None
        self.info = info
        self.size = info.size
        self.path = path
        self.began = int(time.time())
        self._part = part
        self._sinks: dict[int, FileSink] = {}
        self._ended = threading.Event()
        self._ended_at = 0.0
        self._is_complete = False

    def comes(self, start: int, sink: FileSink) -> None:
        """Notes what writes a range, in the place of what wrote it before."""
        self._sinks[start] = sink

    def end(self, *, is_complete: bool) -> None:
        """Notes that the file was published, or that it never will be; the first call counts."""
        if not self._ended.is_set():
            self._is_complete, self._ended_at = is_complete, time.monotonic()
            self._ended.set()

    @property
    def is_being_committed(self) -> bool:
        """Whether the index will have it in a moment."""
        return self._is_complete and time.monotonic() - self._ended_at < _COMMIT_SECONDS

    @property
    def is_of_use(self) -> bool:
        """Whether it arrives, or will be in the index in a moment."""
        return not self._ended.is_set() or self.is_being_committed

    def wait(self, offset: int, end: int) -> int:
        """Waits until there are bytes from an offset on; returns up to where, or the offset if none come.

        The last byte of the object is there only when the file was published, with its size and checksums
        checked. So no volume gets all of an object that turns out to be a wrong one.
        """
        while (there := self._there(offset, end)) == offset:
            if self._ended.wait(_LOOK_SECONDS) and not self._is_complete:
                break
        return there

    def _there(self, offset: int, end: int) -> int:
        if self._ended.is_set():
            return end if self._is_complete else offset
        there = offset
        while there < end:
            start = there - there % self._part
            sink = self._sinks.get(start)
            reached = start if sink is None else start + sink.written
            if reached <= there:
                break
            there = reached
        return min(there, end, max(offset, self.size - 1))


class Arrivals:
    """The objects that arrive in this process from their sources, by entry. Safe for threads."""

    def __init__(self) -> None:
        self._found: dict[str, Arrival] = {}
        self._lock = threading.Lock()

    def begin(self, entry: str, arrival: Arrival) -> None:
        """Lets others read an object."""
        with self._lock:
            self._found = {one: found for one, found in self._found.items() if found.is_of_use}
            self._found[entry] = arrival

    def end(self, entry: str, arrival: Arrival, *, is_complete: bool) -> None:
        """Notes that an object was published, or that it never will be; the first call counts."""
        arrival.end(is_complete=is_complete)
        with self._lock:
            # Another attempt may have taken its place.
            if not is_complete and self._found.get(entry) is arrival:
                del self._found[entry]

    def get(self, entry: str) -> Arrival | None:
        """The object of an entry, if it is arriving, or was published a moment ago."""
        found = self._found.get(entry)
        return found if found is not None and found.is_of_use else None
