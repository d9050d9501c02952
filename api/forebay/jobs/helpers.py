"""Processes beside this one that download a part of a large local job, as one interpreter uses one CPU.

Each is told by its standard input what to do, and writes its log lines to its standard output, from where
they are logged here. It ends when its share is done, or its input ends. What one leaves, this process
downloads.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from forebay import capacity
from forebay.config import MediaCacheConfig
from forebay.config.request_limits import parts_of
from forebay.config.timetable import part_of
from forebay.errors import ForebayError
from forebay.jobs.helper_process import HelperProcess
from forebay.uri import entry_of, is_local

if TYPE_CHECKING:
    # What downloads takes longer to import than a job takes that has nothing to download.
    from forebay.jobs.share import Division
    from forebay.volume.files import Files

log = logging.getLogger(__name__)

# A helper is worth its start, which takes as long as some hundred downloads, for so many samples.
SAMPLES = 2000
# More processes than this would wait for Redis and for the network.
MAX_PROCESSES = 4
# A job of unknown length has so many samples, until it turns out to have fewer.
MANY = SAMPLES * MAX_PROCESSES
# So many samples tell whether most of a job is missing.
_LOOKED_AT = 16
_LOOK_SECONDS = 0.1


def processes_for(wanted: int | Literal["auto"], samples: int) -> int:
    """How many processes download a job.

    Args:
        wanted: as configured.
        samples: that are pending.
    """
    worth = 1 + samples // SAMPLES
    if worth == 1 or wanted == 1:
        return 1
    return min(worth, min(MAX_PROCESSES, capacity.auto()) if wanted == "auto" else wanted)


def most_are_missing(uris: Sequence[str], files: Files) -> bool:
    """Whether most of some samples are remote and have no file, as far as a few of them tell.

    Args:
        files: of the volume.
    """
    some = uris[:: -(-len(uris) // _LOOKED_AT)]
    missing = 0
    for uri in some:
        with contextlib.suppress(ForebayError):
            missing += not is_local(uri) and files.locate(entry_of(uri)) is None
    return missing > len(some) // 2


class Helpers:
    """The helpers of one job. They start at once, and get their shares later. Safe to be closed by another
    thread.

    Args:
        config: the settings.
        processes: how many download the job, with this one.
        example: a URI of the job.
    """

    def __init__(self, config: MediaCacheConfig, processes: int, example: str = "") -> None:
        self.processes = processes
        self._helpers: list[HelperProcess] = []
        if getattr(sys, "frozen", False) or not sys.executable:
            # There is no interpreter to start.
            return
        part = config.model_copy(
            update={
                "max_requests": max(1, config.max_requests // processes),
                "max_buffered_bytes": config.max_buffered_bytes // processes,
                "bwlimit": config.bwlimit and part_of(config.bwlimit, processes),
                "request_limits": parts_of(config.request_limits, processes),
                "num_workers": max(1, config.num_workers // processes),
            }
        )
        try:
            for _ in range(1, processes):
                self._helpers.append(HelperProcess(part, example))
        except (OSError, TypeError, ValueError) as error:
            # Clients may be given objects that are no JSON, which no other process can have.
            log.debug("this process downloads alone: %s", error)
            self.kill()
        except BaseException:
            self.kill()
            raise

    def begin(self, job: str, division: Division) -> bool:
        """Gives each its share of a job; false where they cannot help.

        Args:
            job: the job's id.
            division: of the job's messages; process 0 is this one.
        """
        if not self._helpers:
            return False
        try:
            for number, helper in enumerate(self._helpers, 1):
                parts = [division.processes, division.first]
                helper.begin({"job": job, "number": number, "division": parts})
        except OSError as error:
            log.debug("job %s is downloaded by this process alone: %s", job, error)
            self.kill()
            return False
        return True

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Waits until they have ended, or are to stop."""
        for helper in self._helpers:
            while not stopped() and not helper.wait(_LOOK_SECONDS):
                pass

    def close(self) -> None:
        """Ends those that still run, and what they have in flight."""
        for helper in self._helpers:
            helper.tell_to_end()
        for helper in self._helpers:
            helper.close()

    def kill(self) -> None:
        """Ends those that have no share, which hold nothing."""
        helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.kill()
