"""What a volume needs done now and then, by one process at a time, however many there are."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from forebay import recovery
from forebay.index.ledger import Ledger

if TYPE_CHECKING:
    from forebay.volume import Volume

log = logging.getLogger(__name__)

_LOCK_SECONDS = 60.0
# An entry whose file was removed by hand does no harm but to the statistics: a sweep now and then is
# enough, unless recovery asked for one.
_SWEEP_SECONDS = 6 * 3600.0


def maintain(volume: Volume, *, force: bool = False) -> bool:
    """One round of maintenance, unless another process is at it.

    Cleans up after dead sessions, ends expired leases, sweeps, and forgets old jobs.

    Args:
        force: also when the last round was only a moment ago, and with a sweep.

    Returns:
        whether this process did the round.
    """
    volume.recover()
    index = volume.index
    lock, token = index.keys.maintenance, f"maintenance.{os.getpid()}.{time.monotonic_ns()}"
    if not index.lock(lock, token, _LOCK_SECONDS):
        return False
    try:
        recovery.reap_ended(volume)
        end_expired_leases(volume)
        swept = float(index.connection.command("hget", index.keys.meta, "swept_at") or 0)
        due = time.time() - swept > _SWEEP_SECONDS
        if force or due or recovery.needs_sweep(volume):
            adopted, dropped = recovery.sweep(volume, lambda: index.lock(lock, token, _LOCK_SECONDS))
            index.connection.command("hset", index.keys.meta, "swept_at", time.time())
            if adopted or dropped:
                log.info(
                    "swept %s: %d files indexed, %d entries dropped", index.keys.prefix, adopted, dropped
                )
        Ledger(index).forget_old(volume.config.job_ttl_seconds)
    finally:
        index.lock(lock, token, 0)
    return True


def end_expired_leases(volume: Volume) -> int:
    """Ends the leases that have expired; returns how many."""
    expired = [name for name, seconds, _ in volume.index.leases() if seconds <= 0]
    for name in expired:
        volume.index.end_lease(name)
    return len(expired)
