"""A log file on the volume of what the App could not show: one line for each source and reason.

FiftyOne runs the App's server behind a pipe and shows its output only after it has died, so users would
not see its log.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import cache
from logging.handlers import RotatingFileHandler

from forebay.cache import MediaCache
from forebay.errors import ForebayError, SourceError
from forebay.fiftyone.adapter_log import log
from forebay.new_directories import make_directories
from forebay.uri import redact

_REPEAT_SECONDS = 600.0
_MAX_BYTES = 1 << 20

_lock = threading.Lock()
_last_reported: dict[tuple[str, str], float] = {}


def log_path(media_cache: MediaCache) -> str:
    """The log file of the App's servers on one volume."""
    return os.path.join(media_cache.engine.files.layout().private_dir, "app.log")


def report(media_cache: MediaCache, what: str, error: ForebayError, uri: str = "") -> None:
    """Logs a failure, unless the same was logged of the same source in the last minutes.

    Args:
        what: the beginning of the line, such as ``cannot show``; the error's text follows it.
        uri: the object's URI, for errors that do not have it.
    """
    shown = redact(error.uri if isinstance(error, SourceError) else uri)
    source = "/".join(shown.split("/", 3)[:3])
    key, now = (f"{what} {source}", error.kind), time.monotonic()
    with _lock:
        if now - _last_reported.get(key, float("-inf")) < _REPEAT_SECONDS:
            return
        _last_reported[key] = now
    minutes = f"{_REPEAT_SECONDS / 60:.0f} minutes"
    others = f"; further failures of {source} with this reason are not logged for {minutes}"
    text = f"{what} {error}{others if source else ''}"
    log.warning("%s", text)
    _logger(log_path(media_cache)).warning("%s", text)


@cache
def _logger(path: str) -> logging.Logger:
    made = logging.Logger("forebay.app")
    try:
        make_directories(os.path.dirname(path))
        handler: logging.Handler = RotatingFileHandler(
            path, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8"
        )
    except OSError as error:
        log.warning(
            "media that the App cannot show are not logged, because %s cannot be written: %s",
            path,
            error.strerror,
        )
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    made.addHandler(handler)
    return made
