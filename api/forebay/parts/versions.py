"""Which version of an object there is: by the blocks on the volume, else by asking its source once."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from typing import NamedTuple

from forebay.backoff import Backoff
from forebay.errors import SourceError
from forebay.index import SessionLostError
from forebay.parts.block_reader import keep_with_object
from forebay.parts.holder import Holder
from forebay.retry import retry_transient
from forebay.uri import MediaURI
from forebay.uri.blocks import BLOCK_BYTES, Version
from forebay.volume.block_files import blocks_of
from forebay.volume.counters import Ended

log = logging.getLogger(__name__)

WHOLE_BYTES = 8 << 20
"""An object of fewer bytes is fetched as a whole, unless it is asked for in parts."""


class Found(NamedTuple):
    """What is known of an object.

    Attributes:
        version: it; ``None`` where the object is there as a whole, or is to be fetched so: a small one, or
            one whose source does not send parts, or does not say which version they are of.
        downloaded: so many bytes of it came with the answer, and are on the volume now.
    """

    version: Version | None
    downloaded: int = 0


def find_version(holder: Holder, uri: MediaURI, *, large_only: bool) -> Found:
    """Finds the version of an object that is not cached as a whole.

    Args:
        large_only: whether smaller objects than `WHOLE_BYTES` are left to be fetched as a whole.

    Raises:
        ForebayError: its source cannot be asked.
    """
    version = known_version(holder, uri.entry)
    return Found(version) if version is not None else _ask_once(holder, uri, large_only=large_only)


def known_version(holder: Holder, entry: str) -> Version | None:
    """The version of which the volume has blocks; the one that was met last, where there are several."""
    found = blocks_of(holder.files, entry)
    if not found:
        return None
    by_directory: dict[str, list[str]] = {}
    for block in found:
        by_directory.setdefault(block.rpartition("/")[0], []).append(block)
    entries = holder.open_index().entries
    values = entries.values([blocks[0] for blocks in by_directory.values()])
    newest: tuple[int, Version] | None = None
    for (directory, blocks), first in zip(by_directory.items(), values, strict=True):
        # A block that appeared a moment ago is not in the index yet; the others of its version are.
        value = first or next(filter(None, entries.values(blocks[1:])), None)
        size = directory.rpartition("/")[2].partition("-")[0]
        if value is None or not value.etag or not size.isdecimal():
            continue
        version = Version(entry, int(size), value.etag)
        if version.directory == directory and (newest is None or value.known_current >= newest[0]):
            newest = value.known_current, version
    return newest[1] if newest is not None else None


def _ask_once(holder: Holder, uri: MediaURI, *, large_only: bool) -> Found:
    """Asks for the first block, and with it for the version; one process of all does so at a time."""
    entry, fetcher, pause = uri.entry, holder.open_fetcher(), Backoff(0.005, 0.25)
    while holder.files.locate(entry) is None:
        # A process that downloads the object as a whole has the same claim, so that no byte comes twice.
        token = fetcher.claim(entry)
        try:
            found = known_version(holder, entry)
            if found is not None:
                return Found(found)
            if token is not None:
                with contextlib.suppress(SessionLostError):
                    return _ask(holder, uri, token, large_only=large_only)
        finally:
            if token is not None:
                fetcher.release(entry, token)
        if token is None:
            time.sleep(pause.next())
    return Found(None)


def _ask(holder: Holder, uri: MediaURI, token: str, *, large_only: bool) -> Found:
    source = holder.sources.for_uri(uri)
    try:
        beginning = retry_transient(lambda: source.read_start(uri, BLOCK_BYTES), holder.config.max_attempts)
    except SourceError as error:
        holder.sources.record(uri, error)
        holder.counters.ended([Ended(uri, "failed", reason=error.kind)])
        raise
    holder.sources.record(uri, None)
    info, fetcher = beginning.info, holder.open_fetcher()
    size, came, file = info.size, len(beginning.data), io.BytesIO(beginning.data)
    version = None
    if size == came:
        fetcher.store(info, file, token=token)
    elif size is not None and large_only and size < WHOLE_BYTES:
        return Found(None)
    elif size is None or not info.ranges or not info.etag or info.etag.startswith("W/"):
        log.info("%s is downloaded as a whole: its server sends no parts with a strong ETag", uri)
        return Found(None)
    else:
        version = Version(uri.entry, size, info.etag)
        first = version.block(0)
        fetcher.store(info._replace(size=came, md5=None, checksum=None), file, first)
        keep_with_object(holder, version, [first.entry])
    holder.counters.ended([Ended(uri, "downloaded", came)])
    return Found(version, came)
