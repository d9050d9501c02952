"""What lies below a cache directory, summed again and again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path


def bytes_below(directory: Path) -> int:
    """The sizes of all files below a directory, but for the record that says whose the volume is."""
    return sum(status.st_size for status in _files(directory))


def _files(directory: Path) -> Iterator[os.stat_result]:
    pending = [str(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        pending.append(item.path)
                    elif item.name != "volume.json":
                        try:
                            yield item.stat()
                        except FileNotFoundError:
                            continue
        except FileNotFoundError:
            continue


class Watcher:
    """Sums a directory's bytes every 10 ms, and keeps the largest sum.

    A look takes a while, in which one file may go and another come that were never there together. So a sum
    has the files that two looks in a row have met unchanged: these all lay there between the two.
    """

    def __init__(self, directory: Path) -> None:
        self.largest = 0
        self.looks = 0
        self._directory = directory
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        before = self._look()
        while not self._stopped.wait(0.01):
            now = self._look()
            self.largest = max(self.largest, sum(before[file] for file in before.keys() & now.keys()))
            self.looks += 1
            before = now

    def _look(self) -> dict[tuple[int, int, int], int]:
        """The size of each file, by what stays when it is renamed and changes when it is written."""
        found = _files(self._directory)
        return {(file.st_ino, file.st_mtime_ns, file.st_size): file.st_size for file in found}

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
