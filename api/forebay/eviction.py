"""Eviction: the least recently used entries make room, oldest first.

What may be evicted, and what a request does that finds no room:

==============================================  =====================================================
what fills the cache                            what happens
==============================================  =====================================================
an entry unused for the grace period            it is evicted, least recently used first
an entry used within the grace period           the request waits until the oldest leaves it
bytes that downloads under way have reserved    the request waits: they are entries in a moment
files that the index does not know yet          they are indexed first
a leased entry                                  never evicted; if nothing else is left: an error
==============================================  =====================================================

One evictor works at a time, under the eviction lock. Just before it removes a file it looks at the
file's own access time, which a reader sets on every hit: a hit costs no round trip, and still counts.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forebay.errors import CacheFullError
from forebay.index import Reservation
from forebay.index.index import Candidate, batches
from forebay.maintenance import maintain
from forebay.recovery import needs_sweep

if TYPE_CHECKING:
    from forebay.volume import Volume

_ROUND = 256
_LOCK_SECONDS = 15.0
_PAUSE_SECONDS = 0.01
# A download is marked a moment before the index is told of it.
_SAME_TIME = 1e-3
# How long a request waits while nothing at all changes. Downloads under way end by then: their
# sources have time-outs.
_PATIENCE_SECONDS = 120.0


@dataclass
class Evicted:
    """What a round of eviction did.

    Attributes:
        freed: bytes.
        entries: what was evicted, oldest first.
        wait_until: when the oldest entry leaves its grace period, in seconds since the epoch.
        claimed: how many entries were passed over because they are being downloaded again.
        locked: whether another evictor was at work.
        in_use: how many entries turned out to have been used since.
    """

    freed: int = 0
    entries: list[str] = field(default_factory=list)
    wait_until: float | None = None
    claimed: int = 0
    locked: bool = False
    in_use: int = 0


def evict(volume: Volume, wanted: int) -> Evicted:
    """Evicts at least ``wanted`` bytes, if so much may be evicted."""
    done = Evicted()
    lock = volume.index.keys.evictor
    token = volume.session.evictor_token()
    if not volume.index.lock(lock, token, _LOCK_SECONDS):
        done.locked = True
        return done
    try:
        while done.freed < wanted:
            newest = time.time() - volume.config.grace_seconds
            victims, in_grace, done.claimed = volume.index.select_victims(
                token, newest, wanted - done.freed, _ROUND
            )
            if in_grace is not None:
                done.wait_until = in_grace + volume.config.grace_seconds
            if not victims:
                break
            verdicts = _remove(volume, victims, newest)
            done.freed += volume.index.commit_victims(token, verdicts)
            gone = [entry for entry, verdict in verdicts if verdict == "gone"]
            done.entries += gone
            done.in_use += len(verdicts) - len(gone)
            prune(volume, gone)
            volume.index.lock(lock, token, _LOCK_SECONDS)
    finally:
        volume.index.lock(lock, token, 0)
    return done


def evict_to(volume: Volume, size: int) -> Evicted:
    """Evicts until the entries take ``size`` bytes or less; waits for those in their grace period.

    Gives up on what is leased, and on what is used again and again.
    """
    total, changed = Evicted(), time.monotonic()
    patience = volume.config.grace_seconds + _LOCK_SECONDS
    while (excess := volume.index.totals().published - size) > 0:
        done = evict(volume, excess)
        total.freed += done.freed
        total.entries += done.entries
        if done.freed:
            changed = time.monotonic()
        elif (done.wait_until is None and not done.locked) or time.monotonic() - changed > patience:
            break
        else:
            time.sleep(_PAUSE_SECONDS)
    return total


def _remove(volume: Volume, victims: Iterable[Candidate], newest: float) -> list[tuple[str, str]]:
    """Removes the files of victims, oldest first.

    Returns:
        for each entry ``"gone"``, or the access time that it keeps: its file's own where that was used
        since the index was told, and its old one where somebody else's turn has come before.
    """
    verdicts = []
    next_in_turn = math.inf
    for victim in victims:
        verdict = "gone"
        path = volume.locate(victim.entry)
        if victim.atime > next_in_turn:
            verdict = repr(victim.atime)
        elif path is not None:
            with contextlib.suppress(FileNotFoundError):
                mark = os.stat(path).st_atime
                if mark > newest or mark > victim.atime + _SAME_TIME:
                    next_in_turn = min(next_in_turn, mark)
                    verdict = repr(mark)
                else:
                    os.unlink(path)
        verdicts.append((victim.entry, verdict))
    return verdicts


def prune(volume: Volume, entries: Iterable[str]) -> None:
    """Removes the directories that are empty without these entries."""
    stop = len(volume.layout.media_dir)
    paths = [make(entry) for entry in entries for make in (volume.layout.path, volume.layout.alternate_path)]
    for directory in {os.path.dirname(path) for path in paths}:
        while len(directory) > stop:
            try:
                os.rmdir(directory)
            except OSError:
                break
            directory = os.path.dirname(directory)  # noqa: PLW2901


def make_room(volume: Volume, size: int, what: str) -> None:
    """Makes room until ``size`` bytes can be reserved, and reserves them.

    Args:
        what: for whom, as in the error.

    Raises:
        CacheFullError: there is no room, and none can be made.
        SessionLostError: the session is gone, and with it the caller's claims.
    """
    limit = volume.config.limit
    slack = 0 if limit is None else min(limit // 100, 64 << 20)
    changed, last = time.monotonic(), None
    while (shortage := volume.reserve(size)) is not None:
        volume.session.trim()
        missing = size + slack
        if limit is not None:
            # Without what this process had reserved in advance.
            totals = volume.index.totals()
            used = totals.published + totals.reserved + totals.unindexed
            missing = max(1, used + size - limit) + slack
        done = evict(volume, missing)
        if done.freed:
            continue
        state = (shortage, done.wait_until)
        if state != last:
            changed, last = time.monotonic(), state
        if time.monotonic() - changed > _PATIENCE_SECONDS or not _may_change(shortage, done, volume):
            raise CacheFullError(_explain(volume, size, what, shortage))
        if shortage.unindexed and needs_sweep(volume):
            maintain(volume)
        if done.wait_until is not None:
            time.sleep(min(max(done.wait_until - time.time(), 0.0), 0.1) + 1e-3)
        else:
            time.sleep(_PAUSE_SECONDS)


def _may_change(shortage: Reservation, done: Evicted, volume: Volume) -> bool:
    """Whether room will come by waiting alone."""
    if done.locked or done.in_use or done.claimed or done.wait_until is not None:
        return True
    # What is reserved by others is released or published sooner or later. What we ourselves hold
    # for other downloads of this process is, too.
    return shortage.reserved > 0 or (shortage.unindexed > 0 and needs_sweep(volume))


def _explain(volume: Volume, size: int, what: str, shortage: Reservation) -> str:
    from forebay.sizes import human

    limit = volume.config.limit
    if limit is None or volume.disk_is_short(size):
        return (
            f"{what}: no room for {human(size)} on {volume.config.cache_dir}: downloads leave "
            f"{human(volume.config.min_free_bytes)} of the disk free, and nothing is left to evict; "
            "free some space, or lower FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES"
        )
    held = []
    if shortage.leased:
        names = [name for name, _, _ in volume.index.leases()]
        some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        held.append(f"leases ({some}) hold {human(shortage.leased)}")
    if shortage.reserved:
        held.append(f"downloads under way {human(shortage.reserved)}")
    return (
        f"{what}: no room for {human(size)} in a cache of {human(limit)}: "
        f"{' and '.join(held) or 'nothing can be evicted'}; "
        "end a lease, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
    )


def clear(volume: Volume, entries: Iterable[str] | None, *, force: bool = False) -> int:
    """Removes entries (all, where ``entries`` is ``None``), whenever they were used last.

    Args:
        force: also those that a lease keeps.

    Returns:
        how many were removed.
    """
    index = volume.index
    pages: Iterable[list[str]]
    if entries is None:
        pages = ([entry for entry, _ in page] for page in index.scan())
    else:
        pages = batches(dict.fromkeys(entries))
    removed = 0
    for page in pages:
        chosen = page
        if not force:
            chosen = [e for e, leased in zip(page, index.leased(page), strict=True) if not leased]
        token, answers = volume.session.claim_to_evict(chosen)
        mine = [entry for entry, answer in zip(chosen, answers, strict=True) if answer.granted]
        for entry in mine:
            path = volume.locate(entry)
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        index.commit_victims(token, [(entry, "gone") for entry in mine])
        prune(volume, mine)
        removed += sum(1 for answer in answers if answer.granted and answer.value)
    return removed
