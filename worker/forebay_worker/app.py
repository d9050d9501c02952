"""The Celery application of a worker: ``celery -A forebay_worker.app worker``, or ``forebay worker``."""

from __future__ import annotations

import os

# Read when Celery is imported: SIGTERM begins the soft shutdown, in which tasks end in good order.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

from forebay.cache import MediaCache
from forebay.dispatch import fleet
from forebay_worker import lifecycle, log, tasks

cache = MediaCache()
app = fleet.celery_app(cache.config, fleet.broker_url(cache.config, cache.volume.index.connection.url))
log.register(cache.config.log_format)
tasks.register(app, cache)
lifecycle.register(app, cache)
