"""Celery's consumer, which connects again whatever has gone wrong between it and Redis.

Celery's own does so after errors of the connection only. A Redis whose memory is full, or that is read-only
for a while, ends it, and with it the worker.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.exceptions import WorkerShutdown
from celery.worker.consumer import Consumer
from redis import RedisError

from forebay.index import redis_errors

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
# A consumer that has worked for so long has recovered.
_RECOVERED_SECONDS = 30.0
# How often in a row an error of which Redis is no part may end the consumer: another process may do better.
_MAX_UNEXPECTED = 10


class SurvivingConsumer(Consumer):  # type: ignore[misc]
    """A consumer of one worker."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.connection_errors = (Exception,)
        self._failed_at = -_RECOVERED_SECONDS
        self._unexpected = 0

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Says what is wrong, and waits before the next attempt."""
        self._failed(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Gives up the connection, says what is wrong, and waits before the next attempt."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            # It says good-bye to a Redis that may still answer with errors.
            log.debug("while the connection was given up: %s", error)
        self._failed(exc)

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        again = now - self._failed_at < _RECOVERED_SECONDS
        self._failed_at = now
        if isinstance(error, RedisError | OSError):
            self._unexpected = 0
            url = str(self.app.forebay_broker)
            log.warning("%s; this worker connects again", redis_errors.explained(error, url, queue=True))
        else:
            self._unexpected = self._unexpected + 1 if again else 1
            log.error("the queue cannot be read; this worker connects again", exc_info=error)
            if self._unexpected >= _MAX_UNEXPECTED:
                log.critical("%d times in a row; this worker ends with status 1", self._unexpected)
                raise WorkerShutdown(1)
        if again:
            time.sleep(_PAUSE_SECONDS)
