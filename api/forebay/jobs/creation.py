"""Making jobs: which samples are missing, who will download them, and what the ledger says of it."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from forebay import logs
from forebay.config.sizes import parse_duration
from forebay.errors import ConfigError, ForebayError, IndexUnavailableError, ObjectNotFoundError, SourceError
from forebay.fetch.outcome import SampleOutcome
from forebay.index import Index
from forebay.jobs import ledger
from forebay.jobs.dispatcher import Dispatcher
from forebay.jobs.handle import Job
from forebay.jobs.message_size import message_size as sized
from forebay.processes import identity
from forebay.uri import entry_of, is_local, local_file, redact
from forebay.volume.counters import Counters
from forebay.volume.files import Files
from forebay.volume.leases import lease_entries

log = logging.getLogger(__name__)

# With so many the download begins; so many, or those of so many seconds, are added at a time.
_FIRST_SAMPLES = 1000
_MORE_SAMPLES = 10_000
_GATHERING_SECONDS = 1.0

MessageSize = int | Literal["auto"] | None
"""Samples in one message to the fleet: 1 to 1000, ``auto``, or ``None`` for the setting."""


class JobMaker:
    """Makes jobs of one volume.

    Args:
        index: the volume's index.
        files: the volume's files.
        counters: of this process.
        dispatcher: runs the jobs.
    """

    def __init__(self, index: Index, files: Files, counters: Counters, dispatcher: Dispatcher) -> None:
        self._index = index
        self._files = files
        self._counters = counters
        self._dispatcher = dispatcher

    def create(
        self,
        uris: Sequence[str],
        *,
        update: bool = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
    ) -> Job:
        """Writes a job down, and does not start it.

        Args:
            uris: of its samples; local paths among them count as cached.
            update: download again what has changed at its source.
            lease: how long to keep the samples from eviction, in seconds or as ``24h``.
            message_size: samples in one message to the fleet; by default as configured.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
        """
        return self._create(uris, update, lease, message_size)

    def create_listing(
        self,
        found: Iterable[Sequence[str]],
        *,
        update: bool = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
    ) -> Job:
        """Writes a job down whose samples are still being listed; once it is started, the first are fetched
        while the rest is listed, in a thread of this process.

        If the listing fails after the first samples, or this process ends before the listing does, the job
        has one more sample that failed.

        Args:
            found: URIs, some at a time.
            update, lease, message_size: as for `create`.

        Raises:
            NoWorkersError: as `create`.
            ForebayError: what listing the first samples raised.
        """
        parts = iter(found)
        first: list[str] = []
        for uris in parts:
            first += uris
            if len(first) >= _FIRST_SAMPLES:
                break
        else:
            return self._create(first, update, lease, message_size)
        job = self._create(first, update, lease, message_size, lister=identity())
        context = contextvars.copy_context()
        arguments = (self._list, job.id, parts, update, lease)
        threading.Thread(
            target=context.run, args=arguments, name=f"forebay-listing-{job.id}", daemon=True
        ).start()
        return job

    def _create(
        self,
        uris: Sequence[str],
        update: bool,
        lease: float | str | None,
        message_size: MessageSize,
        lister: str = "",
    ) -> Job:
        remote, entries, broken = _sort(uris)
        job = ledger.new_id()
        name = None if lease is None else f"job-{job}"
        try:
            if name is not None:
                lease_entries(self._index, name, entries, parse_duration(lease or 0))
            missing = remote if update else self._missing(remote, entries)
            dispatch, threads = self._dispatcher.choose() if missing or lister else ("local", 1)
            ledger.create(
                self._index.jobs,
                job,
                missing,
                total=len(uris),
                present=len(uris) - len(missing) - len(broken),
                failed=broken,
                dispatch=dispatch,
                # As many are sure to follow as make a message worth while.
                message_size=self._message_size(message_size, len(uris if lister else missing), threads),
                update=update,
                lease=name,
                label=_label(missing or remote),
                lister=lister,
            )
        except BaseException:
            # Without the job, its lease would last until it expires.
            if name is not None:
                self._index.leases.end(name)
            raise
        with logs.about(job):
            numbers = (f"{'at least ' if lister else ''}{len(uris)}", len(missing), dispatch)
            log.info("job %s: %s samples, %d to download by %s dispatch", job, *numbers)
        return Job(job, self._index, self._dispatcher)

    def _list(
        self, job: str, found: Iterator[Sequence[str]], update: bool, lease: float | str | None
    ) -> None:
        """Adds what is found to a job until its end, which it always writes down."""
        records = self._index.jobs
        logs.job.set(job)
        try:
            for uris in _gathered(found):
                if not self._extend(job, uris, update, lease):
                    return
                if records.cancelled(job):
                    ledger.break_off(records, job, "the job was cancelled")
                    return
            records.seal(job)
        except Exception as error:
            log.error("job %s: its listing broke off: %s", job, error)
            where, reason = (error.uri, error.reason) if isinstance(error, SourceError) else ("", str(error))
            # Where Redis is gone, the job is as well, or a job monitor ends the listing.
            with contextlib.suppress(IndexUnavailableError):
                ledger.break_off(records, job, reason, where)

    def _extend(self, job: str, uris: Sequence[str], update: bool, lease: float | str | None) -> bool:
        """Adds samples to a job; false if its listing has been ended meanwhile."""
        remote, entries, broken = _sort(uris)
        if lease is not None:
            lease_entries(self._index, f"job-{job}", entries, parse_duration(lease))
        missing = remote if update else self._missing(remote, entries)
        records = self._index.jobs
        present = len(uris) - len(missing) - len(broken)
        first = ledger.extend(records, job, missing, total=len(uris), present=present, failed=broken)
        fields = records.read(job)
        if first >= 0 and missing and fields.get("dispatch") == "fleet" and "enqueued" in fields:
            size = int(fields["message_size"])
            self._dispatcher.enqueue(job, range(first // size, -(-(first + len(missing)) // size)))
        return first >= 0

    def _missing(self, remote: Sequence[str], entries: Sequence[str]) -> list[str]:
        """The URIs that are not cached; those that are count as used now."""
        present = self._files.touch_published(entries, self._index.entries.present(entries))
        missing = [uri for uri, there in zip(remote, present, strict=True) if not there]
        self._counters.misses += len(missing)
        self._counters.hits += len(remote) - len(missing)
        return missing

    def _message_size(self, wanted: MessageSize, samples: int, threads: int) -> int:
        configured = self._dispatcher.config.message_size if wanted is None else wanted
        if configured != "auto" and not (isinstance(configured, int) and 1 <= configured <= 1000):
            raise ConfigError(
                f"message_size={configured!r} is not allowed: must be 'auto' or a number from 1 to 1000",
                setting="message_size",
            )
        return sized(configured, samples, threads)


def _gathered(found: Iterator[Sequence[str]]) -> Iterator[list[str]]:
    """Fewer and larger parts: each costs some round trips."""
    uris: list[str] = []
    began = time.monotonic()
    for part in found:
        uris += part
        if len(uris) >= _MORE_SAMPLES or time.monotonic() - began > _GATHERING_SECONDS:
            yield uris
            uris, began = [], time.monotonic()
    if uris:
        yield uris


def _sort(uris: Sequence[str]) -> tuple[list[str], list[str], list[SampleOutcome]]:
    """The remote URIs, their entries, and failures: bad URIs, and local files that are not there."""
    remote: list[str] = []
    entries: list[str] = []
    broken: list[SampleOutcome] = []
    for number, uri in enumerate(uris):
        if is_local(uri):
            if not os.path.exists(local_file(uri)):
                missing = ObjectNotFoundError(uri, "there is no such local file")
                broken.append(SampleOutcome(number, uri, "failed", error=missing))
            continue
        try:
            entry = entry_of(uri)
        except ForebayError as error:
            broken.append(SampleOutcome(number, uri, "failed", error=error))
        else:
            remote.append(uri)
            entries.append(entry)
    return remote, entries, broken


def _label(uris: Iterable[str]) -> str:
    """Where samples come from, without secrets: the bucket or host of most of them."""
    some = [uri for _, uri in zip(range(1000), uris, strict=False)]
    places = Counter("/".join(redact(uri).split("/", 3)[:3]) for uri in some)
    return places.most_common(1)[0][0] if places else ""
