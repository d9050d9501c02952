"""Sets that are larger than the cache: what came first has made room for what came last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from forebay.config.sizes import human
from forebay.errors import UriError
from forebay.uri import entry_of, is_local

if TYPE_CHECKING:
    from forebay.jobs.jobs import JobStatus
    from forebay.volume.volume import Volume


def described(volume: Volume, uris: Iterable[str], status: JobStatus) -> str:
    """What to say of a job's samples that are not cached any more; ``""`` where there are none.

    Asks the index alone, and only where something was downloaded.

    Args:
        uris: what the job was given.
        status: how it ended.
    """
    limit = volume.config.limit
    if limit is None or not status.downloaded or status.pending:
        return ""
    entries = list(dict.fromkeys(filter(None, map(_entry, uris))))
    there = sum(value is not None for value in volume.index.values(entries))
    if len(entries) - there <= status.failed:
        return ""
    return (
        f"{there:,} of {len(entries):,} files are still there: the cache holds no more than {human(limit)}, "
        f"so the last ones took the place of others; loop over them in download_context(), which downloads "
        f"ahead, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
    )


def _entry(uri: str) -> str | None:
    try:
        return None if is_local(uri) else entry_of(uri)
    except UriError:
        return None
