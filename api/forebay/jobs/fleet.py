"""Fleet dispatch: Celery workers download a job's samples.

A message names a job and a number; beside that it says for people, in Flower, how many samples it stands
for and where they are, or which one. The samples and how they end are in the ledger. A message that is lost
is therefore only a delay, one that is delivered twice does nothing the second time, and no message holds
a secret.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from forebay.config import MediaCacheConfig, mask_url
from forebay.errors import IndexUnavailableError
from forebay.index.connection import Connection
from forebay.index.job_records import MessageSummary
from forebay.index.queues import oldest_message
from forebay.jobs.celery_app import KEY_PREFIX, queue_name
from forebay.uri import redact

TASK = "forebay.fetch"
ENQUEUED = "forebay_enqueued"


def enqueue(
    app: Celery, config: MediaCacheConfig, job: str, messages: Iterable[MessageSummary], source: str
) -> None:
    """Sends one Celery message for each summary.

    Args:
        source: where most samples are, without secrets.
    """
    queue = queue_name(config)
    with _reaching(app), app.producer_pool.acquire(block=True) as producer, producer.batch(500):
        for message in messages:
            app.send_task(
                TASK,
                kwargs={"job": job, "message": message.number},
                argsrepr=_arguments_shown(message, source),
                # Celery itself repeats nothing: what Flower shows is how often the message was begun before.
                retries=message.begun,
                queue=queue,
                # Tells how long a message has waited.
                headers={ENQUEUED: time.time()},
                producer=producer,
                ignore_result=True,
            )


def _arguments_shown(message: MessageSummary, source: str) -> str:
    """The text that Flower shows as a message's arguments: URI or number of samples, without secrets."""
    if message.uri is not None:
        return redact(message.uri)
    return f"{message.pending:,} samples of {source}"


def queue_age(app: Celery, config: MediaCacheConfig) -> float | None:
    """The seconds that the oldest message has waited; ``None`` if none waits or its age is unknown."""
    with closing(Connection(str(app.conf.broker_url), patience=0.0, queue=True)) as connection:
        oldest = oldest_message(connection, KEY_PREFIX + queue_name(config))
    enqueued = json.loads(oldest).get("headers", {}).get(ENQUEUED) if oldest else None
    return None if enqueued is None else max(0.0, time.time() - float(enqueued))


def purge(app: Celery, config: MediaCacheConfig) -> None:
    """Drops the messages of the volume's queue."""
    with _reaching(app), app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_purge(queue=queue_name(config))


@contextmanager
def _reaching(app: Celery) -> Iterator[None]:
    """Says in our words that the broker cannot be reached."""
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
