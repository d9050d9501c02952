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
from forebay.index import Claimed, Download, Index, SessionLostError
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
        ttl: how long the session outlives its last heartbeat, in seconds.
        limit: the cache's size in bytes, ``None`` for no limit.
        before_reserving: called before bytes are reserved.
        is_disk_short: whether so many more bytes would leave too little space on the disk.
    """

    def __init__(
        self,
        index: Index,
        ttl: float,
        limit: int | None,
        before_reserving: Callable[[], object],
        is_disk_short: Callable[[int], bool],
    ) -> None:
        self._index = index
        self._ttl = ttl
        self._lock = threading.Lock()
        self.is_ended = False
        self._numbers = itertools.count(1)
        # The tokens of claims that threads of this process answer for.
        self._live: set[str] = set()
        # Claims that are to be given back once Redis can be reached.
        self._abandoned: set[tuple[str, str]] = set()
        self._pool = ReservationPool(index, limit, before_reserving, is_disk_short)
        self._begin()

    def _begin(self) -> None:
        session = f"{identity()}-{secrets.token_hex(4)}"
        self._live.clear()
        sent = clock()
        self._index.sessions.begin(session, self._ttl)
        self._pool.begin(session)
        self.id = session
        self.deadline = sent + self._ttl

    # Life

    def owns(self, token: str) -> bool:
        """Whether a claim with ``token`` can still be ours, by our own clock alone."""
        return token.startswith(self.id + ".") and clock() < self.deadline and token in self._live

    def extend(self) -> None:
        """Lets the session live on, or begins a new one where it was lost."""
        sent, session = clock(), self.id
        if self._index.sessions.extend(session, self._ttl):
            with self._lock:
                if self.id == session and not self.is_ended:
                    self.deadline = sent + self._ttl
        else:
            self.renew(session)
        if self._abandoned:
            claims = list(self._abandoned)
            self._index.claims.release(claims)
            self._abandoned.difference_update(claims)

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

    def claim(self, entries: Sequence[str], *, always: bool = False) -> list[tuple[str, Claimed]]:
        """Claims entries, each with a new token; where the session was lost, with a new one.

        A token names the session, and the partial file of the download.

        Args:
            always: claim entries that are published, too: they will be replaced.

        Returns:
            for each entry the token, and the index's answer.
        """
        while True:
            session = self.id
            wanted = [(entry, f"{session}.{next(self._numbers)}") for entry in entries]
            self._live.update(token for _, token in wanted)
            try:
                answers = self._index.claims.acquire(session, wanted, always=always)
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

    def claim_to_evict(self, entries: Sequence[str]) -> tuple[str, list[Claimed]]:
        """Claims entries that are to be removed; all of them with one token."""
        token = self.evictor_token()
        while True:
            session = token.rpartition(".")[0]
            try:
                wanted = [(entry, token) for entry in entries]
                return token, self._index.claims.acquire(session, wanted, always=True)
            except SessionLostError:
                self.renew(session)
                token = self.evictor_token()

    def evictor_token(self) -> str:
        """A token for one round of eviction, which ends with `disown`."""
        token = f"{self.id}.e{next(self._numbers)}"
        self._live.add(token)
        return token

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

    def abandon(self, claims: Sequence[tuple[str, str]]) -> None:
        """Gives claims back when the heartbeat reaches Redis; nothing is published for them any more."""
        self._live.difference_update(token for _, token in claims)
        self._abandoned.update(claims)

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
