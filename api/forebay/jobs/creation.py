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
from itertools import islice
from typing import Literal

from forebay import logs
from forebay.config.freshness import NEVER, Freshness, Update, of_update
from forebay.config.sizes import parse_duration
from forebay.errors import ConfigError, ForebayError, IndexUnavailableError, ObjectNotFoundError, SourceError
from forebay.fetch.checks_due import take_fresh
from forebay.fetch.outcome import SampleOutcome
from forebay.fetch.wanted_parts import Parts, text_of_parts
from forebay.index import Index
from forebay.index.job_records import Listed
from forebay.jobs import ledger
from forebay.jobs.dispatcher import Dispatcher
from forebay.jobs.handle import Job
from forebay.jobs.listed_samples import Samples, first_of
from forebay.jobs.message_size import message_size as sized
from forebay.parts.warmed import take_warmed
from forebay.processes import identity
from forebay.uri import canonical_uri, entry_of, is_local, local_file, plain_entry, redact, shown
from forebay.volume.cached_entries import take_cached
from forebay.volume.counters import Counters
from forebay.volume.files import Files
from forebay.volume.leases import lease_entries
from forebay.volume.recovery import Recovery

log = logging.getLogger(__name__)

# So many, or those of so many seconds, are added at a time.
_MORE_SAMPLES = 10_000
_GATHERING_SECONDS = 1.0
# With so many that are listed and not fetched, a listing waits: Redis holds the URIs of all of them.
_SAMPLES_AHEAD, _AHEAD_SECONDS, _TELL_SECONDS = 1_000_000, 0.25, 60.0
# The label of a job is the place of most of its first samples.
_LABELLED_SAMPLES = 100

MessageSize = int | Literal["auto"] | None
"""Samples in one message to the fleet: 1 to 1000, ``auto``, or ``None`` for the setting."""

Found = Samples | Sequence[str]
"""Some samples, or the URIs of some."""


class JobMaker:
    """Makes jobs of one volume.

    Args:
        index: the volume's index.
        recovery: ends what stands in the way of a lease.
        files: the volume's files.
        counters: of this process.
        dispatcher: runs the jobs.
    """

    def __init__(
        self, index: Index, recovery: Recovery, files: Files, counters: Counters, dispatcher: Dispatcher
    ) -> None:
        self._index = index
        self._recovery = recovery
        self._files = files
        self._counters = counters
        self._dispatcher = dispatcher

    def create(
        self,
        uris: Sequence[str],
        update: Update = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        parts: Parts | None = None,
    ) -> Job:
        """Writes a job down, and does not start it.

        Args:
            uris: of its samples; local paths among them count as cached.
            update: download again what has changed at its source; as `forebay.config.freshness.Update`.
            lease: how long to keep the samples from eviction, in seconds or as ``24h``.
            message_size: samples in one message to the fleet; by default as configured.
            parts: the bytes of each sample that are wanted; by default all.

        Raises:
            NoWorkersError: ``dispatch`` is ``fleet``, and no worker of the volume is alive.
            ConfigError: parts are wanted of objects that are to be updated, or verified.
        """
        return self._create(Samples(list(uris)), self._fresh(update, parts), lease, message_size, parts)

    def create_listing(
        self,
        found: Iterable[Found],
        update: Update = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        parts: Parts | None = None,
    ) -> Job:
        """Writes a job down whose samples are still being listed; once it is started, the first are fetched
        while the rest is listed, in a thread of this process.

        If the listing fails after the first samples, or this process ends before the listing does, the job
        has one more sample that failed.

        Args:
            found: samples, some at a time.
            update, lease, message_size, parts: as for `create`.

        Raises:
            NoWorkersError, ConfigError: as `create`.
            ForebayError: what listing the first samples raised.
        """
        listing, fresh = iter(found), self._fresh(update, parts)
        first, is_whole = first_of(listing)
        if is_whole:
            return self._create(first, fresh, lease, message_size, parts)
        job = self._create(first, fresh, lease, message_size, parts, lister=identity())
        context = contextvars.copy_context()
        arguments = (self._list, job.id, listing, fresh, lease, parts)
        threading.Thread(
            target=context.run, args=arguments, name=f"forebay-listing-{job.id}", daemon=True
        ).start()
        return job

    def create_listed(
        self,
        found: Iterable[Found],
        update: Update = False,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        parts: Parts | None = None,
        job: str = "",
    ) -> Job:
        """Writes a job down whose samples are being listed, returns when all are, and does not start it.

        No more than some samples are in memory at a time. If the listing fails, there is no job.

        Args:
            found, update, lease, message_size, parts: as for `create_listing`.
            job: its id; by default a new one.

        Raises:
            NoWorkersError, ConfigError: as `create`.
            ForebayError: what listing the samples raised.
        """
        listing, fresh = iter(found), self._fresh(update, parts)
        first, is_whole = first_of(listing)
        if is_whole:
            return self._create(first, fresh, lease, message_size, parts, job=job)
        made = self._create(first, fresh, lease, message_size, parts, lister=identity(), job=job)
        try:
            for samples in _gathered(listing):
                self._extend(made.id, samples, fresh, lease, parts)
        except BaseException:
            made.forget()
            raise
        self._index.jobs.seal(made.id)
        return made

    def _create(
        self,
        samples: Samples,
        fresh: Freshness,
        lease: float | str | None,
        message_size: MessageSize,
        parts: Parts | None,
        lister: str = "",
        job: str = "",
    ) -> Job:
        _check(samples, fresh, parts)
        remote, entries, broken = _sort(samples)
        total = len(samples)
        # A job is no use at a master that is not one any more.
        self._recovery.catch_up()
        job = job or ledger.new_id()
        name = None if lease is None else f"job-{job}"
        try:
            if name is not None:
                lease_entries(self._index, self._recovery, name, entries, parse_duration(lease or 0))
            missing = self._missing(remote, entries, parts, fresh)
            dispatch, threads = self._dispatcher.choose() if missing or lister else ("local", 1)
            ledger.create(
                self._index.jobs,
                job,
                missing,
                total=total,
                present=total - len(missing) - len(broken),
                failed=broken,
                dispatch=dispatch,
                # As many are sure to follow as make a message worth while.
                message_size=self._message_size(message_size, total if lister else len(missing), threads),
                update=fresh.text(),
                lease=name,
                label=_label(missing or remote),
                lister=lister,
                parts="" if parts is None else text_of_parts(parts),
                priority=self._dispatcher.config.priority,
                quota=self._dispatcher.config.quota or "",
            )
        except BaseException:
            # Without the job, its lease would last until it expires.
            if name is not None:
                self._index.leases.end(name)
            raise
        with logs.about(job):
            numbers = (f"{'at least ' if lister else ''}{total}", len(missing), dispatch)
            log.info("job %s: %s samples, %d to download by %s dispatch", job, *numbers)
        return Job(job, self._index, self._dispatcher)

    def _list(
        self,
        job: str,
        found: Iterator[Found],
        fresh: Freshness,
        lease: float | str | None,
        parts: Parts | None,
    ) -> None:
        """Adds what is found to a job until its end, which it always writes down."""
        records = self._index.jobs
        logs.job.set(job)
        try:
            for samples in _gathered(found):
                if not self._extend(job, samples, fresh, lease, parts):
                    return
                if self._wait_while_ahead(job):
                    ledger.break_off(records, job, "the job was cancelled")
                    return
            records.seal(job)
        except Exception as error:
            log.error("job %s: its listing broke off: %s", job, error)
            where, reason = (error.uri, error.reason) if isinstance(error, SourceError) else ("", str(error))
            # Where Redis is gone, the job is as well, or a job monitor ends the listing.
            with contextlib.suppress(IndexUnavailableError):
                ledger.break_off(records, job, reason, where)

    def _wait_while_ahead(self, job: str) -> bool:
        """Waits while very many samples are listed and not fetched; returns whether the job was cancelled."""
        records, told = self._index.jobs, 0.0
        while not records.cancelled(job):
            if int(records.read(job).get("pending", 0)) <= _SAMPLES_AHEAD:
                return False
            if time.monotonic() - told > _TELL_SECONDS:
                # Else it would count as dead while nothing of the job is fetched.
                told = time.monotonic()
                records.write(job, "listed")
            time.sleep(_AHEAD_SECONDS)
        return True

    def _extend(
        self,
        job: str,
        samples: Samples,
        fresh: Freshness,
        lease: float | str | None,
        parts: Parts | None,
    ) -> bool:
        """Adds samples to a job; false if its listing has been ended meanwhile."""
        _check(samples, fresh, parts)
        remote, entries, broken = _sort(samples)
        if lease is not None:
            lease_entries(self._index, self._recovery, f"job-{job}", entries, parse_duration(lease))
        missing = self._missing(remote, entries, parts, fresh)
        records = self._index.jobs
        present = len(samples) - len(missing) - len(broken)
        first = ledger.extend(records, job, missing, total=len(samples), present=present, failed=broken)
        fields = records.read(job)
        if first >= 0 and missing and fields.get("dispatch") == "fleet" and "enqueued" in fields:
            size = int(fields["message_size"])
            self._dispatcher.enqueue(job, range(first // size, -(-(first + len(missing)) // size)))
        return first >= 0

    def _fresh(self, update: Update, parts: Parts | None) -> Freshness:
        # What is there of an object in part is of the version that its record names.
        return NEVER if parts is not None and update is False else of_update(update, self._dispatcher.config)

    def _missing(
        self, remote: Sequence[Listed], entries: Sequence[str], parts: Parts | None, fresh: Freshness
    ) -> Sequence[Listed]:
        """Those that are not cached, or must be compared with their sources; the others count as used now."""
        if fresh.is_always:
            return remote
        present = take_cached(self._index, self._files, entries)
        if parts is not None:
            absent = [n for n, there in enumerate(present) if not there]
            warmed = take_warmed(self._index, self._files, [entries[n] for n in absent], parts)
            for number, there in zip(absent, warmed, strict=True):
                present[number] = there
        missing = [uri for uri, there in zip(remote, present, strict=True) if not there]
        self._counters.misses += len(missing)
        self._counters.hits += len(remote) - len(missing)
        if fresh.is_by_age and self._dispatcher.can_fetch():
            uris = [one if isinstance(one, str) else one[0] for one in remote]
            present = take_fresh(self._index, fresh, uris, entries, present)
            missing = [uri for uri, there in zip(remote, present, strict=True) if not there]
        return missing

    def _message_size(self, wanted: MessageSize, samples: int, threads: int) -> int:
        configured = self._dispatcher.config.message_size if wanted is None else wanted
        if configured != "auto" and not (isinstance(configured, int) and 1 <= configured <= 1000):
            raise ConfigError(
                f"message_size={shown(configured)} is not allowed: must be 'auto' or a number from 1 to 1000",
                setting="message_size",
            )
        return sized(configured, samples, threads)


def _check(samples: Samples, fresh: Freshness, parts: Parts | None) -> None:
    """Refuses what cannot be done with parts of objects."""
    if parts is not None and not isinstance(parts, Parts):
        raise ConfigError(
            f"expected parts=forebay.Parts(head='16MiB') or the like, and this is {shown(parts)}"
        )
    if parts is not None and (fresh.is_always or fresh.is_by_age):
        raise ConfigError(
            "an update compares whole objects: clear those that have changed, and prefetch their parts again"
        )
    if parts is not None and samples.checksums:
        raise ConfigError("checksums are of whole objects: leave them out to prefetch parts")


def _gathered(found: Iterator[Found]) -> Iterator[Samples]:
    """Fewer and larger parts: each costs some round trips."""
    samples = Samples()
    began = time.monotonic()
    for part in found:
        samples.add(part)
        if len(samples) >= _MORE_SAMPLES or time.monotonic() - began > _GATHERING_SECONDS:
            yield samples
            samples, began = Samples(), time.monotonic()
    if samples:
        yield samples


def _sort(samples: Samples) -> tuple[list[Listed], list[str], list[SampleOutcome]]:
    """The remote URIs, with their checksums, their entries, and failures: bad URIs, and local files that are
    not there."""
    uris, checksums = samples.uris, samples.checksums
    # Mostly all are plain, and need no more than this.
    plain = [plain_entry(uri) for uri in uris]
    certain = [entry for entry in plain if entry is not None]
    if len(certain) == len(uris):
        remote: list[Listed] = [*uris] if not checksums else list(map(_with, uris, checksums))
        return remote, certain, list(samples.broken)
    remote = []
    entries: list[str] = []
    broken: list[SampleOutcome] = []
    for number, (uri, known) in enumerate(zip(uris, plain, strict=True)):
        checksum = checksums[number] if checksums else ""
        if known is not None:
            remote.append(_with(uri, checksum))
            entries.append(known)
            continue
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
            # Workers need not know the aliases of this process.
            remote.append(_with(canonical_uri(uri), checksum))
            entries.append(entry)
    return remote, entries, broken + samples.broken


def _with(uri: str, checksum: str) -> Listed:
    return [uri, checksum] if checksum else uri


def _label(samples: Iterable[Listed]) -> str:
    """Where samples come from, without secrets: the bucket or host of most of them."""
    some = [one if isinstance(one, str) else one[0] for one in islice(samples, _LABELLED_SAMPLES)]
    places = Counter("/".join(redact(uri).split("/", 3)[:3]) for uri in some)
    return places.most_common(1)[0][0] if places else ""
