"""What of this volume its neighbours may read: what is published, and large objects while they arrive."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import BinaryIO, NamedTuple

from forebay.cache import MediaCache
from forebay.fetch.arrivals import Arrival
from forebay.index.groups import published
from forebay.uri import is_entry

# How often it is looked whether the index has what was just published.
_LOOK_SECONDS = 0.02


class Offer(NamedTuple):
    """An entry's open file.

    Attributes:
        size: bytes of the object.
        etag: as its source gave it, or empty.
        modified: when it was modified, in seconds since the epoch; ``None`` if that is not known.
        arrival: what is there of it; ``None`` where it is complete.
    """

    file: BinaryIO
    size: int
    etag: str
    modified: float | None
    arrival: Arrival | None = None


def offer(cache: MediaCache, entry: str) -> Offer | None:
    """Opens what there is of an entry; ``None`` where there is nothing, or where it is just being replaced.

    What is published counts as used now, and an open file outlives its eviction.

    Raises:
        ForebayError: it cannot be told.
    """
    if not is_entry(entry):
        return None
    arrivals = cache.engine.open_fetcher().arrivals
    while True:
        found = _complete(cache, entry)
        arrival = None if found is not None else arrivals.get(entry)
        if arrival is None:
            return found
        try:
            return _arriving(cache, arrival)
        except FileNotFoundError:
            # It has just been published, and will be in the index in a moment, or has failed.
            time.sleep(_LOOK_SECONDS)
        except OSError:
            return None


def _complete(cache: MediaCache, entry: str) -> Offer | None:
    files, index = cache.engine.files, cache.engine.open_index()
    path = files.touch(entry)
    if path is None:
        return None
    with contextlib.ExitStack() as undo:
        try:
            file = undo.enter_context(open(path, "rb", buffering=0, opener=_no_link))
            found = os.fstat(file.fileno())
            value = published(index.connection, index.volume, entry)
            # A file that has been replaced meanwhile is not the one that the index tells of.
            is_same = os.path.samestat(found, os.lstat(path))
        except OSError:
            return None
        if value is None or not is_same or not stat.S_ISREG(found.st_mode) or found.st_size != value.size:
            return None
        undo.pop_all()
        return Offer(file, value.size, value.etag, found.st_mtime)


def _arriving(cache: MediaCache, arrival: Arrival) -> Offer:
    descriptor = cache.engine.files.beneath.open(arrival.path, os.O_RDONLY | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb", buffering=0)
    return Offer(file, arrival.size, arrival.info.etag or "", arrival.info.modified, arrival)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
