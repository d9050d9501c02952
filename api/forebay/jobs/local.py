"""Local dispatch: this process downloads a job's samples with threads of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forebay import logs
from forebay.index.jobs import Ledger
from forebay.jobs.jobs import Cancellation, record

if TYPE_CHECKING:
    from forebay.fetch.fetcher import Fetcher, Outcome
    from forebay.volume.volume import Volume

log = logging.getLogger(__name__)


class LocalRunner:
    """Works off the pending samples of one job in a thread of its own.

    Args:
        job: the job's id.
    """

    def __init__(self, job: str, volume: Volume, fetcher: Fetcher) -> None:
        self._job = job
        self._volume = volume
        self._fetcher = fetcher
        self._ledger = Ledger(volume.index)
        self.error: Exception | None = None
        # Not the thread itself: an interrupt of its join() makes it look as if it had ended.
        self._ended = threading.Event()
        thread = threading.Thread(target=self._run, name=f"forebay-job-{job}", daemon=True)
        self._ledger.write(job, runner=volume.session.id)
        thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at it."""
        return not self._ended.is_set()

    def join(self, seconds: float) -> None:
        """Waits for its end, for at most ``seconds``."""
        self._ended.wait(seconds)

    def _run(self) -> None:
        logs.job.set(self._job)
        try:
            self._fetcher.fetch(
                self._pending(),
                self._record,
                update=self._ledger.read(self._job).get("update") == "1",
                threads=self._volume.config.num_workers,
                cancelled=Cancellation(self._ledger, self._job),
            )
        except Exception as error:
            # Whoever waits for the job sees it; the job can be gone on with by anybody.
            self.error = error
            log.error("job %s stopped: %s", self._job, error)
        finally:
            self._ended.set()

    def _record(self, outcomes: list[Outcome]) -> None:
        record(self._ledger, self._job, outcomes)

    def _pending(self) -> Iterator[tuple[int, str]]:
        for pack in self._ledger.pending_packs(self._job):
            yield from self._ledger.begin(self._job, pack).samples
