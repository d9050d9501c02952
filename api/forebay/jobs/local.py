"""Local dispatch: this process downloads a job's samples itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from forebay import logs
from forebay.backoff import Backoff
from forebay.fetch.fetcher import Fetcher
from forebay.fetch.outcome import SampleOutcome
from forebay.index.job_records import JobRecords
from forebay.jobs.ledger import Cancellation, record

log = logging.getLogger(__name__)

_LISTING_PAUSE_SECONDS = (0.02, 0.5)


class LocalRunner:
    """Downloads the pending samples of one job in a thread of its own.

    Args:
        job: the job's id.
        records: of the volume's jobs.
        fetcher: downloads.
        session: the id of this process's session, which the job names as its runner.

    Attributes:
        error: what ended it before the job had ended.
    """

    def __init__(self, job: str, records: JobRecords, fetcher: Fetcher, session: str) -> None:
        self._job = job
        self._records = records
        self._fetcher = fetcher
        self._next = 0
        self.error: Exception | None = None
        # Not the thread itself: an interrupt of its join() makes it look as if it had ended.
        self._ended = threading.Event()
        records.write(job, runner=session)
        threading.Thread(target=self._run, name=f"forebay-job-{job}", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    def join(self, seconds: float) -> None:
        """Waits for its end, for at most ``seconds``."""
        self._ended.wait(seconds)

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
            self._ended.set()

    def _fetch(self) -> None:
        """Fetches what is listed, and then what has been listed meanwhile, until the listing has ended."""
        cancelled, pause = Cancellation(self._records, self._job), Backoff(*_LISTING_PAUSE_SECONDS)
        while True:
            fields, seen = self._records.read(self._job), self._next
            self._fetcher.fetch(
                self._pending(),
                self._record,
                update=fields.get("update") == "1",
                cancelled=cancelled,
            )
            if "lister" not in fields or cancelled():
                return
            if self._next > seen:
                pause.reset()
            else:
                time.sleep(pause.next())

    def _record(self, outcomes: list[SampleOutcome]) -> None:
        record(self._records, self._job, outcomes)

    def _pending(self) -> Iterator[tuple[int, str]]:
        while messages := self._records.pending_messages(self._job, self._next):
            for message in messages:
                self._next = message + 1
                yield from self._records.begin(self._job, message).samples
