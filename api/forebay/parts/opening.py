"""Opens an object for reading: its cached file, or one whose bytes come when they are read."""

from __future__ import annotations

import builtins
import io
import logging
from typing import IO

from forebay.errors import ForebayError, SourceError
from forebay.parts.block_reader import Blocks
from forebay.parts.completion import complete, fits
from forebay.parts.holder import Holder
from forebay.parts.part_file import PartFile
from forebay.parts.versions import find_version
from forebay.uri import MediaURI, entry_of, is_local, parse_object
from forebay.uri.local_roots import path_below

log = logging.getLogger(__name__)

_BUFFER_BYTES = 128 << 10


def open_file(holder: Holder, uri: str, mode: str, whole: bool | None) -> IO[bytes]:
    """Opens an object, or a local file, for reading; see `forebay.cache.MediaCache.open`."""
    if mode not in ("rb", "r"):
        raise ValueError(f"a cached file can be opened for reading only ('rb'), not as {mode!r}")
    while True:
        if (
            whole is not True
            and not is_local(uri)
            and path_below(uri) is None
            and holder.files.locate(entry_of(uri)) is None
        ):
            file = _open_parts(holder, parse_object(uri), large_only=whole is None)
            if file is not None:
                return file
        path = holder.local_path(uri)
        try:
            return builtins.open(path, "rb")
        except FileNotFoundError:
            # The file was evicted between the two calls.
            if is_local(uri):
                raise


def _open_parts(holder: Holder, uri: MediaURI, *, large_only: bool) -> IO[bytes] | None:
    """Opens an object that is not cached as a whole, so that its bytes come when they are read.

    Args:
        large_only: whether smaller objects are left to be fetched as a whole.

    Returns:
        the file; ``None`` for an object that is to be fetched as a whole: a small one, or one whose source
        does not send parts, or does not say which version they are of.

    Raises:
        ForebayError: the object cannot be fetched.
    """
    try:
        version, downloaded = find_version(holder, uri, large_only=large_only)
    except SourceError:
        holder.counters.misses += 1
        raise
    holder.counters.misses += downloaded > 0
    if version is None:
        return None
    blocks = Blocks(holder, uri, version)

    def closing() -> None:
        if fits(holder, version) and not blocks.missing():
            # What is still fetched ahead would be fetched anew once the blocks have gone.
            blocks.settle()
            try:
                complete(holder, uri, version)
            except ForebayError as error:
                # It has been read, and can be again: from its blocks.
                log.debug("%s: its blocks stay as they are: %s", uri, error)

    return io.BufferedReader(PartFile(uri.redacted, version, blocks, closing), _BUFFER_BYTES)
