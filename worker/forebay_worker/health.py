"""Whether the workers of this machine, or container, are healthy: ``python -m forebay_worker.health``.

Healthy means progress. A worker that signs its name but takes none of the messages that wait for it
is not, however fast it answers a ping; one such worker is enough, however well the others work. A worker
whose process has ended is left to its supervisor. Exit status 0 healthy, 1 not; the reason is printed.

While Redis cannot be reached, no worker can work, and restarting workers would not help: they count as
healthy. Redis has a check of its own.
"""

from __future__ import annotations

import sys
import time

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.config.sizes import count
from forebay.errors import IndexUnavailableError
from forebay.index.workers import ALIVE_SECONDS, Worker
from forebay.jobs.dispatcher import STUCK_SECONDS
from forebay.processes import host_name


def problem(workers: list[Worker], messages: int, now: float) -> str | None:
    """The fault of the workers of one machine, as text.

    Args:
        workers: those of this machine whose heartbeats Redis still has.
        messages: how many wait in the queue.
        now: seconds since the epoch.

    Returns:
        the text; ``None`` if there is no fault.
    """
    if not workers:
        return "no worker of this machine has registered"
    # One that was killed is remembered for a while, beside the one that took its place.
    last = max(workers, key=lambda worker: worker.seen)
    if now - last.seen >= ALIVE_SECONDS:
        return f"{last.name} has sent no heartbeat for {now - last.seen:.0f} s"
    for worker in workers if messages else ():
        silent, idle = now - worker.seen, now - worker.progress
        if silent >= ALIVE_SECONDS:
            if worker.process and not worker.ended:
                return (
                    f"{worker.name} has sent no heartbeat for {silent:.0f} s, "
                    f"though its process runs, and {_waiting(messages)}"
                )
        elif idle >= STUCK_SECONDS:
            text = f"{worker.name} has begun or ended no message for {idle:.0f} s"
            return f"{text}, and {_waiting(messages)}"
    return None


def _waiting(messages: int) -> str:
    return f"{count(messages, 'message')} {'waits' if messages == 1 else 'wait'}"


def main() -> int:
    """Asks Redis, prints what it found, and returns the exit status."""
    # Local: this process looks on, and is no part of the fleet.
    cache = MediaCache(MediaCacheConfig(dispatch="local"))
    host = host_name()
    try:
        workers = [one for one in cache.engine.open_index().workers.all() if one.name.endswith(f"@{host}")]
        messages = cache.engine.open_dispatcher().queue_length()
    except IndexUnavailableError as error:
        print(f"unknown: {error}")
        return 0
    found = problem(workers, messages, time.time())
    print(found or f"{', '.join(one.name for one in workers)}: {_waiting(messages)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
