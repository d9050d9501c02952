"""A worker's line to its supervisor: it tells when it is ready and what it counted, and ends with it.

`forebay_worker.supervisor` holds the other end. Only the standard library: a worker takes hold of its line
before it imports Celery.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection

# The descriptor of the line, and the supervisor's process id.
VARIABLE = "_FOREBAY_WORKER_LINE"
# What a worker counted after its last report is lost with a worker that is killed.
REPORT_SECONDS = 2.0
# A worker ends within 20 s of SIGTERM; one that does not is killed after so long.
STOP_SECONDS = 30.0
# How long a report waits for another one.
PATIENCE_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


class Line:
    """This end of the line.

    Args:
        connection: nothing ever arrives on it, so that it becomes readable when the supervisor has ended.
        told: whether the kernel sends SIGTERM to this process then.
    """

    def __init__(self, connection: Connection, *, told: bool) -> None:
        self._connection = connection
        self._told = told
        self._page: Callable[[], str] | None = None
        # Reports come from the main thread, too, and must not mix.
        self._sending = threading.Lock()
        threading.Thread(target=self._listen, name="forebay-line", daemon=True).start()

    def ready(self, page: Callable[[], str] | None) -> None:
        """Tells the supervisor that this worker is ready.

        Args:
            page: makes the page of metrics that is reported from now on; ``None`` for none.
        """
        self._send("")
        self._page = page
        self.report()

    def report(self) -> None:
        """Sends the metrics, if they are wanted."""
        if self._page is not None:
            # A page that cannot be made must not end the thread that listens.
            with contextlib.suppress(ValueError):
                self._send(self._page())

    def _send(self, text: str) -> None:
        # The handler of a signal may have interrupted its own thread in the middle of sending. It would wait
        # for ever, so this report is left out: the next one says the same.
        if not self._sending.acquire(timeout=PATIENCE_SECONDS):
            return
        try:
            # An error here means that the supervisor has ended: `_listen` notices that, and ends the worker.
            with contextlib.suppress(OSError):
                self._connection.send_bytes(text.encode())
        finally:
            self._sending.release()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while not self._connection.poll(REPORT_SECONDS):
                self.report()
        if not self._told:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)


@cache
def attach() -> Line | None:
    """This process's line, if a supervisor started it; the first call takes hold of it."""
    given = os.environ.pop(VARIABLE, None)
    if given is None:
        return None
    descriptor, supervisor = (int(part) for part in given.split(":"))
    # No child may hold the line open.
    os.set_inheritable(descriptor, False)
    told = _end_with_parent()
    if os.getppid() != supervisor:
        sys.exit("the supervisor of this worker has ended")
    return Line(Connection(descriptor), told=told)


def _end_with_parent() -> bool:
    """Has the kernel send SIGTERM to this process when its parent has ended; Linux alone can."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) == 0)
