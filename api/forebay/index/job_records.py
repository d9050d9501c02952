"""The ledger of jobs: what was asked for, and how each sample ended.

The ledger is the truth about a job; messages are only hints that there is something to do. Samples
that were cached already when the job was made are counted and not listed. The others are numbered
from 0 and divided into messages: ``job:<id>:uris`` holds the URIs of each message as JSON, in the place of a
URI the URI and its checksum where a list gives one, until all samples of the message have ended well,
``job:<id>:states`` one character for each sample (``p`` pending, ``c`` cached, ``d`` downloaded,
``f`` failed), ``job:<id>:attempts`` how often each message was begun. Messages may be shorter than others
where a job was made while its samples were listed; the numbers that they leave out are no samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.index.part import Part
from forebay.index.records import BATCH, batches, clock_ahead, json_object

_WHOLE_NUMBERS = {
    "total",
    "present",
    "cached",
    "downloaded",
    "failed",
    "pending",
    "bytes",
    "message_size",
}
_TIMES = {"created", "updated", "finished", "listed"}
_PARTS = ("", "uris", "states", "failures", "attempts")
# The ledger of a job is written within seconds, however many samples it has.
_WRITING_SECONDS = 3600.0


Listed = str | list[str]
"""A URI, or a URI and its checksum."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a job.

    Attributes:
        samples: number and URI of those that are still pending, and the checksum that each must have.
        attempts: how often the message has been begun, this time included.
        update: which copies are compared with their sources, as `Freshness.text` says it; those that have
            changed there are downloaded again.
        cancelled: whether the job has been cancelled.
        parts: the bytes that are wanted of each object, as text; empty for all.
        priority, quota: of the job, as they were given.
    """

    samples: list[tuple[int, str, str]]
    attempts: int
    update: str
    cancelled: bool
    parts: str = ""
    priority: str = ""
    quota: str = ""


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A message in a form for people.

    Attributes:
        number: the message's.
        pending: how many of its samples have not ended.
        begun: how often it has been begun.
        uri: the only sample that has not ended, as it was given; ``None`` where there are more, or none.
    """

    number: int
    pending: int
    begun: int
    uri: str | None


def sound_fields(fields: Mapping[str, str], ahead: float) -> dict[str, str]:
    """The fields of a job's record; none where a number among them is not one: then nothing can be told.

    Args:
        ahead: see `clock_ahead`; the times in a record are Redis', and those of the result this machine's.
    """
    sound = dict(fields)
    try:
        for name in _WHOLE_NUMBERS & fields.keys():
            int(fields[name])
        for name in _TIMES & fields.keys():
            sound[name] = str(float(fields[name]) + ahead)
    except ValueError:
        return {}
    return sound


def _listed(text: str, count: int) -> list[tuple[str, str]]:
    """URI and checksum of each sample of a message. One that is missing or broken is empty, and fails."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = []
    pairs = [_pair(one) for one in found] if isinstance(found, list) else []
    return pairs + [("", "")] * (count - len(pairs))


def _pair(one: object) -> tuple[str, str]:
    if isinstance(one, str):
        return one, ""
    match one:
        case [str(uri), str(checksum)]:
            return uri, checksum
    return "", ""


def _failure(text: str) -> dict[str, Any]:
    """What was noted of a failed sample: URI, reason and attempts."""
    found = json_object(text)
    kinds = (("uri", str), ("reason", str), ("attempts", int))
    if all(isinstance(found.get(name), kind) for name, kind in kinds):
        return found
    return {"uri": "", "reason": "what was noted of it in Redis cannot be read", "attempts": 0}


class JobRecords(Part):
    """All jobs of one volume."""

    def create(self, job: str, fields: dict[str, Any], samples: Sequence[Listed], message_size: int) -> None:
        """Writes a job down.

        Args:
            fields: whatever else there is to know of the job; counts and times are added. With ``lister``,
                the identity of a process, more samples follow (see `extend`), and the job does not end
                before `seal`.
            samples: the URIs that are not cached yet.
            message_size: samples in a message.
        """
        now = self._connection.time()
        states = self._keys.job(job, "states")
        # Listed first: what a process that is killed meanwhile leaves behind is found, and removed.
        self._connection.command("zadd", self._keys.jobs, {job: now})
        for at in range(0, len(samples), 50_000):
            self._connection.command("setrange", states, at, "p" * min(50_000, len(samples) - at))
        self._write_uris(job, 0, samples, message_size)
        counts = {"pending": len(samples), "downloaded": 0, "bytes": 0, "message_size": message_size}
        ended = not samples and "lister" not in fields
        times = {"created": now, "updated": now} | ({"finished": now} if ended else {})
        self._connection.command(
            "hset", self._keys.job(job), mapping={"cached": 0, "failed": 0} | fields | counts | times
        )

    def extend(self, job: str, samples: Sequence[Listed], *, total: int, present: int) -> int:
        """Adds samples to a job that is still being listed. One process does that, one call at a time.

        Args:
            samples: the URIs that are not cached yet. They begin a new message.
            total: how many samples there are more in all.
            present: how many of these are there already.

        Returns:
            the number of the first sample; -1 when the job is not being listed (any more).
        """
        size = int(self._connection.command("hget", self._keys.job(job), "message_size") or 0)
        if not size:
            return -1
        message = -(-int(self._connection.command("strlen", self._keys.job(job, "states"))) // size)
        self._write_uris(job, message, samples, size)
        keys = [self._keys.job(job), self._keys.job(job, "states")]
        arguments = [message * size, len(samples), total, present]
        return message * size if self._script("job_extend", keys, arguments) else -1

    def seal(self, job: str) -> None:
        """Ends the listing of a job: no more samples follow."""
        self._script("job_seal", [self._keys.job(job)], [])

    def _write_uris(self, job: str, first: int, samples: Sequence[Listed], message_size: int) -> None:
        """Writes the URIs of messages, of which the first has the number ``first``."""
        numbered = enumerate(batches(samples, message_size), first)
        for batch in batches(numbered, max(1, BATCH // message_size)):
            messages = {str(number): json.dumps(message) for number, message in batch}
            self._connection.command("hset", self._keys.job(job, "uris"), mapping=messages)

    def read(self, job: str) -> dict[str, str]:
        """A job's fields; empty when there is no such job, or its record is not one that we write."""
        fields, now = self._connection.pipeline(("hgetall", self._keys.job(job)), ("time",))
        return sound_fields(fields, clock_ahead(now))

    def write(self, job: str, *now: str, **fields: Any) -> None:
        """Sets fields of a job that exists.

        Args:
            now: names of fields that get the time of now.
        """
        pairs = [part for pair in fields.items() for part in pair]
        self._script("job_write", [self._keys.job(job)], [",".join(now), *pairs])

    def begin(self, job: str, message: int) -> Message:
        """Returns what is left to do of a message; counts as an attempt at it."""
        keys = [self._keys.job(job), *(self._keys.job(job, part) for part in ("uris", "states", "attempts"))]
        size, *found = self._script("job_begin", keys, [message])
        if not size:
            return Message([], 0, "", cancelled=True)
        text, states, attempts, update, cancelled, parts, priority, quota = found
        samples = [
            (message * size + offset, *listed)
            for offset, (listed, state) in enumerate(zip(_listed(text, len(states)), states, strict=False))
            if state == "p"
        ]
        return Message(samples, int(attempts), update, bool(cancelled), parts, priority, quota)

    def cancelled(self, job: str) -> bool:
        """Whether a job has been cancelled, or forgotten."""
        message_size, flag = self._connection.command(
            "hmget", self._keys.job(job), ["message_size", "cancelled"]
        )
        return message_size is None or bool(flag)

    def unbegin(self, job: str, message: int) -> None:
        """Takes back an attempt at a message that ended cleanly, but before all samples were processed."""
        self._attempt(job, str(message), -1)

    def suspect(self, job: str, number: int) -> int:
        """Counts the begin of a sample whose message was begun too often; returns how often that was."""
        return self._attempt(job, f"sample:{number}", 1)

    def _attempt(self, job: str, what: str, change: int) -> int:
        keys = [self._keys.job(job), self._keys.job(job, "attempts")]
        return int(self._script("job_attempt", keys, [what, change]))

    def mark(self, job: str, outcomes: Sequence[tuple[int, str, int, str]]) -> int:
        """Records how samples ended: number, state, bytes, and the failure as JSON.

        Returns:
            how many samples are still pending; -1 when there is no such job.
        """
        parts = ("", "states", "failures", "uris")
        keys = [self._keys.job(job, part) if part else self._keys.job(job) for part in parts]
        pending = -1
        for batch in batches(outcomes):
            arguments = [part for outcome in batch for part in outcome]
            pending = int(self._script("job_mark", keys, arguments))
        return pending

    def failures(self, job: str) -> list[tuple[int, dict[str, Any]]]:
        """The failed samples: number, and what was noted."""
        key, found, cursor = self._keys.job(job, "failures"), {}, 0
        while True:
            cursor, page = self._connection.command("hscan", key, cursor, count=BATCH)
            found.update({int(n): _failure(text) for n, text in page.items() if n.isdecimal()})
            if not cursor:
                return sorted(found.items())

    def retry(self, job: str) -> int:
        """Makes the failed samples pending again; returns how many there are."""
        keys = [self._keys.job(job), self._keys.job(job, "states"), self._keys.job(job, "failures")]
        again = 0
        numbers = [number for number, _ in self.failures(job)]
        for batch in batches(numbers):
            again += int(self._script("job_retry", keys, batch))
        if numbers:
            self._connection.command("delete", self._keys.job(job, "attempts"))
        return again

    def pending_messages(self, job: str, first: int = 0, most: int | None = None) -> list[int]:
        """The messages that have pending samples, from the message ``first`` on.

        Args:
            most: with so many found, it is not looked for more; by default for all.
        """
        size = int(self._connection.command("hget", self._keys.job(job), "message_size") or 1)
        messages: list[int] = []
        at, step = first * size, size * max(1, 50_000 // size)
        while (most is None or len(messages) < most) and (
            states := self._connection.command("getrange", self._keys.job(job, "states"), at, at + step - 1)
        ):
            messages += [
                (at + offset) // size
                for offset in range(0, len(states), size)
                if "p" in states[offset : offset + size]
            ]
            at += step
        return messages

    def summaries(self, job: str, messages: Sequence[int]) -> Iterator[MessageSummary]:
        """Yields a summary of each message, in their order."""
        size = int(self._connection.command("hget", self._keys.job(job), "message_size") or 1)
        attempts, uris = self._keys.job(job, "attempts"), self._keys.job(job, "uris")
        for batch in batches(messages):
            begun, *states = self._connection.pipeline(
                ("hmget", attempts, [str(number) for number in batch]),
                *(("getrange", self._keys.job(job, "states"), n * size, (n + 1) * size - 1) for n in batch),
            )
            pending = [text.count("p") for text in states]
            # The URIs of larger messages are not read only to be counted.
            alone = [str(number) for number, count in zip(batch, pending, strict=True) if count == 1]
            texts = self._connection.command("hmget", uris, alone) if alone else []
            lists = {int(n): _listed(text, size) for n, text in zip(alone, texts, strict=True) if text}
            for at, number in enumerate(batch):
                uri = lists[number][states[at].index("p")][0] if number in lists else None
                yield MessageSummary(number, pending[at], int(begun[at] or 0), uri)

    def all(self) -> list[str]:
        """The ids of all jobs, oldest first."""
        return list(self._connection.command("zrange", self._keys.jobs, 0, -1))

    def delete(self, job: str) -> None:
        """Forgets a job."""
        self._connection.pipeline(
            *(("unlink", self._keys.job(job, part)) for part in _PARTS), ("zrem", self._keys.jobs, job)
        )

    def forget_old(self, seconds: float) -> int:
        """Deletes the records of jobs without activity for ``seconds``; returns how many."""
        forgotten = 0
        now = self._connection.time()
        listed = self._connection.command("zrange", self._keys.jobs, 0, -1, withscores=True)
        for job, created in listed:
            fields = sound_fields(self._connection.command("hgetall", self._keys.job(job)), 0.0)
            # Without fields it is being written right now, or its writer was killed.
            updated = float(fields.get("updated", 0)) or created + _WRITING_SECONDS - seconds
            if now - updated > seconds:
                self.delete(job)
                forgotten += 1
        return forgotten
