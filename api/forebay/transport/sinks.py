"""Where the bytes of an answer go.

A sink is called on the thread of an event loop, so it must not wait. An exception that it raises ends
its own exchange, whose outcome then carries that exception, and no other.
"""

from __future__ import annotations

import os
from typing import Protocol

from forebay.transport.heads import Head
from forebay.transport.transport_errors import Kind, TransportError

#: What a sink gives for bytes that it cannot take now.
FULL = object()

# A chunk counts as this many bytes more: one write takes no more than 1,024, and each has its own cost.
CHUNK_BYTES = 512


class Sink(Protocol):
    """Takes the body of one answer.

    Attributes:
        holds: the most bytes of the body that it keeps in memory at once.
    """

    @property
    def holds(self) -> int: ...

    def begin(self, head: Head) -> None:
        """Is called once, before the first byte, if the answer's status is accepted; may raise to refuse."""

    def write(self, chunk: bytes) -> object:
        """Takes the next bytes; may raise to refuse them.

        Returns:
            `FULL` to take nothing yet: the same bytes come again after `Transport.resume`.
        """

    def end(self) -> None:
        """Is called when the body has arrived, complete."""

    def abandon(self) -> None:
        """Is called instead of `end` when the exchange failed at any point, also before `begin`."""


class BytesSink:
    """Keeps the body in memory.

    Args:
        max_bytes: the longest body that is taken, in bytes.
        truncate: whether to take the beginning of a longer body instead of failing.
    """

    def __init__(self, max_bytes: int, *, truncate: bool = False) -> None:
        self.holds = max_bytes
        self.data = bytearray()
        self._truncate = truncate

    def begin(self, head: Head) -> None:
        if not self._truncate:
            refuse_larger(head, self.holds)

    def write(self, chunk: bytes) -> None:
        room = self.holds - len(self.data)
        if len(chunk) > room:
            if not self._truncate:
                raise too_large(self.holds)
            chunk = chunk[:room]
        self.data += chunk

    def end(self) -> None:
        pass

    def abandon(self) -> None:
        pass


class FileSink:
    """Writes the body into an open file, from an offset on.

    Bodies up to ``holds`` bytes are written in one call, larger ones in pieces of about that size.

    Args:
        descriptor: of the file; stays open.
        offset: where the first byte goes.
        size: how many bytes must come, if that is known.
        max_bytes: the longest body that is taken, where the size is not known.
        ranged: whether the request had the header ``Range`` for ``offset`` and ``size``. Then a server
            that sends anything else is refused (`Kind.RANGE`).
        holds: how many bytes are gathered before they are written.
    """

    __slots__ = (
        "_chunks",
        "_max_bytes",
        "_offset",
        "_ranged",
        "_room",
        "_size",
        "descriptor",
        "holds",
        "written",
    )

    def __init__(
        self,
        descriptor: int,
        *,
        offset: int = 0,
        size: int | None = None,
        max_bytes: int | None = None,
        ranged: bool = False,
        holds: int = 256 << 10,
    ) -> None:
        self.descriptor = descriptor
        self.holds = holds if size is None else min(size, holds)
        self.written = 0
        self._offset = offset
        self._size = size
        self._max_bytes = size if size is not None else max_bytes
        self._ranged = ranged
        self._chunks: list[bytes] = []
        # How much may still be gathered.
        self._room = self.holds

    def begin(self, head: Head) -> None:
        if self._ranged:
            check_range(head, self._offset, None if self._size is None else self._offset + self._size)
        if self._max_bytes is not None and not head.encoding:
            refuse_larger(head, self._max_bytes)

    def write(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._room -= len(chunk) + CHUNK_BYTES
        if self._room < 0:
            self._flush()

    def end(self) -> None:
        if self._chunks:
            self._flush()
        if self._size is not None and self.written != self._size:
            reason = f"the answer has {self.written:,} bytes instead of {self._size:,}"
            raise TransportError(Kind.TRUNCATED, "", reason)

    def abandon(self) -> None:
        self._chunks.clear()

    def _flush(self) -> None:
        gathered = sum(map(len, self._chunks))
        if self._max_bytes is not None and self.written + gathered > self._max_bytes:
            raise too_large(self._max_bytes)
        position = self._offset + self.written
        size = os.pwritev(self.descriptor, self._chunks, position)
        if size != gathered:
            rest = memoryview(b"".join(self._chunks))[size:]
            while rest:
                size = os.pwrite(self.descriptor, rest, position + gathered - len(rest))
                rest = rest[size:]
        self.written += gathered
        self._room = self.holds
        self._chunks.clear()


class PathSink(FileSink):
    """Writes the body to a new file, which appears with the first byte and is closed at the end.

    What is left of a failed exchange is removed.

    Args:
        path: of the file; one that is there is overwritten.
        size, max_bytes, holds: as for `FileSink`.
    """

    __slots__ = ("path",)

    def __init__(
        self, path: str, *, size: int | None = None, max_bytes: int | None = None, holds: int = 256 << 10
    ) -> None:
        super().__init__(-1, size=size, max_bytes=max_bytes, holds=holds)
        self.path = path

    def begin(self, head: Head) -> None:
        super().begin(head)
        self.descriptor = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)

    def end(self) -> None:
        super().end()
        self._close()

    def abandon(self) -> None:
        super().abandon()
        if self.descriptor >= 0:
            self._close()
            os.unlink(self.path)

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)


def refuse_larger(head: Head, max_bytes: int) -> None:
    """Raises `TransportError` when an answer announces more than ``max_bytes`` bytes."""
    size = head.size
    if size is not None and size > max_bytes:
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> TransportError:
    """The error for a body that does not fit."""
    return TransportError(Kind.TOO_LARGE, "", f"the answer is larger than the {max_bytes:,} bytes allowed")


def check_range(head: Head, start: int, end: int | None) -> None:
    """Raises `TransportError` when an answer is not the range from ``start`` to ``end``.

    Fewer bytes are right only where the object ends before ``end``.
    """
    if head.status == 200:
        raise TransportError(Kind.RANGE, "", "the server sends no ranges but the whole object")
    span = head.span
    if head.status != 206 or span is None or span[0] != start or (end is not None and span[1] > end):
        raise TransportError(Kind.RANGE, "", "the server sent another range than the one asked for")
