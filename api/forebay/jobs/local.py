"""Local dispatch: this process downloads a job's samples itself, a large job's with the help of others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from forebay import logs
from forebay.config import MediaCacheConfig
from forebay.fetch.fetcher import Fetcher
from forebay.index.job_records import JobRecords
from forebay.jobs.helpers import Helpers, processes_for
from forebay.jobs.ledger import Cancellation
from forebay.jobs.share import Division, Share

log = logging.getLogger(__name__)

# So many samples are downloaded while helpers start.
_FIRST_SAMPLES = 500


class LocalRunner:
    """Downloads the pending samples of one job in a thread of its own.

    Args:
        job: the job's id.
        config: the settings.
        records: of the volume's jobs.
        fetcher: downloads.
        session: the id of this process's session, which the job names as its runner.
        take_early: gives the helpers that were started before the job was written down, if there are any;
            they are this runner's.

    Attributes:
        error: what ended it before the job had ended.
    """

    def __init__(
        self,
        job: str,
        config: MediaCacheConfig,
        records: JobRecords,
        fetcher: Fetcher,
        session: str,
        take_early: Callable[[], Helpers | None] = lambda: None,
    ) -> None:
        self._job = job
        self._config = config
        self._records = records
        self._fetcher = fetcher
        self._helpers: Helpers | None = None
        self._early: Helpers | None = None
        self.error: Exception | None = None
        # Not the thread itself: an interrupt of its join() makes it look as if it had ended.
        self._ended = threading.Event()
        records.write(job, runner=session)
        self._early = take_early()
        threading.Thread(target=self._run, name=f"forebay-job-{job}", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    def join(self, seconds: float) -> None:
        """Waits for its end, for at most ``seconds``."""
        self._ended.wait(seconds)

    def close(self) -> None:
        """Ends its helpers, and what they have in flight."""
        if self._helpers is not None:
            self._helpers.close()

    def _run(self) -> None:
        logs.job.set(self._job)
        try:
            self._fetch()
        except Exception as error:
            # The process that waits for the job raises it; any process can resume the job.
            self.error = error
            if not self._fetcher.is_closed:
                log.error("job %s stopped: %s", self._job, error)
        finally:
            self._drop_early()
            self._ended.set()

    def _fetch(self) -> None:
        cancelled = Cancellation(self._records, self._job)
        share = Share(self._job, self._records, self._fetcher)

        def look_for_help(fields: dict[str, str], first: int) -> None:
            if self._helpers is None:
                self._start_helpers(share, fields, first)

        try:
            share.fetch(cancelled, look_for_help)
            if self._helpers is not None:
                self._helpers.wait(lambda: self._fetcher.is_closed)
        finally:
            self.close()
            self._fetcher.divide(1)
        if self._helpers is not None and not cancelled():
            # One of them may have been killed.
            Share(self._job, self._records, self._fetcher).fetch(cancelled, lambda *_: None)

    def _start_helpers(self, share: Share, fields: dict[str, str], first: int) -> None:
        """Starts helpers, if the job has become large enough for them.

        Args:
            first: the first message of which no sample is being downloaded.
        """
        pending, size = int(fields.get("pending", 0)), int(fields.get("message_size", 1))
        processes = processes_for(self._config.local_processes, pending)
        if processes == 1:
            if "lister" not in fields:
                self._drop_early()
            return
        # Those that were started early are as far as this process is.
        early, self._early = self._early, None
        if early is not None and early.begin(self._job, division := Division(early.processes, first)):
            self._helpers = early
        else:
            division = Division(processes, first + -(-_FIRST_SAMPLES // size))
            self._helpers = Helpers(self._config, processes)
            if not self._helpers.begin(self._job, division):
                return
        share.division = division
        self._fetcher.divide(division.processes)

    def _drop_early(self) -> None:
        early, self._early = self._early, None
        if early is not None:
            early.kill()
