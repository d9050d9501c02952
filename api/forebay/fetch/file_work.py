"""Which threads complete files: those that move bytes, or on a slow volume threads of its own.

On a disk of this machine a file is created, written, closed and renamed in 0.1 ms, which is not worth handing
over. On a network file system each of these steps waits for a server. The transport's threads must not wait,
because each has hundreds of requests in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

# A volume is slow where a file takes longer than this, and no longer slow below a quarter of it.
SLOW_SECONDS = 0.004
# The share of the newest file in the average.
_WEIGHT = 1 / 16
_THREADS = 32


class FileWork:
    """Completes the files of one volume, and finds out whether that is slow. Safe for threads, not for forks.

    Attributes:
        is_slow: whether files are to be completed by `submit`.
    """

    def __init__(self) -> None:
        self.is_slow = False
        self._average = 0.0
        self._pool: ThreadPoolExecutor | None = None

    def run(self, complete: Callable[[], object]) -> None:
        """Completes a file in the calling thread.

        Raises:
            BaseException: what ``complete`` raised.
        """
        began = time.perf_counter()
        complete()
        self._average += _WEIGHT * (time.perf_counter() - began - self._average)
        self.is_slow = self._average > (SLOW_SECONDS / 4 if self.is_slow else SLOW_SECONDS)

    def submit(self, complete: Callable[[], object], then: Callable[[BaseException | None], object]) -> None:
        """Completes a file in a thread of the volume's.

        Args:
            then: is called with what ``complete`` raised, or with ``None``, in that thread.
        """
        self._start().submit(_report, partial(self.run, complete), then)

    def look(self, at: Callable[[], object], then: Callable[[BaseException | None], object]) -> None:
        """Reads a file in a thread of the volume's, which does not tell whether the volume is slow.

        Args:
            then: as for `submit`.
        """
        self._start().submit(_report, at, then)

    def _start(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="forebay-files")
        return self._pool


def _report(work: Callable[[], object], then: Callable[[BaseException | None], object]) -> None:
    try:
        work()
    except BaseException as error:
        then(error)
    else:
        then(None)
