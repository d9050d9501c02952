"""The maintenance of a volume: by one process at a time, however many there are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from forebay.index import Index
from forebay.volume.leases import end_expired_leases
from forebay.volume.recovery import Recovery
from forebay.volume.session import Session
from forebay.volume.sweep import Sweep

log = logging.getLogger(__name__)

_LOCK_SECONDS = 60.0
_ROUND_SECONDS = 4.0
_FORGET_SECONDS = 600.0
# An entry whose file was removed by hand does no harm but to the statistics: a sweep now and then is
# enough, unless recovery asked for one.
_SWEEP_SECONDS = 6 * 3600.0


class Maintenance:
    """Cleans up after dead sessions, ends expired leases, sweeps, forgets old jobs, and keeps to the limit.

    Args:
        index: the volume's index.
        session: this process's session.
        recovery: ends dead sessions.
        sweep: compares files and index.
        job_ttl: after how many seconds a job that nothing happened to is forgotten.
        keep_limit: evicts what there is beyond the limit.
    """

    def __init__(
        self,
        index: Index,
        session: Session,
        recovery: Recovery,
        sweep: Sweep,
        job_ttl: float,
        keep_limit: Callable[[], object],
    ) -> None:
        self._index = index
        self._session = session
        self._recovery = recovery
        self._sweep = sweep
        self._job_ttl = job_ttl
        self._keep_limit = keep_limit

    def run(self, *, force: bool = False) -> bool:
        """Does one round, unless another process is at it, or was a moment ago.

        Every process keeps to its own limit, each time: that of another may be larger.

        Args:
            force: also when the last round was only a moment ago, and with a sweep.

        Returns:
            whether this process did the round.
        """
        self._recovery.check(ask=True)
        try:
            return self._round(force)
        finally:
            self._keep_limit()

    def _round(self, force: bool) -> bool:
        state = self._index.state
        done, now = state.upkeep(), time.time()
        force = force or not done.complete
        # A time far ahead was written by a machine with a wrong clock, and must not put anything off.
        if abs(now - done.maintained) < _ROUND_SECONDS and not force:
            return False
        with self._index.locks.hold(self._index.keys.maintenance, _LOCK_SECONDS) as lock:
            if lock is None:
                return False

            def keep_lock() -> None:
                # A long sweep keeps this thread from the heartbeat, which is its other task.
                self._session.extend()
                lock.extend()

            state.note_upkeep("maintained", now)
            self._recovery.reap_ended()
            end_expired_leases(self._index)
            if force or not -_ROUND_SECONDS < now - done.swept <= _SWEEP_SECONDS:
                adopted, dropped = self._sweep.run(keep_lock)
                state.note_upkeep("swept", now)
                if adopted or dropped:
                    log.info(
                        "volume %s: added %d files to the index, and dropped %d entries without a file",
                        self._index.volume,
                        adopted,
                        dropped,
                    )
            if force or not -_ROUND_SECONDS < now - done.forgotten <= _FORGET_SECONDS:
                self._index.jobs.forget_old(self._job_ttl)
                state.note_upkeep("forgotten", now)
        return True
