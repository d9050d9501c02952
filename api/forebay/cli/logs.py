"""The log of a worker: lines for people, or JSON lines."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Lines(logging.Formatter):
    """``2026-11-22 21:05:01 INFO     message``; other packages' messages begin with their name."""

    def format(self, record: logging.LogRecord) -> str:
        name = "" if record.name.startswith("forebay") else f"{record.name}: "
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        text = f"{when} {record.levelname:<8} {name}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """One JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        value = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            value["exception"] = self.formatException(record.exc_info)
        return json.dumps(value, ensure_ascii=False)


def log_worker(formatter: logging.Formatter, verbose: int) -> None:
    """Sets up a worker's log, instead of Celery.

    Args:
        formatter: JSON goes to stdout, everything else to stderr.
        verbose: 1 for what Celery does, 2 for everything.
    """
    from celery import signals

    handler = logging.StreamHandler(sys.stdout if isinstance(formatter, JsonLines) else sys.stderr)
    handler.setFormatter(formatter)

    def set_up(**_: Any) -> None:
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(_LEVELS[min(verbose, 2)])
        for name in ("forebay", "forebay_worker"):
            logging.getLogger(name).setLevel(logging.DEBUG if verbose > 1 else logging.INFO)

    # Celery says a few things there, past every log.
    sys.__stdout__ = sys.__stderr__  # type: ignore[misc]
    # Meant for those who accept pickles; nothing but JSON is accepted here.
    warnings.filterwarnings("ignore", message=".*superuser privileges")
    signals.setup_logging.connect(set_up, weak=False)
