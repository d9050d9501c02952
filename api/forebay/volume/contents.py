"""Lists the cached objects of a volume."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.index import Entry, Index
from forebay.uri import canonical_uri, uri_of
from forebay.volume.files import Files


@dataclass(frozen=True, slots=True)
class CachedObject:
    """One cached object.

    Attributes:
        uri: its URI, without secrets.
        entry: its name in the index.
        path: of its file.
        size: in bytes.
        used: when it was used last, in seconds since the epoch.
        fetched: when it was downloaded, or found to be current at its source, in seconds since the epoch.
        leased: whether a lease keeps it.
    """

    uri: str
    entry: str
    path: str
    size: int
    used: float
    fetched: int
    leased: bool


def cached_objects(index: Index, files: Files, prefix: str = "") -> Iterator[CachedObject]:
    """Every cached object, in no order.

    Args:
        prefix: only objects whose URI begins with it.
    """
    prefix = canonical_uri(prefix)
    seen: set[str] = set()
    for page in index.entries.scan():
        # A scan may give an entry twice.
        parsed = {entry: Entry.parse(value) for entry, value in page if entry not in seen}
        seen.update(parsed)
        names = {entry: value.uri or uri_of(entry) or entry for entry, value in parsed.items()}
        chosen = [entry for entry, name in names.items() if name.startswith(prefix)]
        if not chosen:
            continue
        times, leased = index.entries.access_times(chosen), index.leases.kept(chosen)
        for entry, used, kept in zip(chosen, times, leased, strict=True):
            path, value = files.locate(entry), parsed[entry]
            if path is not None:
                # A hit marks the file, and tells the index only later.
                with contextlib.suppress(OSError):
                    mark = max(used or 0.0, os.stat(path).st_atime)
                    yield CachedObject(names[entry], entry, path, value.size, mark, value.fetched, kept)
