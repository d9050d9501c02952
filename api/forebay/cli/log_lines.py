"""The log of a worker: lines for people on stderr, or JSON lines."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TextIO

from forebay import logs

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def log_worker(format: logs.LogFormat, stream: TextIO, verbose: int) -> None:
    """Set up a worker's log in place of Celery's own.

    Args:
        verbose: 1 for Celery's messages, 2 for everything.
    """
    # Imported here: Celery takes long to import, and only workers have its signals.
    from celery import signals

    def set_up(**_: object) -> None:
        log_supervisor(format, stream, verbose)

    # Celery prints messages about its shutdown there, past every log.
    sys.__stdout__ = _Nowhere() if format == "json" else sys.__stderr__  # type: ignore[misc,assignment]
    # The warning concerns pickle; only JSON is accepted here.
    warnings.filterwarnings("ignore", message=".*superuser privileges")
    signals.setup_logging.connect(set_up, weak=False)


def log_supervisor(format: logs.LogFormat, stream: TextIO, verbose: int) -> None:
    """Set up the log of a process that does not run Celery; the arguments are those of `log_worker`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.make_formatter(format))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[min(verbose, 2)])
    for name in ("forebay", "forebay_worker"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    logs.quieten()


class _Nowhere:
    """Discards text that is not JSON; without a file descriptor, so that Celery does not replace it."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
