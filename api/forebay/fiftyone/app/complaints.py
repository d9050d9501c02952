"""What the App could not show: one line for each source and reason, in a file on the volume.

FiftyOne runs the App's server behind a pipe and shows what it printed only when it has died, so that
nobody would see its log.
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
from forebay.fiftyone.log import log
from forebay.uri import redact

_AGAIN_SECONDS = 600.0
_LARGEST_BYTES = 1 << 20

_lock = threading.Lock()
_said: dict[tuple[str, str], float] = {}


def log_path(media_cache: MediaCache) -> str:
    """The file that tells what the App's servers on one volume could not show."""
    return os.path.join(media_cache.engine.files.layout().private_dir, "app.log")


def note(media_cache: MediaCache, what: str, error: ForebayError, uri: str = "") -> None:
    """Writes down that something could not be done, unless the same was lately said of its source.

    Args:
        what: such as ``cannot show``; begins the line, which goes on with the error.
        uri: of the object, where the error does not know it.
    """
    place = redact(error.uri if isinstance(error, SourceError) else uri)
    source = "/".join(place.split("/", 3)[:3])
    key, now = (f"{what} {source}", error.kind), time.monotonic()
    with _lock:
        if now - _said.get(key, float("-inf")) < _AGAIN_SECONDS:
            return
        _said[key] = now
    others = f"; other media of {source} with this reason are not named for {_AGAIN_SECONDS / 60:.0f} minutes"
    text = f"{what} {error}{others if source else ''}"
    log.warning("%s", text)
    _file(log_path(media_cache)).warning("%s", text)


@cache
def _file(path: str) -> logging.Logger:
    made = logging.Logger("forebay.app")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handler: logging.Handler = RotatingFileHandler(
            path, maxBytes=_LARGEST_BYTES, backupCount=1, encoding="utf-8"
        )
    except OSError as error:
        log.warning("what cannot be shown is not written to %s: %s", path, error.strerror)
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    made.addHandler(handler)
    return made
