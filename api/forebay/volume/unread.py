"""Files that were fetched ahead, and whose path nobody was given since: they need no grace period."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

_MOST = 100_000


class Untouched:
    """Such files of this process.

    Whoever gets a path marks the file, which changes its status (`st_ctime`); reading it does not.
    Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._status: dict[str, int] = {}

    def note(self, entry: str, path: str, used: float) -> None:
        """Notes a file that has just appeared, with ``used`` as its time of access."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = os.stat(path)
            # Otherwise somebody has marked it already, or the file system keeps no exact times.
            if found.st_atime_ns == int(used * 1e9):
                self._status.pop(entry, None)
                self._status[entry] = found.st_ctime_ns
        if len(self._status) > _MOST:
            self.forget(list(self._status)[:1])

    def entries(self) -> list[str]:
        """What may still be untouched, the first to be fetched first."""
        return list(self._status)

    def holds(self, entry: str, path: str) -> bool:
        """Whether a file is untouched."""
        try:
            return self._status.get(entry) == os.stat(path).st_ctime_ns
        except (FileNotFoundError, NotADirectoryError):
            return False

    def forget(self, entries: Iterable[str]) -> None:
        """Forgets entries that are gone, or have been touched."""
        for entry in entries:
            self._status.pop(entry, None)
