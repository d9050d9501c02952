"""An open file that can be sent to another process, as fsspec's users do with one."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_BUFFER_BYTES = 128 << 10


class OpenedFile(io.BufferedReader):
    """A file of the cache, or one whose bytes come when they are read; see `MediaCache.open`.

    Attributes:
        fs: the file system.
        path: in it.
        size: in bytes.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, file: IO[bytes]) -> None:
        assert isinstance(file, io.BufferedReader)
        super().__init__(file.detach(), _BUFFER_BYTES)
        self.fs = fs
        self.path = path
        self.size = self.seek(0, io.SEEK_END)
        self.seek(0)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens it anew, as it opens the cache.
        return _reopened, (self.fs, self.path, self.tell())


def _reopened(fs: AbstractFileSystem, path: str, position: int) -> IO[bytes]:
    file: IO[bytes] = fs.open(path)
    file.seek(position)
    return file
