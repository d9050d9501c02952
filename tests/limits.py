"""What lies below a cache directory, summed again and again."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def bytes_below(directory: Path) -> int:
    """The sizes of all files below a directory, but for the record that says whose the volume is."""
    total = 0
    pending = [str(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        pending.append(item.path)
                    elif item.name != "volume.json":
                        try:
                            total += item.stat().st_size
                        except FileNotFoundError:
                            continue
        except FileNotFoundError:
            continue
    return total


class Watcher:
    """Sums a directory's bytes every 10 ms, and keeps the largest sum."""

    def __init__(self, directory: Path) -> None:
        self.largest = 0
        self.looks = 0
        self._directory = directory
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stopped.wait(0.01):
            self.largest = max(self.largest, bytes_below(self._directory))
            self.looks += 1

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
