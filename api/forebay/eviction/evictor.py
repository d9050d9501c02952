"""Eviction: the least recently used entries go first.

==============================================  =====================================================
an entry unused for the grace period            it is evicted, least recently used first
an entry used within the grace period           the request waits until the oldest leaves it, unless
                                                it was only fetched ahead: no caller was given its path
bytes that downloads under way have reserved    the request waits: they are entries in a moment
files that the index does not know yet          they are indexed first
a leased entry                                  never evicted; if nothing else is left: an error
an entry whose file cannot be removed           it is tried again after all others that may be evicted
==============================================  =====================================================

One evictor works at a time, under the eviction lock. Just before it removes a file it looks at the
file's own access time, which a reader sets on every hit: a hit costs no round trip, and still counts. The
clock is that of Redis, whatever this machine's says. A time far in the future counts for nothing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from forebay.errors import IndexUnavailableError
from forebay.index import Index, LockLostError, SessionLostError, batches
from forebay.index.records import AHEAD_SECONDS
from forebay.volume.counters import Counters
from forebay.volume.files import Files, FoundFile
from forebay.volume.leases import end_expired_leases
from forebay.volume.removal import Removal, Verdict
from forebay.volume.session import Session
from forebay.volume.unread import UnreadPrefetches

LOCK_SECONDS = 15.0
_POLL_SECONDS = 0.01
_ROUND = 256
# A download is marked a moment before the index is told of it.
_SAME_TIME = 1e-3


@dataclass
class Evicted:
    """The outcome of an eviction.

    Attributes:
        freed: freed bytes.
        entries: the evicted entries, oldest first.
        wait_until: when the oldest of the others leaves its grace period, in seconds since the epoch, by the
            clock of this machine.
        claimed: how many entries were skipped because they are being downloaded again.
        locked: whether another process was evicting.
        in_use: how many entries were kept because their files have been read meanwhile.
        stuck: the entries whose files could not be removed.
    """

    freed: int = 0
    entries: list[str] = field(default_factory=list)
    wait_until: float | None = None
    claimed: int = 0
    locked: bool = False
    in_use: int = 0
    stuck: set[str] = field(default_factory=set)


class Evictor:
    """Evicts entries of one volume.

    Args:
        index: the volume's index.
        session: this process's session.
        files: the volume's files.
        removal: removes the files.
        counters: of this process.
        unread: of this process.
        grace: for how many seconds a used entry is spared.
        limit: the cache's size in bytes; ``None`` for no limit.
    """

    def __init__(
        self,
        index: Index,
        session: Session,
        files: Files,
        removal: Removal,
        counters: Counters,
        unread: UnreadPrefetches,
        grace: float,
        limit: int | None,
    ) -> None:
        self._index = index
        self._session = session
        self._files = files
        self._removal = removal
        self._counters = counters
        self._unread = unread
        self._grace = grace
        self._limit = limit

    def evict(self, wanted: int) -> Evicted:
        """Evicts at least ``wanted`` bytes, if so much may be evicted."""
        done = Evicted()
        token = self._removal.begin()
        with self._index.locks.hold(self._index.keys.evictor, LOCK_SECONDS, token) as lock:
            done.locked = lock is None
            try:
                while (
                    lock is not None and done.freed < wanted and self._round(token, wanted - done.freed, done)
                ):
                    # Redis, or a pause of this process, may have ended the lock: then another evicts.
                    done.locked = not lock.extend()
                    if done.locked:
                        break
            except LockLostError:
                done.locked = True
            except SessionLostError:
                done.locked = True
                self._session.renew(token.rpartition(".")[0])
            finally:
                self._removal.end(token)
        return done

    def evict_to(self, size: int) -> Evicted:
        """Evicts until the entries take ``size`` bytes or less; waits for those in their grace period.

        Gives up on what is leased, and on what is used again and again.
        """
        end_expired_leases(self._index)
        total, changed = Evicted(), time.monotonic()
        patience = self._grace + LOCK_SECONDS
        while (excess := self._index.entries.totals().published - size) > 0:
            done = self.evict(excess)
            total.freed += done.freed
            total.entries += done.entries
            if done.freed:
                changed = time.monotonic()
            elif (done.wait_until is None and not done.locked) or time.monotonic() - changed > patience:
                break
            else:
                time.sleep(_POLL_SECONDS)
        return total

    def keep_limit(self) -> int:
        """Evicts what there is beyond the cache's limit, for whatever reason: a smaller setting, or files
        that came into the index by no download. What is leased or was just used stays, until the next time.

        Returns:
            the bytes that became free.
        """
        if self._limit is None:
            return 0
        totals = self._index.entries.totals()
        excess = totals.published + totals.reserved + totals.unindexed - self._limit
        return self.evict(excess).freed if excess > 0 else 0

    def evict_unread(self, wanted: int) -> int:
        """Evicts, within its grace period, what this process has prefetched and no caller was given.

        Returns:
            the bytes that became free.
        """
        chosen = self._unread_entries(wanted)
        if not chosen:
            return 0
        token, answers = self._removal.claim(chosen)
        claimed = [entry for entry, answer in zip(chosen, answers, strict=True) if answer.granted]
        kept = self._removal.kept_by_leases(token, claimed)

        def judge(entry: str, found: FoundFile | None) -> Verdict:
            if found is None or entry in kept:
                return Verdict.KEEP
            if self._unread.holds(entry, found.path):
                return Verdict.REMOVE
            self._unread.forget([entry])
            return Verdict.KEEP

        done = self._removal.run(token, claimed, judge, put_back_at=0.0, spare_used=True)
        # What cannot be removed would be chosen again and again; after its grace period it has its turn.
        self._unread.forget([*done.entries, *done.stuck])
        self._counters.evicted([0.0] * len(done.entries), done.freed)
        return done.freed

    def _round(self, token: str, wanted: int, done: Evicted) -> bool:
        """Evicts a number of entries; false when there is nothing more to evict."""
        try:
            now, victims, in_grace, done.claimed = self._index.victims.select(
                token, self._grace, wanted, _ROUND
            )
        except IndexUnavailableError:
            self._session.suspect()
            raise
        if in_grace is not None:
            done.wait_until = time.time() + (in_grace + self._grace - now)
        atimes = {victim.entry: victim.atime for victim in victims}
        # What cannot be removed goes behind all that may be evicted, or nothing else would ever be chosen. It
        # does not go into the grace period, for whose end requests would wait in vain.
        newest = now - self._grace
        judge = _OldestFirst(atimes, newest, now + AHEAD_SECONDS)
        removed = self._removal.run(
            token, list(atimes), judge, put_back_at=newest, spare_used=True, is_last=False
        )
        self._counters.evicted([now - atimes[entry] for entry in removed.entries], removed.freed)
        done.freed += removed.freed
        done.entries += removed.entries
        done.in_use += len(removed.touched)
        found_stuck = not done.stuck.issuperset(removed.stuck)
        done.stuck.update(removed.stuck)
        return bool(removed.entries or removed.touched or found_stuck)

    def _unread_entries(self, wanted: int) -> list[str]:
        """Prefetched entries of at least ``wanted`` bytes in all, the first to be fetched first."""
        chosen, size = [], 0
        for page in batches(self._unread.entries()):
            kept, values = self._index.leases.kept(page), self._index.entries.values(page)
            for entry, leased, known in zip(page, kept, values, strict=True):
                if known is None:
                    # Evicted, or not published yet.
                    if not self._files.is_there(entry):
                        self._unread.forget([entry])
                elif not leased and size < wanted:
                    chosen.append(entry)
                    size += known.size
            if size >= wanted:
                break
        return chosen


class _OldestFirst:
    """Judges victims by the access times of their files, so that none goes before an older one.

    Args:
        atimes: the access time of each victim, as the index knows it; oldest first.
        newest: the newest access time that may be evicted.
        ahead: the newest access time that can be true.
    """

    def __init__(self, atimes: dict[str, float], newest: float, ahead: float) -> None:
        self._atimes = atimes
        self._newest = newest
        self._ahead = ahead
        # Of the files that turned out to have been used, the access time of the oldest.
        self._next_in_turn = math.inf

    def __call__(self, entry: str, found: FoundFile | None) -> Verdict | float:
        known = self._atimes[entry]
        if known > self._next_in_turn:
            return Verdict.STOP
        mark = None if found is None else found.status.st_atime
        if mark is not None and mark <= self._ahead and (mark > self._newest or mark > known + _SAME_TIME):
            self._next_in_turn = min(self._next_in_turn, mark)
            return mark
        return Verdict.REMOVE
