"""Undoes gzip and deflate. libcurl could, but takes a body that breaks off for a whole one."""

from __future__ import annotations

import zlib
from typing import Any

from forebay.transport.heads import Head
from forebay.transport.sinks import FULL, Sink
from forebay.transport.transport_errors import Kind, TransportError

#: The values of Content-Encoding that are undone.
UNDONE = frozenset({"gzip", "x-gzip", "deflate"})
# So much is unpacked at a time, however little it was packed to.
_PIECE_BYTES = 1 << 20


class Decoded:
    """Hands a body to a sink as it was before it was encoded.

    Args:
        encoding: one of `UNDONE`.
    """

    def __init__(self, sink: Sink, encoding: str) -> None:
        self._sink = sink
        self._gzip = encoding != "deflate"
        self._unpack: Any = None
        self._rest = b""
        # What the sink was too full for; the chunk that it came from will be offered again.
        self._piece = b""

    @property
    def holds(self) -> int:
        return self._sink.holds

    def begin(self, head: Head) -> None:
        self._sink.begin(head)

    def write(self, chunk: bytes) -> object:
        if not self._piece:
            self._rest = chunk
        try:
            while self._piece or self._rest:
                self._piece = self._piece or self._next()
                if self._piece and self._sink.write(self._piece) is FULL:
                    return FULL
                self._piece = b""
        except zlib.error:
            raise _broken() from None
        return None

    def end(self) -> None:
        if self._unpack is not None and not self._unpack.eof:
            raise _broken()
        self._sink.end()

    def abandon(self) -> None:
        self._sink.abandon()

    def _next(self) -> bytes:
        if self._unpack is None or self._unpack.eof:
            # gzip may continue with another member; deflate comes with a header or, from some, without.
            bare = self._rest[0] & 15 != 8
            self._unpack = zlib.decompressobj(31 if self._gzip else -15 if bare else 15)
        piece: bytes = self._unpack.decompress(self._rest, _PIECE_BYTES)
        self._rest = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
        return piece


def _broken() -> TransportError:
    return TransportError(Kind.ENCODING, "", "the body is not encoded as its Content-Encoding says")
