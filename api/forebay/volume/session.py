"""One process's session with an index: its claims, and the bytes that it has reserved.

Everything that a process holds in the index hangs on its session, and ends with it: the session is
prolonged by a heartbeat, and whoever finds it expired cleans up after it. A process whose session
was lost (it was paused for too long, say) begins another one; what it held before is void, and it
can tell so by its own clock before it publishes anything.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from forebay.index import Claimed, Download, Index, Reservation, SessionLostError

_EVICTOR_TOKEN = re.compile(r"\.e\d+\Z")
# Reserving in blocks saves a round trip for nearly every object.
_LARGEST_BLOCK = 32 << 20


def clock() -> float:
    """Seconds on a clock that never jumps, and goes on while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Session:
    """A session of this process; safe to use from many threads.

    Args:
        index: the volume's index.
        ttl: how long the session outlives its last heartbeat, in seconds.
        limit: the cache's size in bytes, ``None`` for no limit.
    """

    def __init__(self, index: Index, ttl: float, limit: int | None) -> None:
        self._index = index
        self._ttl = ttl
        self._limit = limit
        self._block = _LARGEST_BLOCK if limit is None else min(_LARGEST_BLOCK, limit // 64)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        # The tokens of claims that somebody in this process answers for.
        self._live: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self.id = _new_id()
        self._held = 0
        self._used = 0
        self._live.clear()
        sent = clock()
        self._index.begin(self.id, self._ttl)
        self.deadline = sent + self._ttl

    def evictor_token(self) -> str:
        """A token for one round of eviction."""
        return f"{self.id}.e{next(self._numbers)}"

    def owns(self, token: str) -> bool:
        """Whether a claim with ``token`` can still be ours, by our own clock alone."""
        return token.startswith(self.id + ".") and clock() < self.deadline

    def beat(self) -> None:
        """Prolongs the session, or begins a new one where it was lost."""
        sent = clock()
        if self._index.beat(self.id, self._ttl):
            self.deadline = sent + self._ttl
        else:
            self.renew(self.id)

    def renew(self, lost: str) -> None:
        """Begins another session in place of the ``lost`` one, unless that has been done."""
        with self._lock:
            if self.id == lost:
                self._begin()

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
                answers = self._index.claim(session, wanted, always=always)
            except SessionLostError:
                self.renew(session)
                continue
            except BaseException:
                # Whether the claims were made is not known; whoever meets one of them, gives it back.
                self._live.difference_update(token for _, token in wanted)
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
            self._index.release(orphans)
            self.release([pair for pair, a in zip(wanted, answers, strict=True) if a.granted])

    def release(self, claims: Sequence[tuple[str, str]]) -> None:
        """Gives claims (entry and token) back; those that have been lost meanwhile are left alone."""
        self._live.difference_update(token for _, token in claims)
        self._index.release(claims)

    def claim_to_evict(self, entries: Sequence[str]) -> tuple[str, list[Claimed]]:
        """Claims entries that are to be removed; all of them with one token."""
        token = self.evictor_token()
        while True:
            session = token.rpartition(".")[0]
            try:
                return token, self._index.claim(session, [(e, token) for e in entries], always=True)
            except SessionLostError:
                self.renew(session)
                token = self.evictor_token()

    def take_held(self, size: int, token: str) -> bool:
        """Takes ``size`` bytes of what is reserved already; false where that is not enough.

        Raises:
            SessionLostError: as `take`.
        """
        with self._lock:
            if not token.startswith(self.id + "."):
                raise SessionLostError
            if self._held - self._used < size:
                return False
            self._used += size
            return True

    def take(self, size: int, token: str) -> Reservation | None:
        """Reserves ``size`` bytes for the download that has the claim ``token``.

        Returns:
            ``None`` when they are reserved, otherwise what stands in the way.

        Raises:
            SessionLostError: the session is gone, and with it every claim that the caller has.
        """
        with self._lock:
            if not token.startswith(self.id + "."):
                raise SessionLostError
            if self._held - self._used >= size:
                self._used += size
                return None
            least = self._used + size
            answer = self._reserve(least, least + self._block)
            if answer.granted < 0:
                return answer
            self._held = answer.granted
            self._used += size
            return None

    def give_back(self, size: int, token: str) -> None:
        """Ends what `take` began, without a file; void when the session of ``token`` is gone."""
        with self._lock:
            if token.startswith(self.id + "."):
                self._used -= size

    def trim(self) -> None:
        """Gives back what is reserved and not in use."""
        with self._lock:
            if self._held > self._used:
                self._held = self._reserve(self._used, self._used).granted

    def commit(self, done: Sequence[Download]) -> list[bool]:
        """Publishes downloads.

        Returns:
            for each whether it was published; not so when its claim was lost.
        """
        with self._lock:
            answers, self._held = self._index.commit(self.id, done)
            self._used -= sum(d.size for d in done if d.token.startswith(self.id + "."))
            self._live.difference_update(d.token for d in done)
            return answers

    def end(self) -> None:
        """Ends the session for this process: nothing that is still under way will be published."""
        self.deadline = float("-inf")

    def _reserve(self, least: int, most: int) -> Reservation:
        try:
            return self._index.reserve(self.id, least, most, self._limit)
        except SessionLostError:
            self._begin()
            raise


def is_evictor_token(token: str) -> bool:
    """Whether a claim's token is an evictor's: what it is on will be removed, not downloaded."""
    return _EVICTOR_TOKEN.search(token) is not None


def ended_here(session: str) -> bool:
    """Whether a session belongs to a process of this machine that exists no longer.

    False when that cannot be told: the session is then left to expire.
    """
    host, pid, started, _ = session.split("-")
    return host == _host() and _start_of(int(pid)) != started


def _new_id() -> str:
    return f"{_host()}-{os.getpid()}-{_start_of(os.getpid())}-{secrets.token_hex(4)}"


@cache
def _host() -> str:
    """What two processes have in common exactly when they can see each other's process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, space = socket.gethostname(), ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:10]


def _start_of(pid: int) -> str:
    """When a process was started, in clock ticks, so that its reused id is not taken for it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "" if os.path.exists("/proc/self/stat") else "?"
    except OSError:
        return "?"
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    # A zombie will do nothing more.
    return "" if state == "Z" else fields[18]
