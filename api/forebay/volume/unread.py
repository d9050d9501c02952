"""Prefetched files whose path was given to no caller since: they need no grace period."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

_MAX_ENTRIES = 100_000


class UnreadPrefetches:
    """Such files of this process; safe to use from many threads.

    A caller that is given a path marks the file, which changes its status (`st_ctime`); reading does not.
    """

    def __init__(self) -> None:
        self._status: dict[str, int] = {}

    def note(self, entry: str, path: str, used: float) -> None:
        """Remembers a file that has just appeared, with ``used`` as its time of access."""
        with contextlib.suppress(OSError):
            found = os.stat(path)
            # Otherwise it has been marked already, or the file system keeps no exact times.
            if found.st_atime_ns == int(used * 1e9):
                self._status.pop(entry, None)
                self._status[entry] = found.st_ctime_ns
        if len(self._status) > _MAX_ENTRIES:
            self.forget(list(self._status)[:1])

    def entries(self) -> list[str]:
        """Entries that may still be unread, the first to be fetched first."""
        return list(self._status)

    def holds(self, entry: str, path: str) -> bool:
        """Whether a file is still unread."""
        try:
            return self._status.get(entry) == os.stat(path).st_ctime_ns
        except OSError:
            return False

    def forget(self, entries: Iterable[str]) -> None:
        """Forgets entries that are gone, or have been read."""
        for entry in entries:
            self._status.pop(entry, None)
