"""One process's session with an index: its claims, and the bytes that it has reserved.

Everything that a process holds in the index hangs on its session, and ends with it. A heartbeat extends
the session; a process that finds it expired cleans up after it. A process whose session was lost (it was
paused for too long, say) begins another one: what it held before is void, and its own clock tells it so
before it publishes anything.
"""

from __future__ import annotations

import itertools
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from forebay.errors import ForebayError
from forebay.index import Claimed, Download, Index, IndexEmptiedError, SessionLostError
from forebay.processes import identity
from forebay.volume.reservation import Reservation, ReservationPool

_EVICTOR_TOKEN = re.compile(r"\.e\d+\Z")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Seconds on a clock that never jumps, and goes on while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class Session:
    """A session of this process; safe to use from many threads.

    Attributes:
        is_ended: whether the process has closed the cache, and does not begin another session.

    Args:
        index: the volume's index.
        begin_in: called before a session begins; makes sure that what lies on the volume is counted, and
            tells for which start of Redis it was, and behind which fence the session begins.
        stands: whether a fence still stands.
        settle: ends abandoned claims (entry and token), and takes the files in their places into the index.
        ttl: how long the session outlives its last heartbeat, in seconds.
        limit: the cache's size in bytes, ``None`` for no limit.
        before_reserving: called before bytes are reserved.
        is_disk_short: whether so many more bytes would leave too little space on the disk.
    """

    def __init__(
        self,
        index: Index,
        begin_in: Callable[[], tuple[str, str]],
        stands: Callable[[str], bool],
        settle: Callable[[Sequence[tuple[str, str]]], object],
        ttl: float,
        limit: int | None,
        before_reserving: Callable[[], object],
        is_disk_short: Callable[[int], bool],
    ) -> None:
        self._index = index
        self._begin_in = begin_in
        self._stands = stands
        self._settle = settle
        self._ttl = ttl
        self._lock = threading.Lock()
        self.is_ended = False
        self._numbers = itertools.count(1)
        # The tokens of claims that threads of this process answer for.
        self._live: set[str] = set()
        self._is_suspicious = False
        # Claims that are to be given back once Redis can be reached.
        self._abandoned: set[tuple[str, str]] = set()
        # Of files that are in their place, and may not be committed.
        self._uncommitted: list[Reservation] = []
        self._pool = ReservationPool(index, limit, before_reserving, is_disk_short)
        self._begin()

    def _begin(self) -> None:
        session = f"{identity()}-{secrets.token_hex(4)}"
        self._live.clear()
        while True:
            run_id, self._fence = self._begin_in()
            sent = clock()
            try:
                self._index.sessions.begin(session, self._ttl, run_id)
            except IndexEmptiedError:
                continue
            break
        self._pool.begin(session)
        self.id = session
        self.deadline = sent + self._ttl

    # Life

    def owns(self, token: str) -> bool:
        """Whether a claim with ``token`` can still be ours, by our own clock alone."""
        return token in self._live and clock() < self.deadline and token.startswith(self.id + ".")

    def may_write(self, token: str) -> bool:
        """Whether the partial file of a claim may be written to; asked once it is created.

        Raises:
            OSError: it cannot be told.
        """
        return self.owns(token) and self._stands(self._fence)

    def _may_stand(self) -> bool:
        """Whether nothing is known to have ended the session. On a disk that fails, nothing is published."""
        try:
            return self._stands(self._fence)
        except OSError as error:
            if error.errno is None:
                # Not of the disk: the handler of a signal raised it.
                raise
            return True

    def extend(self) -> None:
        """Lets the session live on, or begins a new one where it was lost."""
        sent, session = clock(), self.id
        if self._may_stand() and self._index.sessions.extend(session, self._ttl):
            with self._lock:
                if self.id == session and not self.is_ended:
                    self.deadline = sent + self._ttl
        else:
            self.renew(session)
        if self._is_suspicious:
            self._abandoned.update(self._orphans())
            self._is_suspicious = False
        if self._abandoned:
            claims, uncommitted = list(self._abandoned), list(self._uncommitted)
            self._settle(claims)
            self._abandoned.difference_update(claims)
            for reservation in uncommitted:
                self._uncommitted.remove(reservation)
                reservation.close()

    def _revive(self) -> None:
        """Extends the session where its time is over: this process was paused, and what it claims before
        its next heartbeat would be void."""
        if clock() >= self.deadline and not self.is_ended:
            self.extend()

    def renew(self, lost: str) -> None:
        """Begins another session in place of the ``lost`` one, unless that has been done.

        Raises:
            ForebayError: the session was ended by this process.
        """
        with self._lock:
            if self.is_ended:
                raise ForebayError("the cache was closed while it was in use; use it again to open it anew")
            if self.id == lost:
                self._begin()

    def end(self) -> None:
        """Ends the session for this process: nothing that is still under way will be published."""
        with self._lock:
            self.is_ended = True
            self.deadline = float("-inf")

    # Claims

    def claim(
        self, entries: Sequence[str], *, always: bool = False, since: Sequence[float] = ()
    ) -> list[tuple[str, Claimed]]:
        """Claims entries, each with a new token; where the session was lost, with a new one.

        A token names the session, and the partial file of the download.

        Args:
            always: claim entries that are published, too: they will be replaced.
            since: as `Claims.acquire`.

        Returns:
            for each entry the token, and the index's answer.
        """
        while True:
            self._revive()
            session = self.id
            if not self._may_stand():
                # Recovery has ended it, or the cache directory was removed by hand.
                self.renew(session)
                continue
            wanted = [(entry, f"{session}.{next(self._numbers)}") for entry in entries]
            self._live.update(token for _, token in wanted)
            try:
                answers = self._index.claims.acquire(session, wanted, always=always, since=since)
            except SessionLostError:
                self.renew(session)
                continue
            except BaseException:
                # Whether the claims were made is not known.
                self.abandon(wanted)
                raise
            orphans = [
                (entry, answer.holder)
                for entry, answer in zip(entries, answers, strict=True)
                if answer.holder.startswith(self.id + ".") and answer.holder not in self._live
            ]
            if not orphans:
                self._live.difference_update(
                    token for (_, token), a in zip(wanted, answers, strict=True) if not a.granted
                )
                return [(token, answer) for (_, token), answer in zip(wanted, answers, strict=True)]
            self._index.claims.release(orphans)
            self.release([pair for pair, a in zip(wanted, answers, strict=True) if a.granted])

    def claim_to_evict(self, entries: Sequence[str], token: str) -> list[Claimed]:
        """Claims entries that are to be removed, all with one token, which `evictor_token` has made.

        Raises:
            SessionLostError: the session of the token is gone.
        """
        wanted = [(entry, token) for entry in entries]
        return self._index.claims.acquire(token.rpartition(".")[0], wanted, always=True)

    def evictor_token(self) -> str:
        """A token for one round of eviction, which ends with `disown`."""
        self._revive()
        token = f"{self.id}.e{next(self._numbers)}"
        self._live.add(token)
        return token

    def may_remove(self, token: str) -> bool:
        """Whether files may be removed with an evictor's token; asked once its directory is there."""
        return self.owns(token) and self._may_stand()

    def disown(self, token: str) -> None:
        """Notes that this process has given back all claims with a token, or cannot know whether it has."""
        self._live.discard(token)

    def release(self, claims: Sequence[tuple[str, str]]) -> None:
        """Gives claims (entry and token) back; those that have been lost meanwhile are left alone."""
        self._live.difference_update(token for _, token in claims)
        try:
            self._index.claims.release(claims)
        except ForebayError:
            self.abandon(claims)
            raise

    def suspect(self) -> None:
        """Has the heartbeat look for claims that Redis may have made although its answer was lost."""
        self._is_suspicious = True

    def _orphans(self) -> list[tuple[str, str]]:
        """The claims of this session that no thread of this process answers for."""
        claims = self._index.claims.all().items()
        return [pair for pair in claims if pair[1].startswith(self.id + ".") and pair[1] not in self._live]

    def abandon(self, claims: Sequence[tuple[str, str]]) -> None:
        """Gives claims back when the heartbeat reaches Redis; nothing is published for them any more."""
        self._live.difference_update(token for _, token in claims)
        self._abandoned.update(claims)

    def leave(self, download: Download) -> None:
        """Leaves a file in its place of which it is not known whether it was committed.

        Its bytes stay reserved until its claim is given back, which is to be abandoned next.
        """
        self._uncommitted.append(self.reservation(download.token, download.size))

    def commit(self, done: Sequence[Download]) -> list[bool]:
        """Publishes downloads.

        Returns:
            for each whether it was published; not so when its claim was lost.
        """
        answers = self._pool.commit(done)
        self._live.difference_update(d.token for d in done)
        return answers

    # Space

    def reservation(self, token: str, size: int = 0) -> Reservation:
        """The reservation of the download that has the claim ``token``; empty, or of a file of ``size`` bytes
        that was not committed.
        """
        return Reservation(self._pool, token, size)

    def release_unused(self) -> None:
        """Gives back to the volume what is reserved and not in use."""
        session = self.id
        try:
            self._pool.release_unused()
        except SessionLostError:
            self.renew(session)


def is_evictor_token(token: str) -> bool:
    """Whether a claim's token is an evictor's: the entry will be removed, not downloaded."""
    return _EVICTOR_TOKEN.search(token) is not None
