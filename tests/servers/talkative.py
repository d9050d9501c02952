"""A module of a worker that logs a request with its signature, as clients of other clouds do at DEBUG."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import worker_ready


@worker_ready.connect(weak=False)
def talk(**_: Any) -> None:
    """Logs as the worker begins."""
    logging.getLogger("talkative").debug("%s", "GET /talkative?Signature=cAnArY7f3e&Expires=1 HTTP/1.1")
