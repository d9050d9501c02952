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
from redis import RedisError

from forebay.config import MediaCacheConfig
from forebay.config.sizes import count
from forebay.errors import ForebayError
from forebay.index import redis_errors
from forebay.index.connection import Connection
from forebay.index.job_records import MessageSummary
from forebay.index.queues import oldest_messages
from forebay.jobs.celery_app import KEY_PREFIX, queue_name
from forebay.jobs.priorities import lists_of, priority_of
from forebay.uri import redact

TASK = "forebay.fetch"
ENQUEUED = "forebay_enqueued"


def enqueue(
    app: Celery,
    config: MediaCacheConfig,
    job: str,
    messages: Iterable[MessageSummary],
    source: str,
    priority: str = "",
) -> None:
    """Sends one Celery message for each summary.

    Args:
        source: where most samples are, without secrets.
        priority: of the job.
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
                priority=priority_of(priority),
                # Tells how long a message has waited.
                headers={ENQUEUED: time.time()},
                producer=producer,
                ignore_result=True,
            )


def _arguments_shown(message: MessageSummary, source: str) -> str:
    """The text that Flower shows as a message's arguments: URI or number of samples, without secrets."""
    if message.uri is not None:
        return redact(message.uri)
    return f"{count(message.pending, 'sample')} of {source}"


def queue_age(app: Celery, config: MediaCacheConfig) -> float | None:
    """The seconds that the oldest message has waited; ``None`` if none waits or its age is unknown."""
    with closing(Connection(app.forebay_broker, patience=0.0, queue=True)) as connection:
        oldest = oldest_messages(connection, lists_of(KEY_PREFIX + queue_name(config)))
    try:
        began = [float(json.loads(message)["headers"][ENQUEUED]) for message in oldest]
        return max(0.0, time.time() - min(began)) if began else None
    except (ValueError, TypeError, LookupError, RecursionError):
        # None of ours: a worker sets it aside.
        return None


def purge(app: Celery, config: MediaCacheConfig) -> None:
    """Drops the messages of the volume's queue."""
    with _reaching(app), app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_purge(queue=queue_name(config))


@contextmanager
def _reaching(app: Celery) -> Iterator[None]:
    """Says in our words that the broker cannot be reached."""
    try:
        yield
    except ForebayError:
        raise
    except Exception as error:
        # Kombu raises errors of its own for the same faults, some without a common class.
        url, cause = app.forebay_broker, error
        while not isinstance(cause, RedisError) and isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        if not isinstance(cause, RedisError | OSError):
            # In our own words where it is a mistake in the settings.
            with closing(Connection(url, queue=True)) as connection:
                connection.check()
        raise redis_errors.explained(cause, url, queue=True) from None


def queue_length(app: Celery, config: MediaCacheConfig) -> int:
    """How many messages wait in the volume's queue."""
    with _reaching(app), app.connection_for_read() as connection, connection.channel() as channel:
        answer: Any = channel.queue_declare(queue=queue_name(config), passive=False)
        return int(answer.message_count)
