"""Making way for the new version of an object that does not fit into the cache beside the old one."""

from __future__ import annotations

import os
import time
from enum import Enum

from forebay.index import Index
from forebay.index.records import AHEAD_SECONDS
from forebay.volume.files import Files, FoundFile
from forebay.volume.removal import Removal, Verdict
from forebay.volume.session import Session


class Way(Enum):
    """What became of the old copy."""

    # It is gone; or another process has it by now, so that the new version is to be claimed anew.
    CLEAR = "clear"
    LEASED = "leased"


def make_way(
    index: Index, session: Session, files: Files, entry: str, token: str, grace: float
) -> Way | float:
    """Removes the old copy of an entry, unless a lease keeps it. Only in its grace period, the claim stays.

    It leaves as everything does that is evicted. A lease that comes now waits for that; one that came
    before keeps the copy.

    Args:
        token: of the caller's claim on the entry.
        grace: for how many seconds a used entry is spared.

    Returns:
        what became of it; or for how many seconds it has to be waited until the grace period is over.

    Raises:
        OSError: it cannot be removed.
    """
    rest = _grace_left(files, entry, grace)
    if rest > 0:
        return rest
    # What a session downloads cannot be evicted.
    session.release([(entry, token)])
    removal = Removal(index, session, files)
    evictor, answers = removal.claim([entry])
    claimed = [entry] if answers[0].granted else []
    leased = removal.kept_by_leases(evictor, claimed)

    def judge(entry: str, found: FoundFile | None) -> Verdict:
        return Verdict.KEEP if leased or _grace_left(files, entry, grace) > 0 else Verdict.REMOVE

    removal.run(evictor, claimed, judge, spare_used=True)
    return Way.LEASED if leased else Way.CLEAR


def _grace_left(files: Files, entry: str, grace: float) -> float:
    path = files.locate(entry)
    try:
        left = 0.0 if path is None else os.stat(path).st_atime + grace - time.time()
    except FileNotFoundError:
        return 0.0
    return left if left <= grace + AHEAD_SECONDS else 0.0
