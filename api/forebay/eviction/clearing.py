"""Clearing: removing entries that were named, or all of them, whenever they were used last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from forebay.backoff import Backoff
from forebay.errors import VolumeError
from forebay.index import Index, batches
from forebay.volume.recovery import Recovery
from forebay.volume.removal import Removal, Verdict, kept_by_leases


class Clearing:
    """Removes entries of one volume.

    Args:
        index: the volume's index.
        removal: removes the files.
        recovery: ends dead sessions.
    """

    def __init__(self, index: Index, removal: Removal, recovery: Recovery) -> None:
        self._index = index
        self._removal = removal
        self._recovery = recovery

    def clear(self, entries: Iterable[str] | None, *, force: bool = False) -> int:
        """Removes entries (all, where ``entries`` is ``None``); what is being downloaded stays.

        Args:
            force: also those that a lease keeps.

        Returns:
            how many were removed.

        Raises:
            VolumeError: a file cannot be removed.
        """
        pages: Iterable[list[str]]
        if entries is None:
            pages = ([entry for entry, _ in page] for page in self._index.entries.scan())
        else:
            pages = batches(dict.fromkeys(entries))
        removed = 0
        for page in pages:
            token, answers = self._removal.claim(page)
            claimed = [entry for entry, answer in zip(page, answers, strict=True) if answer.granted]
            # Asked for with the claims in hand: a lease that comes now waits for us.
            kept = set() if force else kept_by_leases(self._index, claimed)
            removed += self._remove(token, claimed, kept)
        return removed

    def drop(self, entries: Iterable[str]) -> None:
        """Removes entries whose objects have changed or gone, also those that a lease keeps.

        Waits for downloads of them that are under way: they may have begun before the change.

        Raises:
            VolumeError: a file cannot be removed.
        """
        pending, pause = list(dict.fromkeys(entries)), Backoff(0.01, 0.25)
        while pending:
            token, answers = self._removal.claim(pending)
            held = [(entry, a) for entry, a in zip(pending, answers, strict=True) if not a.granted]
            self._remove(token, [entry for entry, a in zip(pending, answers, strict=True) if a.granted])
            for _, answer in held:
                self._recovery.reap_if_gone(answer)
            pending = [entry for entry, _ in held]
            if pending:
                time.sleep(pause.next())

    def _remove(self, token: str, entries: Sequence[str], kept: Iterable[str] = ()) -> int:
        """Removes claimed entries but for those ``kept``; returns how many the index knew."""
        known = dict(zip(entries, self._index.entries.values(entries), strict=True))
        spared = set(kept)

        def judge(entry: str, path: str | None) -> Verdict:
            return Verdict.KEEP if entry in spared else Verdict.REMOVE

        try:
            done = self._removal.run(token, entries, judge)
        except OSError as error:
            raise VolumeError(
                f"{error.filename} cannot be removed: {error.strerror}", path=error.filename
            ) from None
        return sum(known[entry] is not None for entry in done.entries)
