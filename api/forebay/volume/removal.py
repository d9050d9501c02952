"""Removing files of entries: the one way in which anything leaves a volume.

Entries are claimed with an evictor's token, each is judged, its file unlinked, and the index told: so no
download and no other removal is at the same entry, and a process that is killed in between leaves a claim
that recovery settles.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from forebay.errors import ForebayError, VolumeError
from forebay.index import Claimed, Index, SessionLostError
from forebay.index.victims import ABSENT, GONE
from forebay.volume.files import Files, FoundFile
from forebay.volume.leaving import DismissedError, WayOut
from forebay.volume.session import Session

log = logging.getLogger(__name__)

# So many files are remembered of which the log has that they cannot be removed.
_MAX_TOLD = 10_000


class Verdict(Enum):
    """The decision about an entry, just before its file is unlinked."""

    REMOVE = "remove"
    # As above, but there is no file.
    ABSENT = "absent"
    KEEP = "keep"
    # This entry and all that follow stay.
    STOP = "stop"


# An entry, and its file (``None`` where it has none). A number keeps the entry, and is the access
# time that its file bears, which the index has not been told.
Judge = Callable[[str, "FoundFile | None"], "Verdict | float"]


@dataclass
class Removed:
    """The outcome of a removal.

    Attributes:
        entries: whose files are gone, in their order.
        absent: those of them that had none.
        touched: entries that turned out to have been used, with the access times of their files.
        stuck: entries whose files cannot be removed.
        freed: bytes of the entries that the index knew.
    """

    entries: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    touched: dict[str, float] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    freed: int = 0


class Removal:
    """Removes entries of one volume.

    Args:
        index: the volume's index.
        session: this process's session, whose claims are used.
        files: the volume's files.
    """

    def __init__(self, index: Index, session: Session, files: Files) -> None:
        self._index = index
        self._session = session
        self._files = files
        self._way_out = WayOut(files)
        self._told: set[str] = set()

    def begin(self) -> str:
        """A token for claims on entries that may be removed."""
        while True:
            token = self._session.evictor_token()
            self._way_out.open(token)
            if self._session.may_remove(token):
                return token
            # The volume was recovered, and who did so has not seen that directory.
            self.end(token)
            self._session.renew(token.rpartition(".")[0])

    def end(self, token: str) -> None:
        """Ends what `begin` began. The claims with the token have ended."""
        self._way_out.close(token)
        self._session.disown(token)

    def give_up(self, token: str, entries: Iterable[str]) -> None:
        """Ends `begin` where Redis went away before `run`: the heartbeat gives the claims back."""
        self._session.abandon([(entry, token) for entry in entries])
        self.end(token)

    def kept_by_leases(self, token: str, entries: Sequence[str]) -> set[str]:
        """The claimed entries that a lease keeps; a lease that comes after this waits for the removal."""
        try:
            leased = self._index.leases.kept(entries)
        except BaseException:
            self.give_up(token, entries)
            raise
        return {entry for entry, is_kept in zip(entries, leased, strict=True) if is_kept}

    def claim(self, entries: Sequence[str]) -> tuple[str, list[Claimed]]:
        """Claims entries that may be removed, all with the token that is returned; and each one's answer."""
        while True:
            token = self.begin()
            try:
                return token, self._session.claim_to_evict(entries, token)
            except SessionLostError:
                self.end(token)
                self._session.renew(token.rpartition(".")[0])
            except BaseException:
                # Whether the claims were made is not known.
                self.give_up(token, entries)
                raise

    def run(
        self,
        token: str,
        entries: Sequence[str],
        judge: Judge,
        *,
        put_back_at: float | None = None,
        spare_used: bool = False,
        is_last: bool = True,
    ) -> Removed:
        """Removes those of the claimed entries that are judged so, and ends the claims on all of them.

        Args:
            token: of the claims.
            put_back_at: the access time that the index notes, if it is a later one, for an entry whose file
                cannot be removed; a warning is logged, and the others are removed. ``None`` raises instead.
            spare_used: whether a file stays that was used after it was judged, up to the last moment.
            is_last: whether no other call follows with this token.

        Raises:
            OSError, VolumeError: a file cannot be removed; those before it are gone.
        """
        done = Removed()
        try:
            with self._files.beneath.visiting():
                self._judge_all(token, entries, judge, done, put_back_at, spare_used)
        finally:
            touched = ((entry, repr(mark)) for entry, mark in done.touched.items())
            gone = ((entry, ABSENT if entry in done.absent else GONE) for entry in done.entries)
            stuck = ((entry, repr(put_back_at)) for entry in done.stuck)
            settled = {*done.entries, *done.touched, *done.stuck}
            try:
                done.freed = self._index.victims.commit(token, [*gone, *touched, *stuck])
                self._index.claims.release([(entry, token) for entry in entries if entry not in settled])
            except ForebayError:
                self._session.abandon([(entry, token) for entry in entries])
                raise
            self._files.prune(done.entries)
            if is_last:
                self.end(token)
        return done

    def _judge_all(
        self,
        token: str,
        entries: Sequence[str],
        judge: Judge,
        done: Removed,
        put_back_at: float | None,
        spare_used: bool,
    ) -> None:
        for entry in entries:
            try:
                verdict = self._judged(token, entry, judge, spare_used)
            except (OSError, VolumeError) as error:
                if put_back_at is None:
                    raise
                done.stuck.append(entry)
                self._tell(entry, error)
                continue
            if verdict is Verdict.STOP:
                break
            if verdict is Verdict.ABSENT:
                done.absent.add(entry)
            if verdict in (Verdict.REMOVE, Verdict.ABSENT):
                done.entries.append(entry)
            elif isinstance(verdict, float):
                done.touched[entry] = verdict

    def _judged(self, token: str, entry: str, judge: Judge, spare_used: bool) -> Verdict | float:
        """Judges one entry and removes its file.

        Raises:
            OSError, VolumeError: it cannot be removed.
        """
        found = self._files.find(entry)
        was_there = found is not None
        verdict = judge(entry, found)
        if verdict is not Verdict.REMOVE:
            return verdict
        if found is not None and spare_used:
            with contextlib.suppress(FileNotFoundError):
                used = self._way_out.sign(found.path, found.status)
                if used is not None:
                    return used
        try:
            if not self._session.owns(token):
                # This process was paused for so long that its claims expired. Meanwhile a lease may have been
                # made that keeps the entry.
                raise DismissedError  # noqa: TRY301
            # A file may lie at its other place, too.
            while found is not None:
                self._way_out.remove(token, entry, found.path)
                found = self._files.find(entry, beyond=found.path)
        except DismissedError:
            if found is not None:
                self._way_out.take_sign_back(found.path)
            return Verdict.STOP
        except (OSError, VolumeError):
            if found is not None:
                self._way_out.take_sign_back(found.path)
            raise
        return Verdict.REMOVE if was_there else Verdict.ABSENT

    def _tell(self, entry: str, error: OSError | VolumeError) -> None:
        """Warns that a file cannot be removed, once: it is tried again and again."""
        if entry not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(entry)
            where, why = (error.filename, error.strerror) if isinstance(error, OSError) else (entry, error)
            log.warning("%s cannot be evicted: %s", where, why)


def always(entry: str, found: FoundFile | None) -> Verdict:
    """Judges that every entry is to be removed."""
    return Verdict.REMOVE
