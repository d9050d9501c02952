"""The Celery application of a worker: ``celery -A forebay_worker.app worker``, or ``forebay worker``."""

from __future__ import annotations

import os
from contextlib import closing

# Read when Celery is imported: SIGTERM begins the soft shutdown, in which tasks end cleanly.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

from forebay.cache import MediaCache
from forebay.index.connection import Connection
from forebay.jobs.celery_app import broker_url, celery_app
from forebay_worker import lifecycle, log, tasks
from forebay_worker.presence import Presence

cache = MediaCache()
url = broker_url(cache.config, cache.engine.open_index().connection.url)
# Here, and not in a handler of Celery's, which would log what is wrong and go on. The index has been
# checked by now.
with closing(Connection(url, queue=True)) as broker:
    broker.check()
app = celery_app(cache.config, url)
log.register(cache.config.log_format)
presence = Presence(cache)
tasks.register(app, cache, presence)
lifecycle.register(cache, presence)
