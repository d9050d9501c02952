"""The warning about sets that are larger than the cache: their last samples took the place of the first."""

from __future__ import annotations

from collections.abc import Iterable

from forebay.config.sizes import count, human
from forebay.errors import UriError
from forebay.index import Index
from forebay.jobs.status import JobStatus
from forebay.uri import entry_of, is_local


def overflow_warning(index: Index, limit: int | None, uris: Iterable[str], status: JobStatus) -> str:
    """The warning that samples of a job are not cached any more; ``""`` where all are.

    Asks the index alone, and only where something was downloaded.

    Args:
        limit: the cache's size in bytes; ``None`` for no limit.
        uris: what the job was given.
        status: how it ended.
    """
    if limit is None or not status.downloaded or status.pending:
        return ""
    # Eviction stops far above this.
    if index.entries.totals().published < limit // 2:
        return ""
    entries = list(dict.fromkeys(filter(None, map(_entry, uris))))
    there = sum(value is not None for value in index.entries.values(entries))
    if len(entries) - there <= status.failed:
        return ""
    left = f"{there:,} of {count(len(entries), 'file')} {'is' if there == 1 else 'are'} still cached"
    return (
        f"only {left}: the cache holds {human(limit)}, so "
        f"earlier files were evicted; loop over them in download_context(), which downloads ahead, or raise "
        f"FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
    )


def _entry(uri: str) -> str | None:
    try:
        return None if is_local(uri) else entry_of(uri)
    except UriError:
        return None
