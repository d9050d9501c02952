"""One process's share of a local job, which is all of it where no other process helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from forebay.backoff import Backoff
from forebay.config.freshness import of_text
from forebay.fetch.fetcher import Fetcher
from forebay.fetch.outcome import SampleOutcome
from forebay.fetch.wanted_parts import parts_of_text
from forebay.index.job_records import JobRecords
from forebay.jobs.ledger import record
from forebay.transport.urgency import at_priority

_LISTING_PAUSE_SECONDS = (0.02, 0.5)
# Looked for at a time, as a job may have millions.
_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class Division:
    """How the messages of a job are divided among processes, which have numbers from 0 on.

    Attributes:
        processes: how many there are.
        first: all messages before this one are process 0's, as the others take a moment to start.
    """

    processes: int = 1
    first: int = 0

    def owner(self, message: int) -> int:
        """The process that downloads a message."""
        return message % self.processes if message >= self.first else 0


class Share:
    """The messages of a job that one process downloads.

    Args:
        job: the job's id.
        records: of the volume's jobs.
        fetcher: downloads.
        number: of the process.

    Attributes:
        division: of the job's messages.
    """

    def __init__(
        self,
        job: str,
        records: JobRecords,
        fetcher: Fetcher,
        number: int = 0,
        division: Division = Division(),
    ) -> None:
        self.division = division
        self._job = job
        self._records = records
        self._fetcher = fetcher
        self._number = number
        self._next = 0

    def fetch(self, cancelled: Callable[[], bool], before: Callable[[dict[str, str], int], object]) -> None:
        """Fetches what is listed, and then what has been listed meanwhile, until the listing has ended.

        Args:
            cancelled: asked before downloads begin.
            before: called with the job's record, and the first message that has not been looked at, before
                messages are: again and again, as they are taken when their turn comes.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        pause = Backoff(*_LISTING_PAUSE_SECONDS)
        while True:
            fields, seen = self._records.read(self._job), self._next
            with at_priority(fields.get("priority", "")):
                self._fetcher.fetch(
                    self._pending(before),
                    self._record,
                    fresh=of_text(fields.get("update", "")),
                    cancelled=cancelled,
                    wanted=parts_of_text(fields.get("parts", "")),
                    quota=fields.get("quota", ""),
                )
            if "lister" not in fields or cancelled():
                return
            if self._next > seen:
                pause.reset()
            else:
                time.sleep(pause.next())

    def _record(self, outcomes: list[SampleOutcome]) -> None:
        record(self._records, self._job, outcomes)

    def _pending(self, before: Callable[[dict[str, str], int], object]) -> Iterator[tuple[int, str, str]]:
        while True:
            before(self._records.read(self._job), self._next)
            messages = self._records.pending_messages(self._job, self._next, _MESSAGES)
            if not messages:
                return
            for message in messages:
                self._next = message + 1
                if self.division.owner(message) == self._number:
                    yield from self._records.begin(self._job, message).samples
