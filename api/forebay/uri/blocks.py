"""Names the blocks of large objects that are read before they are cached as a whole.

A block is an entry like any other: it is claimed, counted, leased and evicted by itself. It belongs to one
version of its object, whose size and etag are in its name, so that the blocks of two versions never mix::

    s3/bucket/video.mp4                    the object
    s3/bucket/video.mp4%p/SIZE-ETAG/12     the bytes from 12 to 13 MiB of that version
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

BLOCK_BYTES = 1 << 20
"""How many bytes a block has; the last one of an object has fewer."""

MARK = "%p"
"""What follows an object's entry in the names of its blocks; as it is no escape, no object's entry has it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object.

    Attributes:
        entry: the object's.
        size: in bytes; not 0.
        etag: a strong one, as the source writes it.
    """

    entry: str
    size: int
    etag: str

    @property
    def count(self) -> int:
        """How many blocks it has."""
        return -(-self.size // BLOCK_BYTES)

    @property
    def directory(self) -> str:
        """What the names of its blocks begin with, without the last slash."""
        digest = hashlib.sha256(self.etag.encode()).hexdigest()[:32]
        return f"{self.entry}{MARK}/{self.size}-{digest}"

    def block(self, number: int) -> Block:
        """The block of that number, counted from 0."""
        return Block(self, number)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a version."""

    version: Version
    number: int

    @property
    def entry(self) -> str:
        """The name of its entry."""
        return f"{self.version.directory}/{self.number}"

    @property
    def start(self) -> int:
        """Its first byte in the object."""
        return self.number * BLOCK_BYTES

    @property
    def end(self) -> int:
        """The first byte after it."""
        return min(self.start + BLOCK_BYTES, self.version.size)


def owner_of(entry: str) -> str:
    """The entry of the object that a block belongs to; any other entry itself."""
    return entry.partition(f"{MARK}/")[0]
