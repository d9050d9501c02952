"""Eviction: the least recently used entries make room, oldest first.

What may be evicted, and what a request does that finds no room:

==============================================  =====================================================
what fills the cache                            what happens
==============================================  =====================================================
an entry unused for the grace period            it is evicted, least recently used first
an entry used within the grace period           the request waits until the oldest leaves it, unless
                                                it was only fetched ahead: nobody was given its path
bytes that downloads under way have reserved    the request waits: they are entries in a moment
files that the index does not know yet          they are indexed first
a leased entry                                  never evicted; if nothing else is left: an error
==============================================  =====================================================

One evictor works at a time, under the eviction lock. Just before it removes a file it looks at the
file's own access time, which a reader sets on every hit: a hit costs no round trip, and still counts.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forebay.errors import CacheFullError, VolumeError
from forebay.index import LockLostError, Reservation
from forebay.index.index import Candidate, batches
from forebay.volume.maintenance import end_expired_leases, maintain
from forebay.volume.recovery import needs_sweep, reap
from forebay.volume.session import ended_here

if TYPE_CHECKING:
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)

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
    lock, token = volume.index.keys.evictor, volume.session.evictor_token()
    if not volume.index.lock(lock, token, _LOCK_SECONDS):
        done.locked = True
        return done
    try:
        while done.freed < wanted and _evict_round(volume, token, wanted - done.freed, done):
            # Redis, or a pause of this process, may have ended the lock: then another is at it.
            done.locked = not volume.index.lock(lock, token, _LOCK_SECONDS)
            if done.locked:
                break
    except LockLostError:
        done.locked = True
    finally:
        volume.index.lock(lock, token, 0)
    return done


def _evict_round(volume: Volume, token: str, wanted: int, done: Evicted) -> bool:
    """Evicts a number of entries; false when there is nothing more to evict."""
    newest = time.time() - volume.config.grace_seconds
    victims, in_grace, done.claimed = volume.index.select_victims(token, newest, wanted, _ROUND)
    if in_grace is not None:
        done.wait_until = in_grace + volume.config.grace_seconds
    verdicts = {victim.entry: repr(victim.atime) for victim in victims}
    try:
        for entry, verdict in _remove(volume, token, victims, newest):
            verdicts[entry] = verdict
    finally:
        freed = volume.index.commit_victims(token, verdicts.items())
        done.freed += freed
        now = time.time()
        ages = [now - victim.atime for victim in victims if verdicts[victim.entry] == "gone"]
        volume.meter.evicted(ages, freed)
    gone = [entry for entry, verdict in verdicts.items() if verdict == "gone"]
    used = sum(verdicts[victim.entry] not in ("gone", repr(victim.atime)) for victim in victims)
    done.entries += gone
    done.in_use += used
    prune(volume, gone)
    return bool(gone or used)


def evict_to(volume: Volume, size: int) -> Evicted:
    """Evicts until the entries take ``size`` bytes or less; waits for those in their grace period.

    Gives up on what is leased, and on what is used again and again.
    """
    end_expired_leases(volume)
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


def _remove(
    volume: Volume, token: str, victims: Iterable[Candidate], newest: float
) -> Iterator[tuple[str, str]]:
    """Removes the files of victims, oldest first.

    Yields:
        entries with ``"gone"``, or with their file's own access time where that was used since the index
        was told. What is not mentioned stays as it is: somebody else's turn comes before.
    """
    next_in_turn = math.inf
    for victim in victims:
        if victim.atime > next_in_turn:
            return
        path = volume.locate(victim.entry)
        if path is not None:
            try:
                mark = os.stat(path).st_atime
                if mark > newest or mark > victim.atime + _SAME_TIME:
                    next_in_turn = min(next_in_turn, mark)
                    yield victim.entry, repr(mark)
                    continue
                if not volume.session.owns(token):
                    # We were paused, and taken for dead: the entry may be under a lease by now.
                    return
                volume.remove(victim.entry)
            except FileNotFoundError:
                pass
            except OSError as error:
                log.warning("%s cannot be evicted: %s", path, error.strerror)
                continue
        yield victim.entry, "gone"


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


def make_room(volume: Volume, size: int, token: str, what: str) -> None:
    """Makes room until ``size`` bytes can be reserved, and reserves them.

    Args:
        token: of the claim that they are for.
        what: for whom, as in the error.

    Raises:
        CacheFullError: there is no room, and none can be made.
        SessionLostError: the session is gone, and with it the caller's claims.
    """
    limit = volume.config.limit
    slack = 0 if limit is None else min(limit // 100, 64 << 20)
    changed, last = time.monotonic(), None
    while (shortage := volume.reserve(size, token)) is not None:
        volume.session.trim()
        missing = size + slack
        if limit is not None:
            # Without what this process had reserved in advance.
            totals = volume.index.totals()
            used = totals.published + totals.reserved + totals.unindexed
            missing = max(1, used + size - limit) + slack
        done = evict(volume, missing)
        if done.freed or (shortage.leased and end_expired_leases(volume)):
            continue
        if done.wait_until is not None and _evict_untouched(volume, missing):
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


def _evict_untouched(volume: Volume, wanted: int) -> int:
    """Evicts what was fetched ahead here, and whose path nobody was given since, within its grace period.

    Returns:
        the bytes that became free.
    """
    index, untouched = volume.index, volume.untouched
    chosen, size = [], 0
    for page in batches(untouched.entries()):
        for entry, kept, known in zip(page, index.leased(page), index.values(page), strict=True):
            if known is None:
                # Evicted, or not published yet.
                if volume.locate(entry) is None:
                    untouched.forget([entry])
            elif not kept and size < wanted:
                chosen.append(entry)
                size += known.size
        if size >= wanted:
            break
    if not chosen:
        return 0
    token, answers = volume.session.claim_to_evict(chosen)
    mine = [entry for entry, answer in zip(chosen, answers, strict=True) if answer.granted]
    gone: list[str] = []
    try:
        # Asked for with the claims in hand: a lease that comes now waits for us.
        for entry, kept in zip(mine, index.leased(mine), strict=True):
            path = volume.locate(entry)
            if kept or path is None or not volume.session.owns(token):
                continue
            if untouched.holds(entry, path):
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    gone.append(entry)
            else:
                untouched.forget([entry])
    finally:
        untouched.forget(gone)
        freed = index.commit_victims(token, [(entry, "gone") for entry in gone])
        index.release([(entry, token) for entry in mine])
        prune(volume, gone)
    volume.meter.evicted([0.0] * len(gone), freed)
    return freed


def _may_change(shortage: Reservation, done: Evicted, volume: Volume) -> bool:
    """Whether room will come by waiting alone."""
    if done.locked or done.in_use or done.claimed or done.wait_until is not None:
        return True
    # What is reserved by others is released or published sooner or later. What we ourselves hold
    # for other downloads of this process is, too.
    return shortage.reserved > 0 or (shortage.unindexed > 0 and needs_sweep(volume))


def _explain(volume: Volume, size: int, what: str, shortage: Reservation) -> str:
    from forebay.config.sizes import human

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
        token, answers = volume.session.claim_to_evict(page)
        mine = [entry for entry, answer in zip(page, answers, strict=True) if answer.granted]
        if not force:
            # Asked for with the claims in hand: a lease that comes now waits for us.
            leased = {entry for entry, kept in zip(mine, index.leased(mine), strict=True) if kept}
            index.release([(entry, token) for entry in mine if entry in leased])
            mine = [entry for entry in mine if entry not in leased]
        removed += _clear(volume, token, mine)
    return removed


def drop(volume: Volume, entries: Iterable[str]) -> None:
    """Removes entries whose objects have changed or gone, also those that a lease keeps.

    Waits for downloads of them that are under way: they may have begun before the change.
    """
    pending, pause = list(dict.fromkeys(entries)), _PAUSE_SECONDS
    while pending:
        token, answers = volume.session.claim_to_evict(pending)
        held = [(entry, a) for entry, a in zip(pending, answers, strict=True) if not a.granted]
        _clear(volume, token, [entry for entry, a in zip(pending, answers, strict=True) if a.granted])
        for _, answer in held:
            holder = answer.holder.rpartition(".")[0]
            if not answer.holder_alive or ended_here(holder):
                reap(volume, holder)
        pending = [entry for entry, _ in held]
        if pending:
            time.sleep(pause)
            pause = min(1.5 * pause, 0.25)


def _clear(volume: Volume, token: str, entries: list[str]) -> int:
    """Removes claimed entries; returns how many there were."""
    known = volume.index.values(entries)
    gone: list[str] = []
    try:
        for entry in entries:
            if not volume.session.owns(token):
                break
            volume.remove(entry)
            gone.append(entry)
    except OSError as error:
        raise VolumeError(f"{error.filename} cannot be removed: {error.strerror}") from None
    finally:
        volume.index.commit_victims(token, [(entry, "gone") for entry in gone])
        volume.index.release([(entry, token) for entry in entries])
        prune(volume, gone)
    done = set(gone)
    return sum(entry in done and value is not None for entry, value in zip(entries, known, strict=True))
