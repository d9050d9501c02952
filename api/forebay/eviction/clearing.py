"""Clearing: removing entries that were named, or all of them, whenever they were used last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from forebay.backoff import Backoff
from forebay.errors import VolumeError
from forebay.index import Index, batches
from forebay.volume.block_files import blocks_of
from forebay.volume.files import Files, FoundFile
from forebay.volume.recovery import Recovery
from forebay.volume.removal import Removal, Verdict


class Clearing:
    """Removes entries of one volume.

    Args:
        index: the volume's index.
        removal: removes the files.
        recovery: ends dead sessions.
        files: the volume's.
    """

    def __init__(self, index: Index, removal: Removal, recovery: Recovery, files: Files) -> None:
        self._index = index
        self._files = files
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
            pages = batches(self._with_blocks(entries))
        removed = 0
        for page in pages:
            token, answers = self._removal.claim(page)
            claimed = [entry for entry, answer in zip(page, answers, strict=True) if answer.granted]
            kept = set() if force else self._removal.kept_by_leases(token, claimed)
            removed += self._remove(token, claimed, kept)
        return removed

    def drop(self, entries: Iterable[str]) -> None:
        """Removes entries whose objects have changed or gone, also those that a lease keeps.

        Waits for downloads of them that are under way: they may have begun before the change.

        Raises:
            VolumeError: a file cannot be removed.
        """
        pending, pause = self._with_blocks(entries), Backoff(0.01, 0.25)
        while pending:
            token, answers = self._removal.claim(pending)
            held = [(entry, a) for entry, a in zip(pending, answers, strict=True) if not a.granted]
            self._remove(token, [entry for entry, a in zip(pending, answers, strict=True) if a.granted])
            for _, answer in held:
                self._recovery.reap_if_gone(answer)
            pending = [entry for entry, _ in held]
            if pending:
                time.sleep(pause.next())

    def _with_blocks(self, entries: Iterable[str]) -> list[str]:
        """Entries, each once, and those of their blocks."""
        named = dict.fromkeys(entries)
        for entry in list(named):
            named.update(dict.fromkeys(blocks_of(self._files, entry)))
        return list(named)

    def _remove(self, token: str, entries: Sequence[str], kept: Iterable[str] = ()) -> int:
        """Removes claimed entries but for those ``kept``; returns how many the index knew."""
        try:
            known = dict(zip(entries, self._index.entries.values(entries), strict=True))
        except BaseException:
            self._removal.give_up(token, entries)
            raise
        spared = set(kept)

        def judge(entry: str, _: FoundFile | None) -> Verdict:
            return Verdict.KEEP if entry in spared else Verdict.REMOVE

        try:
            done = self._removal.run(token, entries, judge)
        except OSError as error:
            raise VolumeError(
                f"{error.filename} cannot be removed: {error.strerror}", path=error.filename
            ) from None
        return sum(known[entry] is not None for entry in done.entries)
