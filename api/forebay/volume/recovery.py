"""Bringing index and disk back together after a crash, while the cache serves.

A process was killed: its session ends, and a process that notices settles its claims: files that were
published just before the kill are kept, partial files removed, reserved bytes freed. Redis was started
empty, or lost its last moments: `Recovery.run` counts what lies on the volume before anything more is
written, so that the limit holds, and `forebay.volume.sweep` then takes the files into the index bit by bit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator

from forebay.index import Claimed, Entry, Index, StoredFile
from forebay.processes import is_identity_alive
from forebay.volume.files import Files
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
    """

    def __init__(self, index: Index, files: Files, run_id: str) -> None:
        self._index = index
        self._files = files
        self._run_id = run_id
        self._connections_seen = 0
        self._complete = False
        self._session: Session | None = None
        self._session_seen = ""

    def follow(self, session: Session) -> None:
        """Renews this process's session, too, when Redis was started anew."""
        self._session, self._session_seen = session, session.id

    # Redis was started anew

    def check(self) -> None:
        """Accounts for what lies on the volume, if Redis may have been started anew since."""
        connections = self._index.connection.opened
        if connections == self._connections_seen:
            return
        run_id = self._index.connection.run_id()
        if run_id != self._run_id:
            self.run(run_id)
            if self._session is not None:
                self._session.renew(self._session_seen)
        self._session_seen = "" if self._session is None else self._session.id
        self._connections_seen = connections

    def run(self, run_id: str) -> None:
        """Accounts for what lies on the volume, unless that was done since Redis was started.

        Redis may have forgotten its last moments: which claims had ended, which bytes were reserved. So all
        sessions end, and their processes begin others; what they had under way is fetched again.

        Downloads wait for this, hits do not. Counting 100,000 files takes a fraction of a second.

        Args:
            run_id: tells this start of Redis from others.
        """
        index, layout = self._index, self._files.layout()
        self._run_id, self._complete = run_id, False
        # A lock of an earlier start may have come back with the server; it is not this one.
        lock = f"{index.keys.recovery}:{run_id}"
        while index.state.run_id() != run_id:
            with index.locks.hold(lock, _LOCK_SECONDS) as held:
                if held is None:
                    time.sleep(_LOCK_PAUSE_SECONDS)
                    continue
                for session in index.sessions.remembered():
                    self.reap(session)
                directories = (layout.media_dir, layout.temporary_dir)
                sizes = [size for directory in directories for _, size in files_below(directory)]
                published = index.entries.totals().published
                index.state.recovered(run_id, max(0, sum(sizes) - published))
                if not sizes and not published:
                    # A new volume: there is nothing to compare.
                    index.state.note_upkeep("swept", time.time())
                # Redis may have forgotten that a lock was given back.
                index.locks.drop(index.keys.maintenance, index.keys.evictor)

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
        path = self._files.locate(entry) if self.may_hold_unknown() else None
        if path is None:
            return ""
        try:
            file = describe(entry, path)
        except FileNotFoundError:
            return ""
        self._index.entries.adopt([file], counted=True, token=token)
        return file.value

    # A process has ended

    def reap_if_gone(self, answer: Claimed) -> bool:
        """Cleans up after the holder of a claim, if its process has ended; returns whether it has."""
        holder = answer.holder.rpartition(".")[0]
        if answer.holder_alive and is_identity_alive(holder):
            return False
        self.reap(holder)
        return True

    def reap_ended(self) -> int:
        """Cleans up after every session that has expired, or whose process is known to be gone."""
        sessions = self._index.sessions.all()
        ended = [session for session, seconds in sessions if seconds <= 0 or not is_identity_alive(session)]
        for session in ended:
            log.info(
                "cleaning up session %s: its process has ended, or lost contact with Redis",
                session,
            )
            self.reap(session)
        return len(ended)

    def reap(self, session: str) -> None:
        """Cleans up after a session that has ended. To do so twice, or in two processes at once, does no
        harm."""
        for entry, token in self._index.claims.all().items():
            if token.rpartition(".")[0] == session:
                self._settle(entry, token)
        for name in self._files.temporaries():
            if name.startswith(session + "."):
                self._files.remove_temporary(name)
        self._index.sessions.reap(session)

    def _settle(self, entry: str, token: str) -> None:
        """Ends one claim of a session that is no more."""
        # Without its partial file a late owner can no longer publish: its rename fails.
        self._files.remove_temporary(token)
        path = self._files.locate(entry)
        [known] = self._index.entries.values([entry])
        if path is None:
            if known is not None:
                self._index.entries.forget([(entry, known.format())], token)
        elif not is_evictor_token(token):
            with contextlib.suppress(FileNotFoundError):
                self._index.entries.adopt([describe(entry, path)], token=token)
        self._index.claims.release([(entry, token)])


def describe(entry: str, path: str) -> StoredFile:
    """Describes a file for the index.

    Raises:
        FileNotFoundError: there is none.
    """
    found = os.stat(path)
    return StoredFile(
        entry, found.st_size, found.st_atime, Entry(found.st_size, "", int(found.st_ctime)).format()
    )


def files_below(directory: str) -> Iterator[tuple[str, int]]:
    """Every file below ``directory`` with its size in bytes."""
    try:
        with os.scandir(directory) as found:
            for item in found:
                try:
                    if item.is_dir(follow_symlinks=False):
                        yield from files_below(item.path)
                    else:
                        yield item.path, item.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return
