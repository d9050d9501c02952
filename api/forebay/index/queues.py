"""What Celery's queue in Redis tells of itself, beside what Celery can be asked."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from forebay.index.connection import Connection

_MAX_SET_ASIDE = 1000


def oldest_messages(connection: Connection, lists: Sequence[str]) -> list[str]:
    """The message that has waited longest in each of the lists of a queue, as JSON; none of an empty list.

    Args:
        connection: to the Redis of the queue.
        lists: their keys, one for each priority.

    Raises:
        IndexUnavailableError: Redis cannot be reached.
    """
    found = connection.pipeline(*(("lindex", one, -1) for one in lists))
    return [str(message) for message in found if message is not None]


def is_waiting(connection: Connection, lists: Sequence[str]) -> bool:
    """Whether one of some lists of a queue has a message.

    Raises:
        IndexUnavailableError: Redis cannot be reached.
    """
    return any(connection.pipeline(*(("llen", one) for one in lists)))


def check_channels(connection: Connection, prefix: str) -> None:
    """Makes sure that this user may use the channels of Celery's remote control and events.

    Args:
        prefix: of the names of everything that Celery has in Redis.

    Raises:
        IndexUnavailableError: the user may not.
    """
    names = ("celery.pidbox", "celeryev/*", "celeryev/worker.*")
    connection.check_channels(*(f"{prefix}/{connection.database}.{name}" for name in names))


def set_aside(connection: Connection, queue: str, message: str, reason: str) -> None:
    """Keeps a message that no worker can read, beside its queue; the newest are kept.

    Args:
        queue: the key of the queue.

    Raises:
        IndexUnavailableError: Redis cannot be reached.
    """
    kept = json.dumps({"at": time.time(), "reason": reason, "message": message})
    key = set_aside_key(queue)
    connection.pipeline(("lpush", key, kept), ("ltrim", key, 0, _MAX_SET_ASIDE - 1))


def count_set_aside(connection: Connection, queue: str) -> int:
    """How many messages of a queue are set aside.

    Raises:
        IndexUnavailableError: Redis cannot be reached.
    """
    return int(connection.command("llen", set_aside_key(queue)))


def set_aside_key(queue: str) -> str:
    """The key of the messages that were set aside, beside the key of their queue."""
    return f"{queue}.set-aside"
