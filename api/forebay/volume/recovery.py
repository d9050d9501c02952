"""Bringing index and disk back together after a crash, while the cache serves.

A process was killed: its session ends, and a process that notices settles its claims: files that were
published just before the kill are kept, partial files removed, reserved bytes freed. Redis was started
empty, or lost its last moments: `Recovery.run` counts what lies on the volume before anything more is
written, so that the limit holds, and `forebay.volume.sweep` then takes the files into the index bit by bit.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable

from forebay.errors import VolumeError
from forebay.index import Claimed, Entry, Index, StoredFile
from forebay.processes import is_identity_alive
from forebay.volume import fence
from forebay.volume.block_files import blocks_of
from forebay.volume.files import Files
from forebay.volume.leaving import WayOut
from forebay.volume.session import Session, is_evictor_token

log = logging.getLogger(__name__)

_LOCK_SECONDS = 30.0
_LOCK_PAUSE_SECONDS = 0.02


class Recovery:
    """Keeps the index of one volume true to its files, whatever ended or was started anew.

    Args:
        index: the volume's index.
        files: the volume's files.
        run_id: the start of Redis that this process has seen, see `Connection.check`.
        join: makes sure that index and directory belong to each other, also where the index is empty.
    """

    def __init__(self, index: Index, files: Files, run_id: str, join: Callable[[], object]) -> None:
        self._index = index
        self._files = files
        self._run_id = run_id
        self._join = join
        self._way_out = WayOut(files)
        self._connections_seen = 0
        self._complete = False
        self._fence = ""
        self._is_without_fence = False
        self._session: Session | None = None
        self._session_seen = ""

    def follow(self, session: Session) -> None:
        """Renews this process's session, too, when Redis was started anew."""
        self._session, self._session_seen = session, session.id

    # Redis was started anew

    def check(self, *, ask: bool = False) -> bool:
        """Accounts for what lies on the volume, if Redis may have been started anew, or have lost its data.

        Args:
            ask: whether Redis is asked for that also on the same connection.

        Returns:
            whether that was so.
        """
        connections = self._index.connection.opened
        if connections == self._connections_seen and not ask:
            return False
        run_id = self._index.connection.run_id()
        is_lost = run_id != self._run_id or not self._index.state.is_whole(run_id) or self.is_elsewhere()
        if is_lost:
            self.run(run_id)
            if self._session is not None:
                self._session.renew(self._session_seen)
        self._session_seen = "" if self._session is None else self._session.id
        self._connections_seen = connections
        return is_lost

    def begin_in(self) -> tuple[str, str]:
        """The start of Redis for which the volume's files are counted, which they are by now; and the fence
        behind which a session begins."""
        # Another process may have recovered the volume, and not have indexed it yet.
        self._complete = False
        self.run(self._index.connection.run_id())
        return self._run_id, self._fence

    def stands(self, name: str) -> bool:
        """Whether a fence still stands.

        Raises:
            OSError: it cannot be told.
        """
        return fence.stands(self._files.layout(), name)

    def is_elsewhere(self) -> bool:
        """Whether the volume was counted for another server since, which has taken the place of ours."""
        try:
            return fence.standing(self._files.layout(), self._run_id) is None
        except VolumeError:
            # Another machine has the directory, and its processes look after it.
            return False

    def catch_up(self) -> None:
        """Goes to the server for which the volume was counted last, where that is another one by now."""
        with contextlib.suppress(OSError, VolumeError):
            # Who cannot write the volume is told so when it must.
            if self.is_elsewhere():
                self.check(ask=True)

    def run(self, run_id: str) -> None:
        """Accounts for what lies on the volume, unless that was done since Redis was started or emptied.

        Redis may have forgotten its last moments: which claims had ended, which bytes were reserved. So all
        sessions end, and their processes begin others; what they had under way is fetched again. None of it
        can appear or grow any more, so that it need not be counted.

        Downloads wait for this, hits do not. Counting 100,000 files takes a fraction of a second.

        Args:
            run_id: tells this start of Redis from others.
        """
        index, layout = self._index, self._files.layout()
        if fence.standing(layout, run_id) is None:
            # Where it fails over, another server may have taken its place.
            index.connection.look_again()
            run_id = index.connection.run_id()
        if run_id != self._run_id:
            self._run_id, self._complete = run_id, False
        # A lock of an earlier start may have come back with the server; it is not this one.
        lock = f"{index.keys.recovery}:{run_id}"
        while not self._is_counted():
            self._complete = False
            with index.locks.hold(lock, _LOCK_SECONDS) as held:
                if held is None:
                    time.sleep(_LOCK_PAUSE_SECONDS)
                    continue
                if self._is_counted():
                    break
                if index.state.identity()[0] is None:
                    self._join()
                # From here to the end, no session begins, claims or reserves.
                index.state.forget_recovery()
                # Without one, the disk takes no more files: nothing is written that would have to be counted.
                self._is_without_fence = not fence.put_up(layout, run_id)
                for temporary in self._files.temporaries():
                    self._files.remove_temporary(temporary)
                for session in index.sessions.remembered():
                    self.reap(session)
                for token in self._way_out.tokens():
                    self._way_out.dismiss(token, ())
                files = (self._files.stored(), self._files.unfinished())
                found = sum(size for each in files for _, size in each)
                # Redis may have forgotten that a lock was given back.
                index.locks.drop(index.keys.maintenance, index.keys.evictor)
                if index.state.recovered(run_id, lock, held.token, found) and index.state.is_complete():
                    # A new volume: there is nothing to compare.
                    index.state.note_upkeep("swept", time.time())

    def _is_counted(self) -> bool:
        """Whether the files were counted for the server that is asked now, and for no other one since."""
        found = fence.standing(self._files.layout(), self._run_id)
        self._fence = found or ""
        stands = bool(found) or (found == "" and self._is_without_fence)
        return stands and self._index.state.is_whole(self._run_id)

    def may_hold_unknown(self) -> bool:
        """Whether complete files may lie on the volume that the index does not know yet."""
        self._complete = self._complete or self._index.state.is_complete()
        return not self._complete

    def adopt(self, entry: str, token: str) -> str:
        """Takes the file of an entry into the index that may lie on the volume without its knowing.

        The file is complete, or it would not have its name.

        Args:
            token: of the caller's claim on the entry.

        Returns:
            the value of the entry; empty where there is no such file.
        """
        try:
            path = self._files.locate(entry) if self.may_hold_unknown() else None
            if path is None:
                return ""
            file = describe(entry, path)
        except (OSError, VolumeError):
            return ""
        self._index.entries.adopt([file], counted=True, token=token)
        return file.value

    def blocks_of(self, entries: Iterable[str]) -> list[str]:
        """The blocks that lie on the volume of objects that are not cached as a whole.

        Of a volume that another machine has, none: they are seen on that machine only.
        """
        try:
            return [block for entry in entries for block in blocks_of(self._files, entry)]
        except VolumeError:
            return []

    # A process has ended

    def reap_if_gone(self, answer: Claimed) -> bool:
        """Cleans up after the holder of a claim, if its process has ended; returns whether it has."""
        holder = answer.holder.rpartition(".")[0]
        return not (answer.holder_alive and is_identity_alive(holder)) and self._reap_ended(holder)

    def reap_ended(self) -> int:
        """Cleans up after every session that has expired, whose process is known to be gone, or of which
        Redis has forgotten all but its claims and reservations."""
        remembered = self._index.sessions.remembered()
        remembered |= {token.rpartition(".")[0] for token in self._way_out.tokens()}
        # Asked for afterwards: whatever claims or reserves is among them.
        sessions = dict(self._index.sessions.all())
        ended = [
            session for session, seconds in sessions.items() if seconds <= 0 or not is_identity_alive(session)
        ]
        ended += remembered - sessions.keys()
        return sum(map(self._reap_ended, ended))

    def _reap_ended(self, session: str) -> bool:
        """Cleans up after a session that has ended; false where it was extended a moment ago.

        A process that was paused may go on at any moment. Were its session extended while it is cleaned up
        after, it would write what is not counted.
        """
        if not self._index.sessions.close(session, is_gone=not is_identity_alive(session)):
            return False
        log.info("cleaning up session %s: its process has ended, or lost contact with Redis", session)
        self.reap(session)
        return True

    def reap(self, session: str) -> None:
        """Cleans up after a session that has ended. To do so twice, or in two processes at once, does no
        harm."""
        self._index.sessions.close(session, is_gone=True)
        claimed: dict[str, list[str]] = {
            token: [] for token in self._way_out.tokens() if _is_of(token, session)
        }
        for entry, token in self._index.claims.all().items():
            if _is_of(token, session):
                claimed.setdefault(token, []).append(entry)
        for token, entries in claimed.items():
            self._end_claims(token, entries)
        for name in self._files.temporaries():
            if name.startswith(session + "."):
                self._files.remove_temporary(name)
        self._index.sessions.reap(session)

    def settle(self, claims: Iterable[tuple[str, str]]) -> None:
        """Ends claims (entry and token) that this process has abandoned; what is in its place, stays."""
        for entry, token in claims:
            self._settle(entry, token)

    def dismiss(self, tokens: Iterable[str]) -> None:
        """Ends the claims of evictors that do not end them themselves; what they have not removed yet, stays.

        Raises:
            OSError, VolumeError: this process cannot.
        """
        wanted: dict[str, list[str]] = {token: [] for token in tokens}
        for entry, token in self._index.claims.all().items():
            if token in wanted:
                wanted[token].append(entry)
        for token, entries in wanted.items():
            self._end_claims(token, entries)

    def _end_claims(self, token: str, entries: list[str]) -> None:
        if is_evictor_token(token):
            self._way_out.dismiss(token, entries)
        for entry in entries:
            self._settle(entry, token)

    def _settle(self, entry: str, token: str) -> None:
        """Ends one claim whose owner does nothing more about it."""
        # Without its partial file a late owner can no longer publish: its rename fails.
        self._files.remove_temporary(token)
        try:
            path = self._files.locate(entry)
        except VolumeError:
            # Its file may be there, and stays counted.
            self._index.claims.release([(entry, token)])
            return
        [known] = self._index.entries.values([entry])
        if path is None:
            if known is not None:
                self._index.entries.forget([(entry, known.format())], token)
        elif not is_evictor_token(token):
            with contextlib.suppress(OSError):
                self._index.entries.adopt([describe(entry, path)], token=token)
        self._index.claims.release([(entry, token)])


def _is_of(token: str, session: str) -> bool:
    return token.rpartition(".")[0] == session


def describe(entry: str, path: str) -> StoredFile:
    """Describes a file for the index.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, "there is something else", path)
    return StoredFile(
        entry, found.st_size, found.st_atime, Entry(found.st_size, "", int(found.st_ctime)).format()
    )
