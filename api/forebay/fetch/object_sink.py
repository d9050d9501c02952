"""The sink of a whole object: from the head of its answer to its published file.

It is called on a thread of the transport.
"""

from __future__ import annotations

from collections.abc import Callable

from forebay.errors import TransientSourceError
from forebay.fetch.partial_file import PartialFile
from forebay.index import Download
from forebay.sources.base import ObjectInfo
from forebay.transport import Head
from forebay.transport.sinks import FULL
from forebay.volume.reservation import Reservation

# Bodies up to this size are written in one call.
_GATHERED_BYTES = 256 << 10
# One write takes no more than 1,024 chunks.
_MAX_CHUNKS = 512
# How much is reserved at a time for an object whose size its source does not tell.
GROWTH = 1 << 20


class InRanges(Exception):  # noqa: N818
    """The object is large enough to be fetched in ranges: its stream is given up."""


class ObjectSink:
    """Takes the answer to a request for a whole object.

    Nothing here waits: where bytes cannot be reserved at once, the exchange pauses, and the fetcher makes
    room.

    Args:
        describe: what the head of an answer says; raises where the answer cannot be used.
        check: called with that; raises to refuse the object.
        place: takes the bytes.
        reservation: for the bytes.
        needs_room: called when the exchange pauses until so many bytes are reserved in all.
        limit: the cache's size in bytes; ``None`` for no limit.

    Attributes:
        info: what the head of the answer said.
        download: the published file, once there is one.
    """

    __slots__ = (
        "_check",
        "_chunks",
        "_describe",
        "_file",
        "_gathered",
        "_limit",
        "_needs_room",
        "_reservation",
        "_wanted",
        "download",
        "holds",
        "info",
    )

    def __init__(
        self,
        describe: Callable[[Head], ObjectInfo],
        check: Callable[[ObjectInfo], object],
        place: PartialFile,
        reservation: Reservation,
        needs_room: Callable[[int], object],
        limit: int | None,
    ) -> None:
        self.holds = _GATHERED_BYTES
        self.info: ObjectInfo | None = None
        self.download: Download | None = None
        self._describe = describe
        self._check = check
        self._file = place
        self._reservation = reservation
        self._needs_room = needs_room
        self._limit = limit
        self._chunks: list[bytes] = []
        self._gathered = 0
        # Bytes that must be reserved before anything more is taken; 0 for none.
        self._wanted = 0

    def begin(self, head: Head) -> None:
        """Looks at the head of the answer, and reserves what it announces."""
        info = self.info = self._describe(head)
        self._check(info)
        # An object of unknown size that has been tried before keeps what was reserved for it then.
        self._reserve(info.size or 0)
        if not self._wanted:
            self._file.open(info)

    def write(self, chunk: bytes) -> object:
        """Gathers a chunk, and writes when there are enough; `FULL` until bytes are reserved."""
        info = self.info
        assert info is not None
        if self._wanted:
            if self._reservation.size < self._wanted:
                return FULL
            self._wanted = 0
            if self._file.descriptor < 0:
                self._file.open(info)
        size = self._file.written + self._gathered + len(chunk)
        if info.size is None:
            if size > self._reservation.size:
                wanted = max(size, self._reservation.size + GROWTH)
                self._reserve(wanted if self._limit is None else max(size, min(wanted, self._limit)))
                if self._wanted:
                    return FULL
        elif size > info.size:
            reason = f"the source sent more than the {info.size} bytes that it announced"
            raise TransientSourceError(info.uri, reason, "truncated")
        self._chunks.append(chunk)
        self._gathered += len(chunk)
        if self._gathered >= _GATHERED_BYTES or len(self._chunks) > _MAX_CHUNKS:
            self._flush()
        return None

    def end(self) -> None:
        """Writes what is left, and publishes the file."""
        info = self.info
        assert info is not None
        if self._file.descriptor < 0:
            self._file.open(info)
        if self._gathered:
            self._flush()
        written = self._file.written
        if info.size is not None and written != info.size:
            reason = f"the source sent {written} bytes of {info.size} and ended"
            raise TransientSourceError(info.uri, reason, "truncated")
        self.download = self._file.publish(info, written, self._reservation)

    def abandon(self) -> None:
        """Forgets what was gathered; the fetcher removes the partial file."""
        self._chunks.clear()
        self._gathered = 0

    def _reserve(self, size: int) -> None:
        if not self._reservation.grow_at_once(size):
            self._wanted = size
            self._needs_room(size)

    def _flush(self) -> None:
        self._file.write(self._chunks)
        self._chunks.clear()
        self._gathered = 0
