"""The heartbeat of a process that uses a volume.

A daemon thread that prolongs the session, tells the index which entries were used, and takes its turn
at the volume's maintenance.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from forebay.volume import registry

if TYPE_CHECKING:
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)


class Pulse:
    """Beats a few times within the time that the session outlives it."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._interval = min(volume.config.claim_ttl_seconds / 4, 5.0)

    def start(self) -> None:
        """Begins to beat."""
        self._thread = threading.Thread(target=self._run, name="forebay-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends; waits for a beat that is under way."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        from forebay.volume.maintenance import maintain

        while not self._stopped.wait(self._interval):
            try:
                self._volume.session.beat()
                self._volume.session.trim()
                self._volume.flush_used()
                registry.announce(self._volume.index, self._volume.config)
                maintain(self._volume)
                # Last, as nothing depends on it.
                self._volume.meter.flush(self._volume.index)
            except Exception as error:
                # The next beat tries again; a session that is lost meanwhile is noticed by its clock.
                log.warning("heartbeat of volume %r failed: %s", self._volume.config.volume, error)
