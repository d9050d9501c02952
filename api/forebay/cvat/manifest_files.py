"""Reading and writing a manifest, local or in a bucket."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import BinaryIO

from forebay.cache import MediaCache
from forebay.errors import SourceError
from forebay.remote import Remote
from forebay.uri import is_local, local_file, parse_object

_SECONDS_UNTIL_NEWER = 1.0


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

    CVAT reads a manifest again only if its time of modification, in whole seconds, is later than that of
    CVAT's copy. So a remote one is replaced a second after this is called: in time, it is newer than
    every copy of the one before.

    Raises:
        OSError, SourceError: it cannot be written.
    """
    if not is_local(path):
        remote = Remote(cache)
        if _may_exist(remote, path):
            time.sleep(_SECONDS_UNTIL_NEWER)
        remote.put(path, file)
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


def _may_exist(remote: Remote, path: str) -> bool:
    try:
        return remote.exists(path)
    except SourceError:
        # A user who may write only is not told.
        return True
