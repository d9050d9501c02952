"""Runs Celery's worker in this process, and says with which status the process is to end."""

from __future__ import annotations

from celery import Celery
from celery.utils.nodenames import default_nodename, host_format

from forebay_worker import lifecycle


def run(app: Celery, name: str) -> int:
    """Works until the worker is told to end, or cannot go on.

    Args:
        name: of the worker, without ``@host``.

    Returns:
        the exit status: 0 if it was told to end; else one after which systemd and others start it again.
    """
    worker = app.Worker(hostname=host_format(default_nodename(f"{name}@%h")), quiet=True)
    worker.start()
    # Celery's remote control ends a worker with a text.
    if lifecycle.told.is_set() or isinstance(worker.exitcode, str):
        return 0
    return int(worker.exitcode or 0) or 1
