"""The program of a helper, which downloads one share of a local job; `forebay.jobs.helpers` starts it."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import sys
import threading
import time
from typing import Any

from forebay import logs
from forebay.config import MediaCacheConfig
from forebay.engine import Engine
from forebay.jobs.ledger import Cancellation
from forebay.jobs.share import Division, Share
from forebay.uri import parse_object

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
# For so long one that was started before its job waits for it.
_IDLE_SECONDS = 10.0
_GRACE_SECONDS = 5.0


class Forwarding(logging.Handler):
    """Writes each record as a line of JSON, for the process that started this one."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        about = {"msg": record.getMessage(), "sample": str(logs.sample.get() or "") or None}
        try:
            sys.stdout.write(json.dumps(fields | about) + "\n")
            sys.stdout.flush()
        except OSError:
            # Its reader is gone.
            pass


class Input:
    """The lines of standard input. They are not buffered by Python, so that one can be waited for."""

    def __init__(self) -> None:
        self._read = b""

    def line(self, seconds: float) -> bytes | None:
        """The next line, which is empty at the end; ``None`` if it does not come within ``seconds``."""
        until = time.monotonic() + seconds
        while b"\n" not in self._read:
            if not select.select([0], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            if not (some := os.read(0, 1 << 16)):
                return b""
            self._read += some
        line, _, self._read = self._read.partition(b"\n")
        return line


def main() -> None:
    """Downloads the share that standard input describes."""
    lines = Input()
    about = json.loads(lines.line(_IDLE_SECONDS) or b"null")
    if about is None:
        return
    logging.basicConfig(handlers=[Forwarding()], level=about["level"])
    logs.quieten()
    engine = Engine(MediaCacheConfig(**about["settings"]))
    _prepare(engine, about["example"])
    # There is none where all samples turn out to be cached.
    line = lines.line(_IDLE_SECONDS)
    if not line or not line.startswith(b"{"):
        return
    task = json.loads(line)
    logs.job.set(task["job"])
    try:
        _fetch(engine, task, about["parent"], lines)
    except Exception as error:
        # The other process meets it, too, when it does what is left, and then says so.
        log.debug("helper %d of job %s stopped: %s", task["number"], task["job"], error)
    # What there is at the end goes with the process, and to look through it takes 50 ms.
    gc.freeze()


def _prepare(engine: Engine, example: str) -> None:
    """Imports what downloads, and what it takes to ask the source of a URI of the job."""
    import forebay.opened
    import forebay.writable  # noqa: F401

    # Whatever it is, the job meets it again, and says so.
    with contextlib.suppress(Exception):
        engine.sources.for_uri(parse_object(example))


def _fetch(engine: Engine, task: dict[str, Any], parent: int, lines: Input) -> None:
    job = task["job"]
    try:
        records, fetcher = engine.open_index().jobs, engine.open_fetcher()
        threading.Thread(
            target=_watch, args=(parent, engine, lines), name="forebay-watch", daemon=True
        ).start()
        share = Share(job, records, fetcher, task["number"], Division(*task["division"]))
        share.fetch(Cancellation(records, job), lambda *_: None)
    finally:
        engine.close()


def _watch(parent: int, engine: Engine, lines: Input) -> None:
    """Closes the engine when the process that started this one says so, or has ended."""
    while os.getppid() == parent and lines.line(_LOOK_SECONDS) is None:
        pass
    engine.close()
    # What it holds in the index ends with this process at the latest.
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
