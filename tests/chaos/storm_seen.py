"""What a storm has done, and what it saw that must never be."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter


class Seen:
    """Counts, the history of faults, and what was wrong; any thread may add to it.

    Attributes:
        faults: how many were injected, of each kind.
        work: what programs and workers did.
        wrong: what must never be, each with the faults right before it.
    """

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.work: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._history: list[str] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def fault(self, kind: str, what: str = "", times: int = 1) -> None:
        """A fault was injected."""
        with self._lock:
            self.faults[kind] += times
            self._history.append(f"{time.monotonic() - self._began:7.1f} s  {kind} {what}".rstrip())

    def note(self, what: str) -> None:
        """Something else that whoever reads the history must know, such as the end of a fault."""
        with self._lock:
            self._history.append(f"{time.monotonic() - self._began:7.1f} s    {what}")

    def violation(self, text: str) -> None:
        """Something was seen that must never be."""
        with self._lock:
            now = time.monotonic() - self._began
            before = "".join(f"\n    {line}" for line in self._history[-12:])
            self.wrong.append(f"at {now:.1f} s: {text}\n  the faults before it:{before}")
        # Who watches a storm of an hour need not wait for its end.
        print(f"WRONG at {now:.1f} s: {text}", file=sys.stderr, flush=True)
