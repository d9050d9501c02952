"""Fleet dispatch: Celery workers download a job's samples.

A message names a job and one of its packs; beside that it says for people, in Flower, how many samples
that are and where, or which one. The samples and how they end are in the ledger. A message that is lost
is therefore only a delay, one that is delivered twice does nothing the second time, and no message holds
a secret.

How many samples a pack has, with ``message_size="auto"``: one, up to `SINGLES` samples; beyond, as many
as leave `SHARE` packs for each worker thread, and `LARGEST_PACK` at most.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from forebay.config import MediaCacheConfig, mask_url
from forebay.errors import IndexUnavailableError
from forebay.index.connection import Connection
from forebay.uri import redact

if TYPE_CHECKING:
    from celery import Celery

    from forebay.index import Index
    from forebay.index.jobs import Outline

TASK = "forebay.fetch"
# SIGTERM lets tasks end in good order for so long, 20 s in all; the second part is Celery's own.
DRAIN_SECONDS = 15.0
SOFT_SHUTDOWN_SECONDS = 5.0
KEY_PREFIX = "forebay-celery:"
ENQUEUED = "forebay_enqueued"
VISIBILITY_SECONDS = 3600
SINGLES = 256
SHARE = 4
LARGEST_PACK = 64
# A worker says that it lives every 5 seconds.
ALIVE_SECONDS = 16.0
# One that went without signing off is remembered for so long, for whoever is to be told of it.
GONE_SECONDS = 600.0
# A worker that has messages before it and takes none is as good as dead.
STUCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker says of itself.

    Attributes:
        name: as Celery names it.
        concurrency: how many tasks it runs at a time.
        seen: its last sign of life, in seconds since the epoch.
        progress: when it last began or ended a pack.
        done: samples that it has ended.
    """

    name: str
    concurrency: int
    seen: float
    progress: float
    done: int = 0

    @property
    def alive(self) -> bool:
        return time.time() - self.seen < ALIVE_SECONDS


def workers(index: Index) -> list[Worker]:
    """The workers of the volume that are alive, and those that went lately without signing off."""
    found = index.connection.command("hgetall", index.keys.workers)
    return sorted((Worker(**json.loads(text)) for text in found.values()), key=lambda worker: worker.name)


def announce(index: Index, name: str, concurrency: int, *, samples: int | None = None) -> None:
    """Notes a worker's sign of life, and its progress.

    Args:
        samples: how many samples it has ended since it last said so; ``None`` for a mere sign of life.
    """
    now = time.time()
    text = index.connection.command("hget", index.keys.workers, name)
    before = Worker(**json.loads(text)) if text else Worker(name, concurrency, now, now)
    after = Worker(
        name,
        concurrency,
        seen=now,
        progress=before.progress if samples is None else now,
        done=before.done + (samples or 0),
    )
    index.connection.command("hset", index.keys.workers, name, json.dumps(asdict(after)))


def retire(index: Index, name: str) -> None:
    """Forgets a worker that has stopped."""
    index.connection.command("hdel", index.keys.workers, name)


def forget_gone(index: Index) -> None:
    """Forgets workers that went without signing off, a while after their last sign of life."""
    for worker in workers(index):
        if time.time() - worker.seen > GONE_SECONDS:
            retire(index, worker.name)


def pack_size(message_size: int | Literal["auto"], samples: int, threads: int) -> int:
    """How many samples go into one message; the rule is in the module's documentation."""
    if message_size != "auto":
        return message_size
    if samples <= SINGLES:
        return 1
    return max(1, min(LARGEST_PACK, samples // (SHARE * max(1, threads))))


def queue_name(config: MediaCacheConfig) -> str:
    """The volume's queue."""
    return f"forebay.{config.volume}"


def broker_url(config: MediaCacheConfig, index_url: str) -> str:
    """The broker: as configured, else the index's Redis, one database further."""
    if config.broker_url is not None:
        return _for_celery(config.broker_url)
    if config.redis_url is None:
        from forebay import embedded

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
    from celery import Celery
    from kombu.entity import Queue

    app = Celery("forebay", broker=url, set_as_current=False)
    queue = queue_name(config)
    options = {
        "visibility_timeout": VISIBILITY_SECONDS,
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
        # The shortest of the three wins, whoever reads it.
        result_backend_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
        visibility_timeout=VISIBILITY_SECONDS,
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


def enqueue(app: Celery, config: MediaCacheConfig, job: str, packs: Iterable[Outline], source: str) -> None:
    """Sends one message for each pack.

    Args:
        source: where most samples are, without secrets.
    """
    queue = queue_name(config)
    with _reaching(app), app.producer_pool.acquire(block=True) as producer, producer.batch(500):
        for pack in packs:
            app.send_task(
                TASK,
                kwargs={"job": job, "pack": pack.number},
                argsrepr=_shown(pack, source),
                # Celery itself repeats nothing: what Flower shows is how often the pack was begun before.
                retries=pack.begun,
                queue=queue,
                # Tells how long a message has waited.
                headers={ENQUEUED: time.time()},
                producer=producer,
                ignore_result=True,
            )


def _shown(pack: Outline, source: str) -> str:
    """What Flower shows as a message's arguments, beside job and pack; without secrets."""
    if pack.uri is not None:
        return redact(pack.uri)
    return f"{pack.pending:,} samples of {source}"


def queue_age(app: Celery, config: MediaCacheConfig) -> float | None:
    """How many seconds the oldest message has waited; ``None`` when none waits, or that cannot be told."""
    with _reaching(app), app.connection_for_read() as connection, connection.channel() as channel:
        # Kombu puts the prefix before the keys of the commands that it uses itself; this is none of them.
        key = KEY_PREFIX + queue_name(config)
        oldest = channel.client.execute_command("LINDEX", key, -1)
    enqueued = json.loads(oldest).get("headers", {}).get(ENQUEUED) if oldest else None
    return None if enqueued is None else max(0.0, time.time() - float(enqueued))


def purge(app: Celery, config: MediaCacheConfig) -> None:
    """Drops the messages of the volume's queue."""
    with _reaching(app), app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_purge(queue=queue_name(config))


@contextmanager
def _reaching(app: Celery) -> Iterator[None]:
    """Says in our words that the broker cannot be reached."""
    from kombu.exceptions import OperationalError
    from redis import RedisError

    try:
        yield
    except (OperationalError, RedisError, ConnectionError) as error:
        # In our own words where it is a mistake in the settings.
        with closing(Connection(str(app.conf.broker_url), queue=True)) as connection:
            connection.check()
        url = mask_url(str(app.conf.broker_url))
        raise IndexUnavailableError(
            f"Celery's broker at {url} cannot be reached ({error}): start it, or check "
            "FIFTYONE_MEDIA_CACHE_BROKER_URL"
        ) from None


def queue_length(app: Celery, config: MediaCacheConfig) -> int:
    """How many messages wait in the volume's queue."""
    with _reaching(app), app.connection_for_read() as connection, connection.channel() as channel:
        answer: Any = channel.queue_declare(queue=queue_name(config), passive=False)
        return int(answer.message_count)
