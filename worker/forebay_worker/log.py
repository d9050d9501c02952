"""The log of a worker that plain Celery starts: as the settings say."""

from __future__ import annotations

import logging
import sys

from forebay import logs


def register(format: logs.Format) -> None:
    """Writes Celery's log as JSON, where that is wanted; where it is not, the log is Celery's own."""
    from celery import signals

    def set_up(loglevel: int | str | None = None, **_: object) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logs.formatter(format))
        logging.basicConfig(handlers=[handler], level=loglevel or logging.WARNING, force=True)
        logs.quieten()

    if format == "json":
        signals.setup_logging.connect(set_up, weak=False)
