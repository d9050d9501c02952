"""Progress of a job in a notebook: one output that is replaced, so that what is saved is its last state."""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

from forebay.jobs.status import JobStatus

# Each state is a message to the browser; more than the eye sees would delay the notebook's other output.
_PAUSE_SECONDS = 0.2


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows what it displays."""
    # A kernel has imported it already; another process is not to wait for the import.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def draws_over(stream: TextIO) -> bool:
    """Whether what a stream shows can be replaced: it is a terminal, and not one that a notebook records.

    A command that a cell starts by ``!command`` has a terminal that keeps all that was drawn over.
    """
    recorded = "JPY_PARENT_PID" in os.environ or "inline" in os.environ.get("MPLBACKEND", "")
    return stream.isatty() and not recorded


class NotebookBar:
    """A bar and a line of text below the cell that runs now.

    Args:
        text: says how far a job is, beside the bar.
    """

    def __init__(self, text: Callable[[JobStatus], str]) -> None:
        self._text = text
        self._handle: Any = None
        self._written = 0.0
        self._waiting: JobStatus | None = None

    def show(self, status: JobStatus) -> None:
        """Replaces what is shown; what comes too soon after another waits for the next, or for `close`."""
        self._waiting = status
        if time.monotonic() - self._written >= _PAUSE_SECONDS:
            self._write(status)

    def close(self) -> None:
        """Shows the last state, which stays."""
        if self._waiting is not None:
            self._write(self._waiting)

    def _write(self, status: JobStatus) -> None:
        state = _drawn(status, self._text(status))
        if self._handle is None:
            # Imported here: only a notebook has it.
            display = import_module("IPython.display").display
            self._handle = display(state, raw=True, display_id=True)
        else:
            self._handle.update(state, raw=True)
        self._waiting, self._written = None, time.monotonic()


def _drawn(status: JobStatus, text: str) -> dict[str, str]:
    """The state in the forms that viewers of notebooks choose from."""
    done = status.total - status.pending
    bar = (
        f'<progress value="{done}" max="{max(status.total, 1)}" style="width: 12em; vertical-align: middle">'
    )
    return {"text/plain": text, "text/html": f"{bar}</progress> <code>{html.escape(text)}</code>"}
