"""Several worker processes of one volume under one supervisor: ``forebay worker --processes N``.

The supervisor starts each worker as ``forebay worker --name NAME`` in a session of its own, with a line on
which the worker tells that it is ready, and what it counted (`forebay_worker.line`). It does not use Redis.

* SIGTERM and SIGINT end all workers cleanly; the second one kills them.
* SIGHUP restarts them one by one: the next one when the last one is ready again.
* A worker that ends by itself is started again after a pause that grows. One that fails again and again
  before it is ready ends the supervisor, with the worker's status.
* What is orphaned in a container where this is process 1 is reaped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from multiprocessing.connection import wait

from forebay_worker import signal_pipe
from forebay_worker.line import STOP_SECONDS
from forebay_worker.metrics_sum import MetricsSum
from forebay_worker.place import NEVER, Place

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 5
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """Keeps worker processes running.

    Args:
        command: of one worker; ``--name`` and its name are added.
        names: of the workers, without ``@host``.
        metrics: takes what the workers count.
    """

    def __init__(self, command: Sequence[str], names: Sequence[str], metrics: MetricsSum) -> None:
        self._command = [*command]
        self._workers = [Place(name) for name in names]
        self._metrics = metrics
        self._was_ready = False
        self._to_restart: list[Place] = []
        self._stopping = False
        self._status = 0

    def run(self) -> int:
        """Starts the workers, and restarts those that end, until a signal or too many failures stop all.

        The first one is started alone, so that a wrong setting is reported once and not by each worker.

        Returns:
            the exit status: 0 if a signal stopped the supervisor and all workers ended cleanly.
        """
        with signal_pipe.signals(*_HANDLED) as signals:
            while True:
                self._act()
                if self._stopping and not any(worker.process for worker in self._workers):
                    return self._status
                lines = [worker.line for worker in self._workers if worker.line is not None]
                wait([signals, *lines], self._seconds_to_next())
                for number in signal_pipe.read(signals):
                    self._note(number)
                for worker in self._workers:
                    self._hear(worker)
                self._reap()

    def _note(self, number: int) -> None:
        if number == signal.SIGHUP and not self._stopping:
            log.info("restarting the workers one by one")
            self._to_restart = [*self._workers]
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._stopping:
                for worker in self._workers:
                    worker.kill_at = 0.0
            else:
                self._stop(0)

    def _stop(self, status: int) -> None:
        self._stopping, self._status = True, status
        for worker in self._workers:
            worker.tell_to_end()

    def _act(self) -> None:
        """Does everything whose time has come."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.process is not None and worker.kill_at <= now:
                worker.kill()
                worker.kill_at = now + STOP_SECONDS
        if self._stopping:
            return
        if self._to_restart and all(one.serves for one in self._workers if one is not self._to_restart[0]):
            worker = self._to_restart.pop(0)
            worker.start_at = now
            worker.tell_to_end()
        for worker in self._workers:
            if worker.process is None and worker.start_at <= now and self._may_start(worker):
                self._start(worker)

    def _may_start(self, worker: Place) -> bool:
        return self._was_ready or worker is self._workers[0]

    def _seconds_to_next(self) -> float | None:
        times = [
            worker.kill_at if worker.process is not None else worker.start_at
            for worker in self._workers
            if worker.process is not None or (self._may_start(worker) and not self._stopping)
        ]
        soonest = min(times, default=NEVER)
        return None if soonest == NEVER else max(0.0, soonest - time.monotonic())

    def _start(self, worker: Place) -> None:
        try:
            worker.start(self._command)
        except OSError as error:
            self._has_failed(worker, f"cannot be started ({error})", 1)
        else:
            assert worker.process is not None
            log.info("%s is process %d", worker.name, worker.process.pid)

    def _hear(self, worker: Place) -> None:
        try:
            while worker.line is not None and worker.line.poll():
                text = worker.line.recv_bytes().decode()
                worker.ready = self._was_ready = True
                if text:
                    self._metrics.put(worker.name, text)
        except (EOFError, OSError):
            worker.hang_up()

    def _reap(self) -> None:
        """Notes which workers have ended; as process 1, lets everything that was orphaned go."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                for worker in self._workers:
                    if worker.process is not None and worker.process.pid == pid:
                        worker.process.returncode = os.waitstatus_to_exitcode(status)
                        self._has_ended(worker, worker.process)

    def _has_ended(self, worker: Place, process: subprocess.Popen[bytes]) -> None:
        # The children of a prefork pool would outlive a worker that was killed.
        worker.kill()
        self._hear(worker)
        worker.hang_up()
        self._metrics.end(worker.name)
        worker.process, status = None, process.returncode
        if not worker.told:
            self._has_failed(worker, f"(process {process.pid}) ended with status {status}", status)
        elif worker.ready and status:
            log.warning("%s (process %d) ended with status %d", worker.name, process.pid, status)
            self._status = self._status or (_exit_status(status) if self._stopping else 0)
        worker.ready = False

    def _has_failed(self, worker: Place, text: str, status: int) -> None:
        worker.failed_starts = 0 if worker.ready else worker.failed_starts + 1
        # An error before any worker was ever ready is one of the settings: the worker has told it.
        max_failed = MAX_FAILED_STARTS if self._was_ready or status < 0 else 1
        if self._stopping:
            log.warning("%s %s", worker.name, text)
        elif worker.failed_starts >= max_failed:
            end = (
                "the workers are not started again"
                if max_failed == 1
                else f"{max_failed} times in a row, all workers end"
            )
            log.error("%s %s before it was ready; %s", worker.name, text, end)
            self._stop(_exit_status(status))
        else:
            log.error("%s %s; it is started again in %.0f s", worker.name, text, worker.pause())


def _exit_status(status: int) -> int:
    """The status of a process as a shell gives it, and never that of a success."""
    return (128 - status if status < 0 else status) or 1
