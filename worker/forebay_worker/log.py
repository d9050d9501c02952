"""The log of a worker that plain Celery starts: as the settings say."""

from __future__ import annotations

import logging
import sys
import warnings

from celery import signals
from celery.exceptions import CPendingDeprecationWarning

from forebay import logs


def register(format: logs.LogFormat) -> None:
    """Writes Celery's log as JSON, where that is wanted; where it is not, the log is Celery's own, without
    secrets."""

    def set_up(loglevel: int | str | None = None, **_: object) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logs.make_formatter(format))
        logging.basicConfig(handlers=[handler], level=loglevel or logging.WARNING, force=True)
        logs.quieten()

    def clean(logger: logging.Logger, **_: object) -> None:
        # Celery formats the lines of every package, requests with their signatures among them.
        for handler in logger.handlers:
            handler.setFormatter(logs.CleanFormatter(handler.formatter))
        logs.quieten()

    def quieten(**_: object) -> None:
        # Celery announces other defaults whenever it has reached Redis again; here they are all set.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

    # Celery itself asks for these warnings, after it has set up its log.
    signals.worker_ready.connect(quieten, weak=False)
    if format == "json":
        signals.setup_logging.connect(set_up, weak=False)
    else:
        signals.after_setup_logger.connect(clean, weak=False)
        signals.after_setup_task_logger.connect(clean, weak=False)
