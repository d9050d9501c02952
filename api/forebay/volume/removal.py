"""Removing files of entries: the one way in which anything leaves a volume.

Entries are claimed with an evictor's token, each is judged, its file unlinked, and the index told: so no
download and no other removal is at the same entry, and a process that is killed in between leaves a claim
that recovery settles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from forebay.errors import ForebayError
from forebay.index import Claimed, Index
from forebay.index.victims import GONE
from forebay.volume.files import Files
from forebay.volume.session import Session

log = logging.getLogger(__name__)

# So many files are remembered of which the log has that they cannot be removed.
_MAX_TOLD = 10_000


class Verdict(Enum):
    """The decision about an entry, just before its file is unlinked."""

    REMOVE = "remove"
    KEEP = "keep"
    # This entry and all that follow stay.
    STOP = "stop"


# An entry, and the path of its file (``None`` where it has none). A number keeps the entry, and is the access
# time that its file bears, which the index has not been told.
Judge = Callable[[str, "str | None"], "Verdict | float"]


@dataclass
class Removed:
    """The outcome of a removal.

    Attributes:
        entries: whose files are gone, in their order.
        touched: entries that turned out to have been used, with the access times of their files.
        stuck: entries whose files cannot be removed.
        freed: bytes of the entries that the index knew.
    """

    entries: list[str] = field(default_factory=list)
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
        self._told: set[str] = set()

    def claim(self, entries: Sequence[str]) -> tuple[str, list[Claimed]]:
        """Claims entries that may be removed, all with the token that is returned; and each one's answer."""
        return self._session.claim_to_evict(entries)

    def run(
        self,
        token: str,
        entries: Sequence[str],
        judge: Judge,
        *,
        put_back_at: float | None = None,
        is_last: bool = True,
    ) -> Removed:
        """Removes those of the claimed entries that are judged so, and ends the claims on all of them.

        Args:
            token: of the claims.
            put_back_at: the access time that the index notes, if it is a later one, for an entry whose file
                cannot be removed; a warning is logged, and the others are removed. ``None`` raises instead.
            is_last: whether no other call follows with this token.

        Raises:
            OSError: a file cannot be removed; those before it are gone.
        """
        done = Removed()
        try:
            for entry in entries:
                try:
                    verdict = self._judged(token, entry, judge)
                except OSError as error:
                    if put_back_at is None:
                        raise
                    done.stuck.append(entry)
                    self._tell(entry, error)
                    continue
                if verdict is Verdict.STOP:
                    break
                if verdict is Verdict.REMOVE:
                    done.entries.append(entry)
                elif isinstance(verdict, float):
                    done.touched[entry] = verdict
        finally:
            touched = ((entry, repr(mark)) for entry, mark in done.touched.items())
            gone = ((entry, GONE) for entry in done.entries)
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
                self._session.disown(token)
        return done

    def _judged(self, token: str, entry: str, judge: Judge) -> Verdict | float:
        """Judges one entry and unlinks its file.

        Raises:
            OSError: it cannot be removed.
        """
        verdict = judge(entry, self._files.locate(entry))
        if verdict is not Verdict.REMOVE:
            return verdict
        if not self._session.owns(token):
            # This process was paused for so long that its claims expired. Meanwhile a lease may have been
            # made that keeps the entry.
            return Verdict.STOP
        self._files.remove(entry)
        return Verdict.REMOVE

    def _tell(self, entry: str, error: OSError) -> None:
        """Warns that a file cannot be removed, once: it is tried again and again."""
        if entry not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(entry)
            log.warning("%s cannot be evicted: %s", error.filename, error.strerror)


def always(entry: str, path: str | None) -> Verdict:
    """Judges that every entry is to be removed."""
    return Verdict.REMOVE


def kept_by_leases(index: Index, entries: Iterable[str]) -> set[str]:
    """The entries among these that a lease keeps."""
    asked = list(entries)
    return {entry for entry, kept in zip(asked, index.leases.kept(asked), strict=True) if kept}
