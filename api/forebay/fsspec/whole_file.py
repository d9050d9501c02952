"""What is read of an object's whole file, once it is open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import IO, Any

from fsspec.utils import isfilelike

from forebay.parts.spans import Span

# What is read at once, in the event loop: it takes less time than to ask a thread for it.
_QUICK_BYTES = 128 << 10


def read(spans: Sequence[Span], file: IO[bytes]) -> list[bytes]:
    """The bytes of each span, which may lie in any order."""
    found = []
    for start, end in _places(spans, file):
        file.seek(start)
        found.append(file.read(end - start))
    return found


def read_few(spans: Sequence[Span], file: IO[bytes]) -> list[bytes] | None:
    """The bytes of each span; ``None`` where they are so many that a thread should read them."""
    count = sum(end - start for start, end in _places(spans, file))
    return read(spans, file) if count <= _QUICK_BYTES else None


def copy_to(target: Any, file: IO[bytes]) -> int:
    """Copies the file to a path, or into an open file, and says its size in bytes."""
    size = _size(file)
    file.seek(0)
    if isfilelike(target):
        shutil.copyfileobj(file, target)
    else:
        with open(target, "wb") as copy:
            shutil.copyfileobj(file, copy)
    return size


def _places(spans: Sequence[Span], file: IO[bytes]) -> list[tuple[int, int]]:
    size = _size(file)
    places = (slice(*span).indices(size)[:2] for span in spans)
    return [(start, max(start, end)) for start, end in places]


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)
