"""The choice between local threads and the fleet, and the care for a job until it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from forebay import logs
from forebay.errors import NoWorkersError
from forebay.index.jobs import Ledger
from forebay.jobs import fleet
from forebay.jobs.local import LocalRunner
from forebay.volume.session import ended_here

if TYPE_CHECKING:
    from celery import Celery

    from forebay.fetch.fetcher import Fetcher
    from forebay.jobs.jobs import JobStatus
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)

# A job on which nothing has happened for so long, with nothing left in the queue, has lost messages.
STALL_SECONDS = 20.0
_CARE_SECONDS = 1.0


class Dispatcher:
    """Starts jobs of one volume, and looks after them."""

    def __init__(self, volume: Volume, fetcher: Fetcher) -> None:
        self._volume = volume
        self._fetcher = fetcher
        self._runners: dict[str, LocalRunner] = {}
        self._app: Celery | None = None

    def choose(self) -> tuple[Literal["local", "fleet"], int]:
        """Who will run a job, and with how many threads in all.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
            VolumeError: threads of this process would, and the directory cannot be written.
        """
        config = self._volume.config
        if config.dispatch != "local":
            alive = [worker for worker in fleet.workers(self._volume.index) if worker.alive]
            if alive and not self._stuck(alive):
                return "fleet", sum(worker.concurrency for worker in alive)
            if config.dispatch == "fleet":
                raise NoWorkersError(self._no_workers(bool(alive)))
        self._volume.check_writable()
        return "local", config.num_workers

    def start(self, job: str) -> None:
        """Starts what is pending of a job, as the job says.

        Raises:
            NoWorkersError: as `choose`.
        """
        ledger = Ledger(self._volume.index)
        dispatch, _ = self.choose()
        ledger.write(job, dispatch=dispatch)
        if dispatch == "fleet":
            self.enqueue(job)
        else:
            self._run_here(job)

    def runs_here(self, job: str) -> bool:
        """Whether threads of this process work on a job."""
        runner = self._runners.get(job)
        return runner is not None and runner.running

    def enqueue(self, job: str, packs: Sequence[int] | None = None) -> int:
        """Sends a message for each of a job's packs; by default for those that have pending samples.

        Returns:
            how many messages were sent.
        """
        ledger = Ledger(self._volume.index)
        if packs is None:
            packs = ledger.pending_packs(job)
        ledger.write(job, enqueued=time.time(), updated=time.time())
        if packs:
            label = ledger.read(job).get("label", "")
            fleet.enqueue(self.app, self._volume.config, job, ledger.outline(job, packs), label)
        return len(packs)

    def requeue_if_stalled(self, job: str, fields: dict[str, str]) -> int:
        """Enqueues again what a job has lost; returns how many messages were sent."""
        quiet = time.time() - float(fields.get("updated", 0))
        if (
            fields.get("dispatch") != "fleet"
            or int(fields.get("pending", 0)) == 0
            or fields.get("cancelled")
            or quiet < STALL_SECONDS
            # Where others keep the queue full, that nothing is lost takes longer to be refuted.
            or (quiet < 10 * STALL_SECONDS and fleet.queue_length(self.app, self._volume.config))
        ):
            return 0
        with logs.about(job):
            log.warning("job %s: nothing happened for %.0f s, enqueueing what is pending again", job, quiet)
        return self.enqueue(job)

    def caretaker(self, job: str) -> Callable[[JobStatus], None]:
        """What whoever waits for a job does now and then, so that it ends."""
        ledger = Ledger(self._volume.index)
        checked = time.monotonic()
        alone_since: float | None = None

        def care(status: JobStatus) -> None:
            nonlocal checked, alone_since
            runner = self._runners.get(job)
            if runner is not None and not runner.running:
                del self._runners[job]
                if runner.error is not None:
                    raise runner.error
            if time.monotonic() - checked < _CARE_SECONDS:
                return
            checked = time.monotonic()
            fields = ledger.read(job)
            if status.dispatch == "local":
                if job not in self._runners and self._abandoned(job, fields.get("runner", "")):
                    with logs.about(job):
                        log.info("job %s: whoever ran it is gone, going on with it here", job)
                    self._run_here(job)
                return
            if any(worker.alive for worker in fleet.workers(self._volume.index)):
                alone_since = None
                self.requeue_if_stalled(job, fields)
                return
            alone_since = alone_since or time.monotonic()
            if self._volume.config.dispatch == "auto":
                with logs.about(job):
                    log.warning("job %s: no worker is alive any more, going on with it here", job)
                ledger.write(job, dispatch="local")
                self._run_here(job)
            elif time.monotonic() - alone_since > self._volume.config.worker_timeout_seconds:
                raise NoWorkersError(f"{self._no_workers(False)}; job {job} goes on as soon as there is one")

        return care

    def pause(self, job: str, seconds: float) -> None:
        """Waits for a moment, or until a job has ended that runs in this process."""
        runner = self._runners.get(job)
        if runner is not None:
            runner.join(seconds)
        else:
            time.sleep(seconds)

    @property
    def app(self) -> Celery:
        """The Celery application of the volume, as a producer."""
        if self._app is None:
            config = self._volume.config
            url = fleet.broker_url(config, self._volume.index.connection.url)
            self._app = fleet.celery_app(config, url)
        return self._app

    def _run_here(self, job: str) -> None:
        self._runners[job] = LocalRunner(job, self._volume, self._fetcher)

    def _abandoned(self, job: str, runner: str) -> bool:
        """Whether nobody runs a job: its runner is gone, or is this process, and has stopped."""
        if not runner:
            return True
        alive = {session for session, seconds in self._volume.index.sessions() if seconds > 0}
        if runner not in alive or ended_here(runner):
            return True
        if self._volume.elsewhere:
            return False
        return runner == self._volume.session.id and job not in self._runners

    def _stuck(self, alive: list[fleet.Worker]) -> bool:
        """Whether messages wait and no worker has taken one for long: liveness means progress."""
        newest = max(worker.progress for worker in alive)
        if time.time() - newest < fleet.STUCK_SECONDS:
            return False
        return fleet.queue_length(self.app, self._volume.config) > 0

    def _no_workers(self, stuck: bool) -> str:
        volume = self._volume.config.volume
        if stuck:
            return (
                f"the workers of volume {volume!r} have taken nothing from the queue for "
                f"{fleet.STUCK_SECONDS:.0f} s: restart them, or use --dispatch local"
            )
        return (
            f"no worker of volume {volume!r} is alive: start one with `forebay worker`, "
            "or use --dispatch local"
        )
