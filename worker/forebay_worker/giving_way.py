"""A worker whose threads are all busy with one job gives way to a job of a higher priority that waits."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing

from forebay.errors import ForebayError
from forebay.index.connection import Connection
from forebay.index.queues import is_waiting
from forebay.jobs.priorities import lists_of

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2


class GivingWay:
    """Tells whether something more urgent waits; asks Redis about it now and then only.

    Args:
        url: the broker.
        queue: the key of the volume's queue.
    """

    def __init__(self, url: str, queue: str) -> None:
        self._url = url
        self._queue = queue
        self._looked: dict[str, tuple[float, bool]] = {}
        self._lock = threading.Lock()

    def to_others(self, priority: str) -> bool:
        """Whether messages wait that go before those of a job with this priority."""
        lists = lists_of(self._queue, before=priority)
        if not lists:
            return False
        now = time.monotonic()
        with self._lock:
            looked_at, found = self._looked.get(priority, (-_LOOK_SECONDS, False))
            if now - looked_at < _LOOK_SECONDS:
                return found
            # Others go by the former answer meanwhile.
            self._looked[priority] = now, found
        try:
            with closing(Connection(self._url, patience=0.0, queue=True)) as connection:
                found = is_waiting(connection, lists)
        except ForebayError as error:
            log.debug("%s", error)
            found = False
        with self._lock:
            self._looked[priority] = now, found
        return found
