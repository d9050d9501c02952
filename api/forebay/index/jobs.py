"""The ledger of jobs: what was asked for, and how each sample ended.

The ledger is the truth about a job; messages are only hints that there is something to do. Samples
that were cached already when the job was made are counted and not listed. The others are numbered
from 0 and kept in packs, one pack for each message: ``job:<id>:uris`` holds a pack's URIs as JSON,
``job:<id>:states`` one character for each sample (``p`` pending, ``c`` cached, ``d`` downloaded,
``f`` failed), ``job:<id>:attempts`` how often each pack was begun.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.index.index import BATCH, Index, batches

_PARTS = ("", "uris", "states", "failures", "attempts")


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack of a job.

    Attributes:
        samples: number and URI of those that are still pending.
        attempts: how often the pack has been begun, this time included.
        update: whether what changed at its source is downloaded again.
        cancelled: whether the job has been cancelled.
    """

    samples: list[tuple[int, str]]
    attempts: int
    update: bool
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """What a message says of a pack, for people.

    Attributes:
        number: the pack's.
        pending: how many of its samples have not ended.
        begun: how often it has been begun.
        uri: the only sample that has not ended, as it was given; ``None`` where there are more, or none.
    """

    number: int
    pending: int
    begun: int
    uri: str | None


class Ledger:
    """All jobs of one volume."""

    def __init__(self, index: Index) -> None:
        self._connection = index.connection
        self._keys = index.keys

    def create(self, job: str, fields: dict[str, Any], samples: Sequence[str], pack_size: int) -> None:
        """Writes a job down.

        Args:
            fields: whatever else there is to know of the job; counts and times are added.
            samples: the URIs that are not cached yet.
            pack_size: samples in a pack.
        """
        now = time.time()
        states, uris = self._keys.job(job, "states"), self._keys.job(job, "uris")
        for at in range(0, len(samples), 50_000):
            self._connection.command("setrange", states, at, "p" * min(50_000, len(samples) - at))
        for batch in batches(enumerate(batches(samples, pack_size)), max(1, BATCH // pack_size)):
            packs = {str(number): json.dumps(pack) for number, pack in batch}
            self._connection.command("hset", uris, mapping=packs)
        counts = {"pending": len(samples), "downloaded": 0, "bytes": 0, "pack_size": pack_size}
        times = {"created": now, "updated": now} | ({} if samples else {"finished": now})
        self._connection.pipeline(
            ("hset", self._keys.job(job), None, None, {"cached": 0, "failed": 0} | fields | counts | times),
            ("zadd", self._keys.jobs, {job: now}),
        )

    def read(self, job: str) -> dict[str, str]:
        """A job's fields; empty when there is no such job."""
        return dict(self._connection.command("hgetall", self._keys.job(job)))

    def write(self, job: str, **fields: Any) -> None:
        """Sets fields of a job that exists."""
        if self._connection.command("exists", self._keys.job(job)):
            self._connection.command("hset", self._keys.job(job), mapping=fields)

    def begin(self, job: str, pack: int) -> Pack:
        """What is left to do of a pack; counts as an attempt at it."""
        size = int(self._connection.command("hget", self._keys.job(job), "pack_size") or 0)
        if not size:
            return Pack([], 0, False, cancelled=True)
        text, states, attempts, (update, cancelled) = self._connection.pipeline(
            ("hget", self._keys.job(job, "uris"), str(pack)),
            ("getrange", self._keys.job(job, "states"), pack * size, (pack + 1) * size - 1),
            ("hincrby", self._keys.job(job, "attempts"), str(pack), 1),
            ("hmget", self._keys.job(job), ["update", "cancelled"]),
        )
        samples = [
            (pack * size + offset, uri)
            for offset, (uri, state) in enumerate(zip(json.loads(text or "[]"), states, strict=False))
            if state == "p"
        ]
        return Pack(samples, int(attempts), update == "1", bool(cancelled))

    def cancelled(self, job: str) -> bool:
        """Whether a job has been cancelled, or forgotten."""
        pack_size, flag = self._connection.command("hmget", self._keys.job(job), ["pack_size", "cancelled"])
        return pack_size is None or bool(flag)

    def unbegin(self, job: str, pack: int) -> None:
        """Takes back an attempt at a pack that was ended in good order before its time."""
        self._connection.command("hincrby", self._keys.job(job, "attempts"), str(pack), -1)

    def suspect(self, job: str, number: int) -> int:
        """Notes that a sample is begun whose pack was begun too often; returns how often it was."""
        return int(
            self._connection.command("hincrby", self._keys.job(job, "attempts"), f"sample:{number}", 1)
        )

    def mark(self, job: str, outcomes: Sequence[tuple[int, str, int, str]]) -> int:
        """Records how samples ended: number, state, bytes, and the failure as JSON.

        Returns:
            how many samples are still pending; -1 when there is no such job.
        """
        keys = [self._keys.job(job), self._keys.job(job, "states"), self._keys.job(job, "failures")]
        pending = -1
        for batch in batches(outcomes):
            arguments = [part for outcome in batch for part in outcome]
            pending = int(self._connection.script("job_mark", keys, [time.time(), *arguments]))
        return pending

    def failures(self, job: str) -> list[tuple[int, dict[str, Any]]]:
        """The failed samples: number, and what was noted."""
        key, found, cursor = self._keys.job(job, "failures"), {}, 0
        while True:
            cursor, page = self._connection.command("hscan", key, cursor, count=BATCH)
            found.update({int(number): json.loads(text) for number, text in page.items()})
            if not cursor:
                return sorted(found.items())

    def retry(self, job: str) -> int:
        """Makes the failed samples pending again; returns how many there are."""
        keys = [self._keys.job(job), self._keys.job(job, "states"), self._keys.job(job, "failures")]
        again = 0
        numbers = [number for number, _ in self.failures(job)]
        for batch in batches(numbers):
            again += int(self._connection.script("job_retry", keys, [time.time(), *batch]))
        if numbers:
            self._connection.command("delete", self._keys.job(job, "attempts"))
        return again

    def pending_packs(self, job: str) -> list[int]:
        """The packs that have pending samples."""
        size = int(self._connection.command("hget", self._keys.job(job), "pack_size") or 1)
        packs: list[int] = []
        at, step = 0, size * max(1, 50_000 // size)
        while states := self._connection.command(
            "getrange", self._keys.job(job, "states"), at, at + step - 1
        ):
            packs += [
                (at + offset) // size
                for offset in range(0, len(states), size)
                if "p" in states[offset : offset + size]
            ]
            at += step
        return packs

    def outline(self, job: str, packs: Sequence[int]) -> Iterator[Outline]:
        """What there is to say of packs, in their order."""
        size = int(self._connection.command("hget", self._keys.job(job), "pack_size") or 1)
        attempts, uris = self._keys.job(job, "attempts"), self._keys.job(job, "uris")
        for batch in batches(packs):
            begun, *states = self._connection.pipeline(
                ("hmget", attempts, [str(number) for number in batch]),
                *(("getrange", self._keys.job(job, "states"), n * size, (n + 1) * size - 1) for n in batch),
            )
            pending = [text.count("p") for text in states]
            # The URIs of larger packs are not read only to be counted.
            alone = [str(number) for number, count in zip(batch, pending, strict=True) if count == 1]
            texts = self._connection.command("hmget", uris, alone) if alone else []
            lists = {int(number): json.loads(text) for number, text in zip(alone, texts, strict=True) if text}
            for at, number in enumerate(batch):
                uri = lists[number][states[at].index("p")] if number in lists else None
                yield Outline(number, pending[at], int(begun[at] or 0), uri)

    def jobs(self) -> list[str]:
        """The ids of all jobs, oldest first."""
        return list(self._connection.command("zrange", self._keys.jobs, 0, -1))

    def delete(self, job: str) -> None:
        """Forgets a job."""
        self._connection.pipeline(
            *(("unlink", self._keys.job(job, part)) for part in _PARTS), ("zrem", self._keys.jobs, job)
        )

    def forget_old(self, seconds: float) -> int:
        """Forgets jobs that were last heard of so many seconds ago; returns how many."""
        forgotten = 0
        for job in self.jobs():
            fields = self.read(job)
            if not fields or time.time() - float(fields["updated"]) > seconds:
                self.delete(job)
                forgotten += 1
        return forgotten
