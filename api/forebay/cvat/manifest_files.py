"""Reading and writing a manifest, local or in a bucket."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from forebay.cache import MediaCache
from forebay.remote import Remote
from forebay.uri import is_local, local_file, parse_object


def read_lines(path: str, cache: MediaCache) -> Iterator[bytes]:
    """Yields the lines of a manifest; a remote one is read from its source, past the cache.

    Args:
        path: a URI, or a local path.

    Raises:
        FileNotFoundError: there is no such file; for a remote one, an `ObjectNotFoundError`.
        SourceError: it cannot be read.
    """
    if is_local(path):
        with open(local_file(path), "rb") as file:
            yield from file
        return
    parsed = parse_object(path)
    rest = b""
    with cache.engine.sources.for_uri(parsed).open(parsed) as opened:
        for piece in opened:
            *lines, rest = (rest + bytes(piece)).split(b"\n")
            for text in lines:
                yield text + b"\n"
    if rest:
        yield rest


def write_manifest(file: BinaryIO, path: str, cache: MediaCache) -> None:
    """Writes a manifest atomically; replaces an existing one.

    Raises:
        OSError, SourceError: it cannot be written.
    """
    if not is_local(path):
        Remote(cache).put(path, file)
        return
    target = os.path.abspath(local_file(path))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(target), prefix=".manifest-", delete=False) as new:
        try:
            file.seek(0)
            shutil.copyfileobj(file, new)
            os.chmod(new.name, 0o644)
            os.replace(new.name, target)
        except BaseException:
            os.unlink(new.name)
            raise
