"""Starting the embedded server while the process that needs it does something else."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


class EarlyStart:
    """Finds the server of a cache directory, or starts it, in a thread.

    A start takes 0.1 s in other processes; this one has modules to import meanwhile.

    Args:
        start: makes sure that the server runs, and returns its URL.

    Attributes:
        start: as given.
    """

    def __init__(self, start: Callable[[], str]) -> None:
        self.start = start
        self._url = ""
        self._error: BaseException | None = None
        self._ended = threading.Event()
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name="forebay-start", daemon=True).start()

    @property
    def is_under_way(self) -> bool:
        """Whether there is no answer yet."""
        return not self._ended.is_set()

    def url(self) -> str:
        """The server's URL; waits for it.

        Raises:
            VolumeError, IndexUnavailableError, ConfigError: as ``start``.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._url

    def _run(self) -> None:
        try:
            self._url = self.start()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
