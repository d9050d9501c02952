"""The Celery application of a volume, and the broker that it uses."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from celery import Celery
from kombu.entity import Queue

from forebay import embedded
from forebay.config import MediaCacheConfig

KEY_PREFIX = "forebay-celery:"
# After SIGTERM tasks have so long to end cleanly, 20 s in all; the second part is Celery's own.
DRAIN_SECONDS = 15.0
SOFT_SHUTDOWN_SECONDS = 5.0
_VISIBILITY_SECONDS = 3600


def queue_name(config: MediaCacheConfig) -> str:
    """The volume's queue."""
    return f"forebay.{config.volume}"


def broker_url(config: MediaCacheConfig, index_url: str) -> str:
    """The broker: as configured, else the index's Redis, one database further."""
    if config.broker_url is not None:
        return _for_celery(config.broker_url)
    if config.redis_url is None:
        return embedded.broker_url(index_url)
    return _for_celery(config.redis_url, further=1)


def _for_celery(url: str, further: int = 0) -> str:
    """A Redis URL as Celery writes it, for the database so many further."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    named = query.pop("db", None) or query.pop("virtual_host", None)
    if parts.scheme in ("unix", "redis+socket"):
        query["virtual_host"] = str(int(named or 0) + further)
        return f"redis+socket://{parts.netloc}{parts.path}?{urlencode(query)}"
    database = int(named or parts.path.strip("/") or 0) + further
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", urlencode(query), ""))


def celery_app(config: MediaCacheConfig, url: str) -> Celery:
    """The Celery application of a volume, for producers and workers alike.

    Args:
        url: the broker.
    """
    app = Celery("forebay", broker=url, set_as_current=False)
    queue = queue_name(config)
    options = {
        "visibility_timeout": _VISIBILITY_SECONDS,
        "global_keyprefix": KEY_PREFIX,
        "socket_timeout": 30.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
    }
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options=options,
        # Three settings hold this value, each read by another part; the shortest of them takes effect.
        result_backend_transport_options={"visibility_timeout": _VISIBILITY_SECONDS},
        visibility_timeout=_VISIBILITY_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[Queue(queue)],  # type: ignore[no-untyped-call]
        task_default_queue=queue,
        task_send_sent_event=True,
        worker_send_task_events=True,
        worker_pool="threads",
        worker_concurrency=config.num_workers,
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_SECONDS,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_max_tasks_per_child=1000,
        timezone="UTC",
    )
    return app
