"""Which cached copies have to be compared with their sources, and what becomes of those that cannot be."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from forebay.config.freshness import Freshness
from forebay.errors import ForebayError, TransientSourceError, VolumeError
from forebay.fetch.work import Item
from forebay.index import Index
from forebay.volume.files import Files

log = logging.getLogger(__name__)

# When the log was last told that a bucket or host cannot be reached; it is not told again for so long.
_told: dict[tuple[str, str], float] = {}
_TOLD_SECONDS = 600.0


def take_fresh(
    index: Index, fresh: Freshness, uris: Sequence[str], entries: Sequence[str], cached: Sequence[bool]
) -> list[bool]:
    """``cached`` without those whose last check is too old, so that they are to be checked.

    Args:
        uris, entries: of some samples.
        cached: which of them are cached.
    """
    if not fresh.is_by_age:
        return list(cached)
    there = [number for number, is_there in enumerate(cached) if is_there]
    taken = list(cached)
    values = index.entries.values([entries[number] for number in there])
    for number, value in zip(there, values, strict=True):
        if value is not None and value.known_current < fresh.since(uris[number]):
            taken[number] = False
    return taken


def stays_unchecked(item: Item, error: ForebayError, fresh: Freshness, files: Files) -> bool:
    """Whether the copy of an object stays, and is handed out, as its source cannot be reached for a check.

    A source that answers is believed: that an object is gone, or that it may not be read. So is a caller who
    asks for an update.
    """
    if not item.old or not fresh.is_by_age or not isinstance(error, TransientSourceError):
        return False
    try:
        if files.locate(item.entry) is None:
            return False
    except VolumeError:
        return False
    # As it is, so that the next one who asks for it has it checked.
    item.renewed = item.old
    place, now = (item.uri.scheme, item.uri.bucket), time.monotonic()
    if now - _told.get(place, float("-inf")) > _TOLD_SECONDS:
        _told[place] = now
        log.warning("%s; its copy, and others of %s, are handed out without a check", error, item.uri.root)
    return True
