"""What is in the cache, entry by entry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.index import Entry
from forebay.uri import uri_of

if TYPE_CHECKING:
    from forebay.volume.volume import Volume


@dataclass(frozen=True, slots=True)
class CachedObject:
    """One cached object.

    Attributes:
        uri: its URI, without secrets.
        entry: its name in the index.
        path: of its file.
        size: in bytes.
        used: when it was used last, in seconds since the epoch.
        fetched: when it was downloaded, in seconds since the epoch.
        leased: whether a lease keeps it.
    """

    uri: str
    entry: str
    path: str
    size: int
    used: float
    fetched: int
    leased: bool


def cached_objects(volume: Volume, prefix: str = "") -> Iterator[CachedObject]:
    """Everything that is cached, in no order.

    Args:
        prefix: only what has a URI that begins so.
    """
    seen: set[str] = set()
    for page in volume.index.scan():
        # A scan may give an entry twice.
        parsed = {entry: Entry.parse(value) for entry, value in page if entry not in seen}
        seen.update(parsed)
        names = {entry: value.uri or uri_of(entry) or entry for entry, value in parsed.items()}
        chosen = [entry for entry, name in names.items() if name.startswith(prefix)]
        if not chosen:
            continue
        times, leased = volume.index.access_times(chosen), volume.index.leased(chosen)
        for entry, used, kept in zip(chosen, times, leased, strict=True):
            path, value = volume.locate(entry), parsed[entry]
            if path is not None:
                # A hit marks the file, and tells the index only later.
                with contextlib.suppress(FileNotFoundError):
                    mark = max(used or 0.0, os.stat(path).st_atime)
                    yield CachedObject(names[entry], entry, path, value.size, mark, value.fetched, kept)
