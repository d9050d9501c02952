"""The sink of a whole object: from the head of its answer to its published file.

It is called on a thread of the transport.
"""

from __future__ import annotations

from collections.abc import Callable

from forebay.errors import TransientSourceError
from forebay.fetch.file_work import FileWork
from forebay.fetch.partial_file import PartialFile
from forebay.index import Download
from forebay.sources.base import ObjectInfo
from forebay.transport import Head
from forebay.transport.sinks import CHUNK_BYTES, FULL
from forebay.uri import MediaURI
from forebay.volume.reservation import Reservation

# Bodies up to this size are written in one call.
_GATHERED_BYTES = 256 << 10
# How much is reserved at a time for an object whose size its source does not tell.
GROWTH = 1 << 20


class InRanges(Exception):  # noqa: N818
    """The object is large enough to be fetched in ranges: its stream is given up."""


class ObjectSink:
    """Takes the answer to a request for a whole object.

    Nothing here waits: where bytes cannot be reserved at once, the exchange pauses, and the fetcher makes
    room.

    Args:
        uri: of the object.
        describe: what the head of an answer says of it; raises where the answer cannot be used.
        check: called with that; raises to refuse the object.
        place: takes the bytes.
        work: completes the file.
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
        "_room",
        "_uri",
        "_wanted",
        "_work",
        "download",
        "holds",
        "info",
    )

    def __init__(
        self,
        uri: MediaURI,
        describe: Callable[[MediaURI, Head], ObjectInfo],
        check: Callable[[ObjectInfo], object],
        place: PartialFile,
        work: FileWork,
        reservation: Reservation,
        needs_room: Callable[[int], object],
        limit: int | None,
    ) -> None:
        self.holds = _GATHERED_BYTES
        self.info: ObjectInfo | None = None
        self.download: Download | None = None
        self._uri = uri
        self._describe = describe
        self._check = check
        self._file = place
        self._work = work
        self._reservation = reservation
        self._needs_room = needs_room
        self._limit = limit
        self._chunks: list[bytes] = []
        self._gathered = 0
        # How much is gathered until it must be looked at.
        self._room = 0
        # Bytes that must be reserved before anything more is taken; 0 for none.
        self._wanted = 0

    def begin(self, head: Head) -> None:
        """Looks at the head of the answer, and reserves what it announces."""
        info = self.info = self._describe(self._uri, head)
        self._check(info)
        # An object of unknown size that has been tried before keeps what was reserved for it then.
        if info.size:
            self._reserve(info.size)
        if not self._wanted and info.size is not None:
            self._room = _GATHERED_BYTES

    def write(self, chunk: bytes) -> object:
        """Gathers a chunk, and writes when there are enough; `FULL` until bytes are reserved."""
        self._chunks.append(chunk)
        self._gathered += len(chunk) + CHUNK_BYTES
        return self._pass_on() if self._gathered > self._room else None

    def end(self) -> None:
        """Publishes the file; on a slow volume the fetcher does, by `publish` in another thread."""
        info = self.info
        assert info is not None
        size = self._file.written + self._gathered - CHUNK_BYTES * len(self._chunks)
        if info.size is not None and size < info.size:
            reason = f"the source sent {size} bytes of {info.size} and ended"
            raise TransientSourceError(info.uri, reason, "truncated")
        if not self._work.is_slow:
            self._work.run(self.publish)

    def publish(self) -> None:
        """Writes what is left, and gives the file its name."""
        info = self.info
        assert info is not None
        self._flush(info)
        self.download = self._file.publish(info, self._file.written, self._reservation)

    def abandon(self) -> None:
        """Forgets what was gathered; the fetcher removes the partial file."""
        self._chunks.clear()
        self._gathered = 0

    def _pass_on(self) -> object:
        """Writes what is gathered, or takes its last chunk back and gives `FULL`."""
        info = self.info
        assert info is not None
        if self._wanted and self._reservation.size >= self._wanted:
            self._wanted = 0
        if info.size is None and not self._wanted:
            size = self._file.written + self._gathered - CHUNK_BYTES * len(self._chunks)
            if size > self._reservation.size:
                wanted = max(size, self._reservation.size + GROWTH)
                self._reserve(wanted if self._limit is None else max(size, min(wanted, self._limit)))
        if self._wanted:
            self._gathered -= len(self._chunks.pop()) + CHUNK_BYTES
            return FULL
        if self._gathered > _GATHERED_BYTES:
            self._flush(info)
        if info.size is not None:
            self._room = _GATHERED_BYTES
        return None

    def _reserve(self, size: int) -> None:
        if not self._reservation.grow_at_once(size):
            self._wanted = size
            self._needs_room(size)

    def _flush(self, info: ObjectInfo) -> None:
        size = self._gathered - CHUNK_BYTES * len(self._chunks)
        if info.size is not None and self._file.written + size > info.size:
            reason = f"the source sent more than the {info.size} bytes that it announced"
            raise TransientSourceError(info.uri, reason, "truncated")
        if self._file.descriptor < 0:
            self._file.open(info)
        if size:
            self._file.write(self._chunks, size)
        self._chunks.clear()
        self._gathered = 0
