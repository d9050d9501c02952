"""Running one function in several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable


def run_in_threads(function: Callable[[], None], count: int, name: str) -> None:
    """Runs ``function`` in ``count`` threads, the caller's among them, and waits for all of them.

    The threads are daemons, so that a program whose main thread ends does not wait for downloads; the
    executors of the standard library would.

    Raises:
        BaseException: the first that one of them raised.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, name=f"{name}-{n}", daemon=True) for n in range(1, count)]
    for thread in threads:
        thread.start()
    run()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
