"""What a volume needs done now and then, by one process at a time, however many there are."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from forebay.index.jobs import Ledger
from forebay.volume import recovery

if TYPE_CHECKING:
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)

_LOCK_SECONDS = 60.0
_ROUND_SECONDS = 4.0
_FORGET_SECONDS = 600.0
# An entry whose file was removed by hand does no harm but to the statistics: a sweep now and then is
# enough, unless recovery asked for one.
_SWEEP_SECONDS = 6 * 3600.0


def maintain(volume: Volume, *, force: bool = False) -> bool:
    """One round of maintenance, unless another process is at it, or was a moment ago.

    Cleans up after dead sessions, ends expired leases, sweeps, and forgets old jobs.

    Args:
        force: also when the last round was only a moment ago, and with a sweep.

    Returns:
        whether this process did the round.
    """
    volume.recover()
    index = volume.index
    command, meta = index.connection.command, index.keys.meta
    lock, token = index.keys.maintenance, f"maintenance.{os.getpid()}.{time.monotonic_ns()}"
    now = time.time()
    names = ("maintained_at", "swept_at", "forgotten_at", "swept")
    *times, swept = command("hmget", meta, list(names))
    maintained_at, swept_at, forgotten_at = (float(text or 0) for text in times)
    force = force or swept != "1"
    if now - maintained_at < _ROUND_SECONDS and not force:
        return False
    if not index.lock(lock, token, _LOCK_SECONDS):
        return False

    def keep_lock() -> None:
        # A long sweep keeps this thread from the heartbeat, which is its other task.
        volume.session.beat()
        index.lock(lock, token, _LOCK_SECONDS)

    try:
        command("hset", meta, "maintained_at", now)
        recovery.reap_ended(volume)
        end_expired_leases(volume)
        if force or now - swept_at > _SWEEP_SECONDS:
            adopted, dropped = recovery.sweep(volume, keep_lock)
            command("hset", meta, "swept_at", now)
            if adopted or dropped:
                log.info(
                    "volume %s: entered %d files into the index, and dropped %d entries without a file",
                    volume.config.volume,
                    adopted,
                    dropped,
                )
        if force or now - forgotten_at > _FORGET_SECONDS:
            Ledger(index).forget_old(volume.config.job_ttl_seconds)
            command("hset", meta, "forgotten_at", now)
    finally:
        index.lock(lock, token, 0)
    return True


def end_expired_leases(volume: Volume) -> int:
    """Ends the leases that have expired; returns how many."""
    expired = [name for name, seconds, _ in volume.index.leases() if seconds <= 0]
    for name in expired:
        volume.index.end_lease(name, expired=True)
    return len(expired)
