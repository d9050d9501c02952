"""A file whose bytes come when they are read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forebay.errors import VolumeError
from forebay.parts.block_reader import Blocks
from forebay.uri.blocks import BLOCK_BYTES, Version

if TYPE_CHECKING:
    from typing_extensions import Buffer


class PartFile(io.RawIOBase):
    """Reads one version of an object, block by block.

    Args:
        name: of the object, without secrets.
        version: of the object.
        blocks: of that version.
        closing: called once, when the file is closed.
    """

    def __init__(self, name: str, version: Version, blocks: Blocks, closing: Callable[[], object]) -> None:
        super().__init__()
        self.name = name
        self.mode = "rb"
        self._size = version.size
        self._blocks = blocks
        self._closing = closing
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}.get(whence)
        if begin is None:
            raise ValueError(f"whence must be 0, 1 or 2, and this is {whence}")
        if begin + offset < 0:
            raise ValueError("there is nothing before the beginning of a file")
        self._position = begin + offset
        return self._position

    def expect(self, spans: Sequence[tuple[int, int]]) -> int:
        """Fetches together what is missing of the next spans that will be read, and waits for it.

        Args:
            spans: the first byte of each, and the one after its last, in the order in which they are read.

        Returns:
            how many of them this was for: as many as do not evict one another, and one at least.

        Raises:
            ForebayError: as `readinto`.
        """
        numbers: set[int] = set()
        count = 0
        for start, end in spans:
            touched = range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES)) if start < end else ()
            if count and len(numbers.union(touched)) > self._blocks.most_together:
                break
            numbers.update(touched)
            count += 1
        self._blocks.expect(sorted(numbers)[: self._blocks.most_together])
        return count

    def readinto(self, buffer: Buffer) -> int:
        """Reads the next bytes, of one block at most.

        Raises:
            ForebayError: they cannot be fetched; `ObjectChangedError` where the object is another one by now.
        """
        if self.closed:
            raise ValueError("this file was closed")
        view = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, BLOCK_BYTES)
        wanted = min(len(view), BLOCK_BYTES - offset, self._size - self._position)
        if wanted <= 0:
            return 0
        descriptor, start = self._blocks.descriptor(number)
        done = os.preadv(descriptor, [view[:wanted]], start + offset)
        if not done:
            raise VolumeError(f"the file of a block of {self.name} was cut short: clear it, and read again")
        self._position += done
        return done

    def close(self) -> None:
        if not self.closed:
            try:
                self._blocks.close()
            finally:
                super().close()
            self._closing()
