"""Workers: what each worker of a volume says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forebay.index.part import Part
from forebay.index.records import clock_ahead, json_object
from forebay.processes import is_identity_alive

# A worker says that it lives every 5 seconds.
ALIVE_SECONDS = 16.0
# One that was killed is remembered for so long, so that operators learn of it.
GONE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's last report.

    Attributes:
        name: as Celery names it.
        concurrency: how many tasks it runs at a time.
        seen: its last heartbeat, in seconds since the epoch, by the clock of this machine.
        progress: when it last began or ended a message.
        done: samples that it has ended.
        process: the `forebay.processes.identity` of its main process.
    """

    name: str
    concurrency: int
    seen: float
    progress: float
    done: int = 0
    process: str = ""

    @property
    def alive(self) -> bool:
        """Whether it has reported lately."""
        return time.time() - self.seen < ALIVE_SECONDS

    @property
    def ended(self) -> bool:
        """Whether its process is known to have ended; False also where this process cannot tell."""
        return not is_identity_alive(self.process)

    @classmethod
    def parse(cls, text: str) -> Worker | None:
        """The worker that a record in Redis describes; ``None`` where it does not."""
        found = json_object(text)
        try:
            return cls(
                str(found["name"]),
                int(found["concurrency"]),
                float(found["seen"]),
                float(found["progress"]),
                int(found.get("done", 0)),
                str(found.get("process", "")),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


def workers_of(records: Mapping[str, str], ahead: float) -> list[Worker]:
    """The workers that records in Redis describe, with the times of this machine's clock; by name.

    Args:
        ahead: see `clock_ahead`.
    """
    workers = [
        replace(one, seen=one.seen + ahead, progress=one.progress + ahead)
        for one in map(Worker.parse, records.values())
        if one is not None
    ]
    return sorted(workers, key=lambda worker: worker.name)


class Workers(Part):
    """The workers of one volume."""

    def all(self) -> list[Worker]:
        """Workers that are alive, and those that ended lately without a clean stop; by name."""
        found, now = self._connection.pipeline(("hgetall", self._keys.workers), ("time",))
        return workers_of(found, clock_ahead(now))

    def alive(self) -> list[Worker]:
        """Workers that are alive, by name."""
        return [worker for worker in self.all() if worker.alive]

    def announce(self, name: str, concurrency: int, *, samples: int | None = None, process: str = "") -> None:
        """Records a worker's heartbeat, and its progress.

        Args:
            process: the identity of its main process.
            samples: how many samples it has ended since its last report; ``None`` for a heartbeat alone.
        """
        ended = "" if samples is None else samples
        self._script("worker_announce", [self._keys.workers], [name, concurrency, ended, process])

    def retire(self, name: str) -> None:
        """Removes a worker that has stopped."""
        self._connection.command("hdel", self._keys.workers, name)

    def forget_gone(self) -> None:
        """Removes workers that ended without a clean stop, some time after their last heartbeat."""
        for worker in self.all():
            if time.time() - worker.seen > GONE_SECONDS:
                self.retire(worker.name)
