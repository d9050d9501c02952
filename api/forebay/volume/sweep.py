"""Comparing every file with the index, and every entry with the disk."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence

from forebay.index import Index, batches
from forebay.volume.files import Files
from forebay.volume.recovery import describe, files_below
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
        adopted = dropped = 0
        for batch in batches(files_below(layout.media_dir)):
            found = []
            for path, _ in batch:
                entry = layout.entry(path)
                if entry is not None:
                    with contextlib.suppress(FileNotFoundError):
                        found.append(describe(entry, path))
            known = index.entries.values([file.entry for file in found])
            pairs = list(zip(found, known, strict=True))
            adopted += index.entries.adopt((file for file, value in pairs if value is None), counted=True)
            dropped += self._remove_damaged(
                [file.entry for file, value in pairs if value is not None and value.size != file.size]
            )
            keep_lock()
        for page in index.entries.scan():
            gone = [(entry, value) for entry, value in page if self._files.locate(entry) is None]
            dropped += index.entries.forget(gone)
            keep_lock()
        self._remove_strays()
        # What is left is not the cache's (a user's notes, say): it stays where it is, and stays counted.
        foreign = sum(size for path, size in files_below(layout.media_dir) if layout.entry(path) is None)
        index.state.completed(foreign)
        return adopted, dropped

    def _remove_damaged(self, entries: Sequence[str]) -> int:
        """Removes files that do not have the size that they had when they were published: a machine that
        lost its power leaves such. Returns how many there were."""
        if not entries:
            return 0

        def judge(entry: str, path: str | None) -> Verdict:
            # With the claim in hand: it may have been downloaded again since.
            [known] = self._index.entries.values([entry])
            if path is None or known is None:
                return Verdict.KEEP
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_size != known.size:
                    log.warning("%s is damaged: it is removed, and downloaded again when it is needed", path)
                    return Verdict.REMOVE
            return Verdict.KEEP

        token, answers = self._removal.claim(entries)
        claimed = [entry for entry, answer in zip(entries, answers, strict=True) if answer.granted]
        return len(self._removal.run(token, claimed, judge).entries)

    def _remove_strays(self) -> None:
        """Removes partial files of sessions that Redis does not know."""
        known = {session for session, _ in self._index.sessions.all()}
        for name in self._files.temporaries():
            if name.rpartition(".")[0] not in known and not name.startswith("probe."):
                self._files.remove_temporary(name)
