"""Opens a media file for reading its header: a local file, a cached copy or a remote object."""

from __future__ import annotations

import io
import os

from forebay.cache import MediaCache
from forebay.headers.ranges import RangeFile, RemoteBytes
from forebay.retry import retry_transient
from forebay.uri import is_local, local_file, parse_object

FIRST_BYTES = 8 << 10
"""Enough for nearly every image; about what a server sends before it waits for the first answer."""


class LocalFile(io.BufferedReader):
    """A file of this machine, open for reading."""

    @property
    def size(self) -> int:
        """In bytes."""
        return os.fstat(self.fileno()).st_size


MediaFile = LocalFile | RangeFile


def open_media(cache: MediaCache, uri: str, *, first_bytes: int = FIRST_BYTES) -> MediaFile:
    """Opens a media file to read parts of it: a local file, a cached copy, or the remote object.

    Args:
        first_bytes: as in `RemoteBytes`.

    Raises:
        UriError: the URI cannot be understood.
        SourceError: the object cannot be read; the subclass says why.
        FileNotFoundError: there is no such local file.
    """
    path = existing_path(cache, uri)
    if path is not None:
        try:
            return LocalFile(io.FileIO(path))
        except FileNotFoundError:
            # Evicted since the path was looked up.
            if is_local(uri):
                raise
    return RangeFile(RemoteBytes(cache, parse_object(uri), first_bytes=first_bytes))


def size_of(cache: MediaCache, uri: str) -> int:
    """The size of a media file in bytes; the object is downloaded only where the server does not tell it.

    Raises:
        UriError, SourceError, FileNotFoundError: as `open_media`.
    """
    path = existing_path(cache, uri)
    if path is not None:
        try:
            return os.path.getsize(path)
        except FileNotFoundError:
            if is_local(uri):
                raise
    parsed = parse_object(uri)
    source = cache.engine.sources.for_uri(parsed)
    size = retry_transient(lambda: source.head(parsed), cache.config.max_attempts).size
    if size is not None:
        return size
    with cache.open(uri, whole=True) as file:
        return os.fstat(file.fileno()).st_size


def existing_path(cache: MediaCache, uri: str) -> str | None:
    """Where a media file lies on this machine, and a cached one counts as used; ``None`` if it does not."""
    return local_file(uri) if is_local(uri) else cache.engine.files.touch(parse_object(uri).entry)
