"""Makes of an object's blocks an ordinary cached file."""

from __future__ import annotations

import contextlib
import io
import time

from forebay.backoff import Backoff
from forebay.index import SessionLostError
from forebay.parts.block_reader import Blocks
from forebay.parts.holder import Holder
from forebay.parts.part_file import PartFile
from forebay.sources.base import ObjectInfo
from forebay.uri import MediaURI
from forebay.uri.blocks import Version
from forebay.volume.block_files import blocks_of


def fits(holder: Holder, version: Version) -> bool:
    """Whether the file and its blocks fit into the cache together, as they do for a moment."""
    limit = holder.config.limit
    return limit is None or 2 * version.size <= limit


def complete(holder: Holder, uri: MediaURI, version: Version) -> int:
    """Fetches the blocks that are missing, and puts all together.

    Returns:
        the bytes that were downloaded.

    Raises:
        ForebayError: a block cannot be fetched, or there is no room for the file.
    """
    downloaded, entry = 0, version.entry
    fetcher, pause = holder.open_fetcher(), Backoff(0.005, 0.25)
    while holder.files.locate(entry) is None:
        # Of several, one does so: what the first had put together, another one would lack, and fetch anew.
        token = fetcher.claim(entry)
        if token is None:
            time.sleep(pause.next())
            continue
        try:
            with contextlib.suppress(SessionLostError):
                downloaded += _assemble(holder, uri, version, token)
        finally:
            fetcher.release(entry, token)
    # Also those of other versions, and those that a lease keeps: it keeps the file.
    holder.open_clearing().clear(blocks_of(holder.files, entry), force=True)
    return downloaded


def _assemble(holder: Holder, uri: MediaURI, version: Version, token: str) -> int:
    """Writes the file.

    Args:
        token: of a claim on it, which ends with this.
    """
    blocks = Blocks(holder, uri, version, read_ahead=False)
    downloaded = blocks.fetch(blocks.missing())
    with io.BufferedReader(PartFile(uri.redacted, version, blocks, lambda: None)) as file:
        # It may have been evicted again already.
        first = holder.files.find(version.block(0).entry)
        modified = first.status.st_mtime if first is not None else None
        info = ObjectInfo(uri.raw, version.size, version.etag, modified)
        holder.open_fetcher().store(info, file, token=token)
    return downloaded
