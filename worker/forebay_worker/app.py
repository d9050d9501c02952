"""The Celery application of a worker: ``celery -A forebay_worker.app worker``, or ``forebay worker``."""

from __future__ import annotations

import os
from contextlib import closing

# Read when Celery is imported: SIGTERM begins the soft shutdown, in which tasks end cleanly.
os.environ["REMAP_SIGTERM"] = "SIGQUIT"

from forebay.cache import MediaCache
from forebay.index.connection import Connection
from forebay.index.queues import check_channels
from forebay.jobs.celery_app import KEY_PREFIX, broker_url, celery_app, forget_environment, queue_name
from forebay_worker import lifecycle, log, queue_channel, tasks
from forebay_worker.giving_way import GivingWay
from forebay_worker.message_gate import MessageGate
from forebay_worker.presence import Presence

forget_environment()
cache = MediaCache()
url = broker_url(cache.config, cache.engine.open_index().connection.url)
# Here, and not in a handler of Celery's, which would log what is wrong and go on. The index has been
# checked by now.
with closing(Connection(url, queue=True)) as broker:
    broker.check()
    check_channels(broker, KEY_PREFIX)
app = celery_app(cache.config, url)
app.conf.worker_consumer = "forebay_worker.surviving_consumer:SurvivingConsumer"
queue_channel.install(app, MessageGate(url, queue_name(cache.config), cache.engine.counters))
log.register(cache.config.log_format)
presence = Presence(cache)
tasks.register(app, cache, presence, GivingWay(url, KEY_PREFIX + queue_name(cache.config)))
lifecycle.register(cache, presence)
