"""The choice between threads of this process and the fleet, and the start of jobs by either."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from forebay import forks
from forebay.config import MediaCacheConfig, mask_url
from forebay.errors import NoWorkersError, VolumeError
from forebay.index import Index
from forebay.index.workers import Worker
from forebay.jobs.monitor import JobMonitor
from forebay.processes import is_identity_alive

if TYPE_CHECKING:
    from celery import Celery

    from forebay.fetch.fetcher import Fetcher
    from forebay.jobs.helpers import Helpers
    from forebay.jobs.local import LocalRunner
    from forebay.volume.session import Session

# Without word from the workers for so long, a fleet that has messages counts as stuck.
STUCK_SECONDS = 120.0
# A job of this process wakes who waits for it, so it need not be looked at more often than this.
_LOOK_SECONDS = 0.1


class Dispatcher:
    """Starts jobs of one volume.

    Args:
        config: the settings.
        index: the volume's index.
        open_fetcher: gives what downloads into the volume; called only for local dispatch.
        open_session: gives this process's session; called only for local dispatch.
        own_session: the id of this process's session, if it has one.
        check_writable: raises `VolumeError` where this process cannot write the directory.
        take_helpers: gives the helpers that were started for the next job, if there are any.
    """

    def __init__(
        self,
        config: MediaCacheConfig,
        index: Index,
        open_fetcher: Callable[[], Fetcher],
        open_session: Callable[[], Session],
        own_session: Callable[[], str | None],
        check_writable: Callable[[], object],
        take_helpers: Callable[[], Helpers | None],
    ) -> None:
        self.config = config
        self.index = index
        self._open_fetcher = open_fetcher
        self._open_session = open_session
        self._own_session = own_session
        self._check_writable = check_writable
        self._take_helpers = take_helpers
        self._runners: dict[str, LocalRunner] = {}
        self._app: Celery | None = None

    def choose(self) -> tuple[Literal["local", "fleet"], int]:
        """Chooses who will run a job.

        Returns:
            the choice, and how many threads there are in all.

        Raises:
            NoWorkersError: no worker of the volume is alive, and ``dispatch`` is ``fleet`` or the directory
                cannot be written by this process.
            VolumeError: ``dispatch`` is ``local``, and the directory cannot be written.
        """
        config = self.config
        if config.dispatch != "local":
            alive = self.index.workers.alive()
            if alive and not self._stuck(alive):
                return "fleet", sum(worker.concurrency for worker in alive)
            if config.dispatch == "fleet" or not self.can_write():
                raise self.no_workers(stuck=bool(alive))
        self._check_writable()
        return "local", config.num_workers

    def start(self, job: str) -> None:
        """Starts what is pending of a job.

        Raises:
            NoWorkersError: as `choose`.
        """
        try:
            dispatch, _ = self.choose()
            self.index.jobs.write(job, dispatch=dispatch)
            if dispatch == "fleet":
                self.enqueue(job)
            else:
                self.run_here(job)
        finally:
            self.drop_helpers()

    def run_here(self, job: str) -> None:
        """Runs what is pending of a job with threads of this process."""
        with forks.setting_up():
            from forebay.jobs.local import LocalRunner  # Not needed for a job that has nothing to download.

        fetcher, session = self._open_fetcher(), self._open_session().id
        # Those that failed are kept for the threads that wait for their jobs.
        for other, runner in list(self._runners.items()):
            if not runner.running and runner.error is None:
                self._runners.pop(other, None)
        self._runners[job] = LocalRunner(
            job, self.config, self.index.jobs, fetcher, session, self._take_helpers
        )

    def drop_helpers(self) -> None:
        """Ends the helpers that were started for a job that does not need them."""
        if (helpers := self._take_helpers()) is not None:
            helpers.kill()

    def runs_here(self, job: str) -> bool:
        """Whether threads of this process work on a job."""
        runner = self._runners.get(job)
        return runner is not None and runner.running

    def close(self) -> None:
        """Ends the processes that help with jobs of this one."""
        for runner in list(self._runners.values()):
            runner.close()

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
        app = self.open_app()
        from forebay.jobs import fleet  # Celery takes long to import, and local dispatch does without.

        records = self.index.jobs
        # Before the look at what there is: what a listing adds after that look, it sends itself.
        records.write(job, "enqueued", "updated")
        if messages is None:
            messages = records.pending_messages(job)
        if messages:
            fields = records.read(job)
            label, priority = fields.get("label", ""), fields.get("priority", "")
            fleet.enqueue(app, self.config, job, records.summaries(job, messages), label, priority)
        return len(messages)

    def queue_length(self) -> int:
        """How many messages wait in the volume's queue."""
        app = self.open_app()
        from forebay.jobs import fleet

        return fleet.queue_length(app, self.config)

    def monitor(self, job: str) -> JobMonitor:
        """Watches over a job for a process that waits for it."""
        return JobMonitor(job, self)

    def pause(self, job: str, seconds: float) -> None:
        """Sleeps for a moment; where the job runs in this process, until it ends or for a longer one."""
        runner = self._runners.get(job)
        if runner is not None:
            runner.join(max(seconds, _LOOK_SECONDS))
        else:
            time.sleep(seconds)

    def open_app(self) -> Celery:
        """The Celery application of the volume, as a producer."""
        # Imported here, as above: local dispatch does without Celery.
        with forks.setting_up():
            from forebay.jobs import fleet  # noqa: F401 - which the callers need next
            from forebay.jobs.celery_app import broker_url, celery_app

            if self._app is None:
                self._app = celery_app(self.config, broker_url(self.config, self.index.connection.url))
                # Celery imports what these are when they are first asked for.
                _ = self._app.amqp, self._app.connection_for_write().transport
            return self._app

    def no_workers(self, *, stuck: bool = False) -> NoWorkersError:
        """The error that no worker of the volume is alive, or takes messages."""
        volume, instead = self.config.volume, ", or use --dispatch local"
        who = ""
        if not self.can_write():
            # A user who may only read the volume can neither download nor start a worker.
            instead, who = "", " as the user that the volume belongs to, because this user can only read it"
        if stuck:
            return NoWorkersError(
                f"the workers of volume {volume!r} have begun or ended no message for "
                f"{STUCK_SECONDS:.0f} s: restart them{who}{instead}",
                volume=volume,
            )
        # The workers may have another Redis: to start one more with this one's would not help.
        url = self.config.redis_url
        where = "with the embedded index" if url is None else f"at {mask_url(url)}"
        return NoWorkersError(
            f"no worker of volume {volume!r} is alive {where}: start one with `forebay worker`{who}{instead}"
            "; if workers run, set FIFTYONE_MEDIA_CACHE_REDIS_URL to their Redis",
            volume=volume,
        )

    def can_write(self) -> bool:
        """Whether this process itself may download into the directory, or has it not at all."""
        try:
            self._check_writable()
        except VolumeError:
            return False
        return True

    def can_fetch(self) -> bool:
        """Whether this process, or a worker, may change the volume."""
        return self.can_write() or bool(self.index.workers.alive())

    def _stuck(self, alive: list[Worker]) -> bool:
        """Whether messages wait and no worker has taken one for long: liveness means progress."""
        newest = max(worker.progress for worker in alive)
        return time.time() - newest >= STUCK_SECONDS and self.queue_length() > 0
