"""The choice between threads of this process and the fleet, and the start of jobs by either."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from forebay.config import MediaCacheConfig
from forebay.errors import NoWorkersError
from forebay.fetch.fetcher import Fetcher
from forebay.index import Index
from forebay.index.workers import Worker
from forebay.jobs.local import LocalRunner
from forebay.jobs.monitor import JobMonitor
from forebay.processes import is_identity_alive
from forebay.volume.session import Session

if TYPE_CHECKING:
    from celery import Celery

# Without word from the workers for so long, a fleet that has messages counts as stuck.
STUCK_SECONDS = 120.0


class Dispatcher:
    """Starts jobs of one volume.

    Args:
        config: the settings.
        index: the volume's index.
        open_fetcher: gives what downloads into the volume; called only for local dispatch.
        open_session: gives this process's session; called only for local dispatch.
        own_session: the id of this process's session, if it has one.
        check_writable: raises `VolumeError` where this process cannot write the directory.
    """

    def __init__(
        self,
        config: MediaCacheConfig,
        index: Index,
        open_fetcher: Callable[[], Fetcher],
        open_session: Callable[[], Session],
        own_session: Callable[[], str | None],
        check_writable: Callable[[], object],
    ) -> None:
        self.config = config
        self.index = index
        self._open_fetcher = open_fetcher
        self._open_session = open_session
        self._own_session = own_session
        self._check_writable = check_writable
        self._runners: dict[str, LocalRunner] = {}
        self._app: Celery | None = None

    def choose(self) -> tuple[Literal["local", "fleet"], int]:
        """Chooses who will run a job.

        Returns:
            the choice, and how many threads there are in all.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
            VolumeError: threads of this process would, and the directory cannot be written.
        """
        config = self.config
        if config.dispatch != "local":
            alive = self.index.workers.alive()
            if alive and not self._stuck(alive):
                return "fleet", sum(worker.concurrency for worker in alive)
            if config.dispatch == "fleet":
                raise self.no_workers(stuck=bool(alive))
        self._check_writable()
        return "local", config.num_workers

    def start(self, job: str) -> None:
        """Starts what is pending of a job.

        Raises:
            NoWorkersError: as `choose`.
        """
        dispatch, _ = self.choose()
        self.index.jobs.write(job, dispatch=dispatch)
        if dispatch == "fleet":
            self.enqueue(job)
        else:
            self.run_here(job)

    def run_here(self, job: str) -> None:
        """Runs what is pending of a job with threads of this process."""
        fetcher, session = self._open_fetcher(), self._open_session().id
        # Those that failed are kept for the threads that wait for their jobs.
        for other, runner in list(self._runners.items()):
            if not runner.running and runner.error is None:
                self._runners.pop(other, None)
        self._runners[job] = LocalRunner(job, self.index.jobs, fetcher, session)

    def runs_here(self, job: str) -> bool:
        """Whether threads of this process work on a job."""
        runner = self._runners.get(job)
        return runner is not None and runner.running

    def raise_error(self, job: str) -> None:
        """Raises what ended a job's threads in this process before the job had ended, if anything did."""
        runner = self._runners.get(job)
        if runner is not None and not runner.running:
            # Another thread may wait for the job, too.
            self._runners.pop(job, None)
            if runner.error is not None:
                raise runner.error

    def is_abandoned(self, job: str, runner: str) -> bool:
        """Whether no process runs a local job.

        Args:
            runner: the session that the job names as its runner; empty for none.
        """
        if job in self._runners:
            return False
        alive = {session for session, seconds in self.index.sessions.all() if seconds > 0}
        # This process itself would have it in its list.
        return (
            not runner
            or runner not in alive
            or not is_identity_alive(runner)
            or runner == self._own_session()
        )

    def enqueue(self, job: str, messages: Sequence[int] | None = None) -> int:
        """Sends messages of a job; by default those that have pending samples.

        Returns:
            how many messages were sent.
        """
        from forebay.jobs import fleet  # Celery takes long to import, and local dispatch does without.

        records = self.index.jobs
        # Before the look at what there is: what a listing adds after that look, it sends itself.
        records.write(job, enqueued=time.time(), updated=time.time())
        if messages is None:
            messages = records.pending_messages(job)
        if messages:
            label = records.read(job).get("label", "")
            fleet.enqueue(self.open_app(), self.config, job, records.summaries(job, messages), label)
        return len(messages)

    def queue_length(self) -> int:
        """How many messages wait in the volume's queue."""
        from forebay.jobs import fleet

        return fleet.queue_length(self.open_app(), self.config)

    def monitor(self, job: str) -> JobMonitor:
        """Watches over a job for a process that waits for it."""
        return JobMonitor(job, self)

    def pause(self, job: str, seconds: float) -> None:
        """Sleeps for a moment; ends early when a job ends that runs in this process."""
        runner = self._runners.get(job)
        if runner is not None:
            runner.join(seconds)
        else:
            time.sleep(seconds)

    def open_app(self) -> Celery:
        """The Celery application of the volume, as a producer."""
        # Imported here, as above: local dispatch does without Celery.
        from forebay.jobs.celery_app import broker_url, celery_app

        if self._app is None:
            self._app = celery_app(self.config, broker_url(self.config, self.index.connection.url))
        return self._app

    def no_workers(self, *, stuck: bool = False) -> NoWorkersError:
        """The error that no worker of the volume is alive, or takes messages."""
        volume = self.config.volume
        if stuck:
            return NoWorkersError(
                f"the workers of volume {volume!r} have begun or ended no message for "
                f"{STUCK_SECONDS:.0f} s: restart them, or use --dispatch local",
                volume=volume,
            )
        return NoWorkersError(
            f"no worker of volume {volume!r} is alive: start one with `forebay worker`, "
            "or use --dispatch local",
            volume=volume,
        )

    def _stuck(self, alive: list[Worker]) -> bool:
        """Whether messages wait and no worker has taken one for long: liveness means progress."""
        newest = max(worker.progress for worker in alive)
        return time.time() - newest >= STUCK_SECONDS and self.queue_length() > 0
