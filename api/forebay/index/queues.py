"""What Celery's queue in Redis tells of itself, beside what Celery can be asked."""

from __future__ import annotations

from forebay.index.connection import Connection


def oldest_message(connection: Connection, queue: str) -> str | None:
    """The message that has waited longest in a queue, as JSON; ``None`` for an empty queue.

    Args:
        connection: to the Redis of the queue.
        queue: its key.

    Raises:
        IndexUnavailableError: Redis cannot be reached.
    """
    found = connection.command("lindex", queue, -1)
    return None if found is None else str(found)
