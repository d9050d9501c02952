"""Comparing every file with the index, and every entry with the disk."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

from forebay.index import Index, batches
from forebay.volume.files import Files, FoundFile
from forebay.volume.recovery import describe
from forebay.volume.removal import Removal, Verdict

log = logging.getLogger(__name__)


class Sweep:
    """Takes files into the index, and drops entries without a file, bit by bit.

    Args:
        index: the volume's index.
        files: the volume's files.
        removal: removes damaged files.
    """

    def __init__(self, index: Index, files: Files, removal: Removal) -> None:
        self._index = index
        self._files = files
        self._removal = removal

    def run(self, keep_lock: Callable[[], object]) -> tuple[int, int]:
        """Sweeps the whole volume.

        Args:
            keep_lock: called after every batch, to extend the caller's lock.

        Returns:
            how many files were taken into the index, and how many entries were dropped because their files
            are missing or damaged.
        """
        index, layout = self._index, self._files.layout()
        recovery = index.state.recovery()
        adopted = dropped = 0
        # Entries with a file that is claimed, and so was left to the owner of the claim.
        left: list[str] = []
        for batch in batches(self._files.stored()):
            found = []
            for path, _ in batch:
                entry = layout.entry(path)
                if entry is not None:
                    with contextlib.suppress(OSError):
                        found.append(describe(entry, path))
            known = index.entries.values([file.entry for file in found])
            pairs = list(zip(found, known, strict=True))
            unknown = [file for file, value in pairs if value is None]
            adopted += index.entries.adopt(unknown, counted=True)
            left += self._without_value([file.entry for file in unknown])
            dropped += self._remove_damaged(
                [file.entry for file, value in pairs if value is not None and value.size != file.size]
            )
            keep_lock()
        for page in index.entries.scan():
            gone = [(entry, value) for entry, value in page if not self._files.is_there(entry)]
            dropped += index.entries.forget(gone)
            keep_lock()
        self._remove_strays()
        # What is left is not the cache's (a user's notes, say): it stays where it is, and stays counted.
        foreign = sum(size for path, size in self._files.stored() if layout.entry(path) is None)
        # Were such a file no longer counted, and its claim's owner did nothing about it, others would use its
        # space.
        if not any(map(self._files.is_there, self._without_value(left))):
            index.state.completed(recovery, foreign)
        return adopted, dropped

    def _without_value(self, entries: Sequence[str]) -> list[str]:
        """Those of the entries that the index does not have."""
        known = zip(entries, self._index.entries.values(entries), strict=True)
        return [entry for entry, value in known if value is None]

    def _remove_damaged(self, entries: Sequence[str]) -> int:
        """Removes files that do not have the size that they had when they were published: a machine that
        lost its power leaves such. Returns how many there were."""
        if not entries:
            return 0

        def judge(entry: str, found: FoundFile | None) -> Verdict:
            # With the claim in hand: it may have been downloaded again since.
            [known] = self._index.entries.values([entry])
            if found is None or known is None or found.status.st_size == known.size:
                return Verdict.KEEP
            log.warning("%s is damaged: it is removed, and downloaded again when it is needed", found.path)
            return Verdict.REMOVE

        token, answers = self._removal.claim(entries)
        claimed = [entry for entry, answer in zip(entries, answers, strict=True) if answer.granted]
        return len(self._removal.run(token, claimed, judge, put_back_at=0.0).entries)

    def _remove_strays(self) -> None:
        """Removes partial files of sessions that Redis does not know."""
        known = {session for session, _ in self._index.sessions.all()}
        for name in self._files.temporaries():
            if name.rpartition(".")[0] not in known:
                self._files.remove_temporary(name)
