"""A heartbeat: a daemon thread that does the same few things again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)


class Heartbeat:
    """Runs tasks in their order every few seconds, until it is stopped.

    Whatever a task raises is logged, and ends this round: the next one begins anew. A task that must come
    last because nothing depends on it is the last of the list.

    Args:
        name: of the thread.
        interval: seconds from the end of one round to the next.
        tasks: what to run.
        what: what failed, as a log line says it.
    """

    def __init__(self, name: str, interval: float, tasks: Sequence[Callable[[], object]], what: str) -> None:
        self._name = name
        self._interval = interval
        self._tasks = tuple(tasks)
        self._what = what
        self._at_once = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, at_once: bool = False) -> None:
        """Starts the thread.

        Args:
            at_once: whether the first round comes now, rather than after one interval.
        """
        self._at_once = at_once
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it; waits for a round that is under way, for a few seconds."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)

    def round(self) -> None:
        """Runs each task once."""
        try:
            for task in self._tasks:
                task()
        except Exception as error:
            log.warning("%s failed: %s", self._what, error)

    def _run(self) -> None:
        if self._at_once:
            self.round()
        while not self._stopped.wait(self._interval):
            self.round()
