"""Bringing samples into the cache: claim what is missing, transfer it, commit it to the index.

Claims and commits travel in batches, reservations in blocks, so that an object costs a small part of
a round trip. An entry that somebody else has claimed is waited for, not downloaded again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forebay import logs
from forebay.errors import ForebayError, IndexUnavailableError, SourceError
from forebay.eviction.eviction import make_room
from forebay.fetch.reasons import reason_of
from forebay.fetch.transfer import Transfer
from forebay.index import Claimed, Download, Entry, SessionLostError
from forebay.threads import run_in_threads
from forebay.uri import MediaURI, parse_object
from forebay.volume import recovery
from forebay.volume.counters import Ended
from forebay.volume.session import ended_here

if TYPE_CHECKING:
    from forebay.sources.base import SourceLookup
    from forebay.volume.volume import Volume

BATCH = 128
_POLL_SECONDS = (0.005, 0.25)
# Downloads that are slower than this are published one by one, faster ones in batches.
_FLUSH_SECONDS = 0.25
# How often a claim may be lost before a sample counts as failed: more than that is no accident.
_LOST_CLAIMS = 5

State = Literal["cached", "downloaded", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one sample ended.

    Attributes:
        number: the caller's number of the sample.
        uri: its URI as it was given.
        state: ``cached`` (it was there), ``downloaded``, or ``failed``.
        size: downloaded bytes.
        error: why it failed.
        attempts: how many attempts were made at its source.
    """

    number: int
    uri: str
    state: State
    size: int = 0
    error: ForebayError | None = None
    attempts: int = 0


@dataclass(slots=True)
class _Item:
    """One object that is wanted, by one or several samples."""

    uri: MediaURI
    entry: str
    samples: list[tuple[int, str]]
    token: str = ""
    old: str = ""
    lost: int = 0
    attempts: int = 0
    first_byte: float = 0.0
    seconds: float = 0.0
    retries: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Work:
    """What is left to do of one `fetch`; guarded by ``lock``."""

    pending: deque[_Item]
    claimed: deque[_Item] = field(default_factory=deque)
    waiting: list[_Item] = field(default_factory=list)
    done: list[tuple[_Item, Download | None]] = field(default_factory=list)
    flushed: float = field(default_factory=time.monotonic)
    lock: threading.Condition = field(default_factory=threading.Condition)


class Fetcher:
    """Downloads objects into a volume.

    Args:
        volume: where to.
        sources: where from.
    """

    def __init__(self, volume: Volume, sources: SourceLookup) -> None:
        self._volume = volume
        self._sources = sources

    def fetch(
        self,
        samples: Iterable[tuple[int, str]],
        report: Callable[[list[Outcome]], None],
        *,
        update: bool = False,
        threads: int = 1,
        cancelled: Callable[[], bool] = lambda: False,
        begun: Callable[[], object] = lambda: None,
        unused: bool = False,
    ) -> None:
        """Brings samples into the cache; returns when each has been reported.

        Args:
            samples: number and URI of each.
            report: is told of outcomes, a few at a time, from any thread but never from two at once.
            update: download again what has changed at its source.
            threads: how many downloads at a time.
            cancelled: asked before each download; samples left then are not reported.
            begun: called when the last download that is known of begins, from any thread; must be quick.
            unused: nobody is waiting for these paths, or a lease keeps them: what is downloaded is not in
                its grace period.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        run = _Run(self._volume, self._sources, report, update, cancelled, begun, unused)
        run.run(samples, threads)


class _Run:
    """One call of `Fetcher.fetch`."""

    def __init__(
        self,
        volume: Volume,
        sources: SourceLookup,
        report: Callable[[list[Outcome]], None],
        update: bool,
        cancelled: Callable[[], bool],
        begun: Callable[[], object],
        unused: bool,
    ) -> None:
        self._volume = volume
        self._meter = volume.meter
        self._sources = sources
        self._report = report
        self._update = update
        self._cancelled = cancelled
        self._begun = begun
        self._idle = volume.config.grace_seconds if unused else 0.0
        self._failure: BaseException | None = None

    def run(self, samples: Iterable[tuple[int, str]], threads: int) -> None:
        self._volume.recover()
        items, broken = _by_entry(samples)
        if broken:
            self._meter.ended(Ended(None, "failed", reason="bad_uri") for _ in broken)
            self._report(broken)
        self._work = _Work(pending=deque(items))
        if items:
            threads = min(threads, len(items))
            # What is claimed ahead keeps others waiting, so it is little where one thread does it all.
            self._ahead = min(BATCH, 8 * threads)
            try:
                run_in_threads(self._work_off, threads, "forebay-fetch")
            finally:
                # What was reserved in advance is for others to use.
                self._volume.session.trim()

    # Which object is next

    def _work_off(self) -> None:
        try:
            while self._failure is None and (item := self._next()) is not None:
                self._download(item)
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            if self._failure is not None or self._cancelled():
                self._give_up()

    def _next(self) -> _Item | None:
        """The next object that this process has the claim on; ``None`` when there is nothing left."""
        work, pause = self._work, _POLL_SECONDS[0]
        with work.lock:
            while self._failure is None and not self._cancelled():
                if not work.claimed and work.pending:
                    self._claim([work.pending.popleft() for _ in range(min(self._ahead, len(work.pending)))])
                if work.claimed:
                    item = work.claimed.popleft()
                    if not (work.claimed or work.pending):
                        self._begun()
                    return item
                if work.pending:
                    continue
                self._flush()
                if work.waiting:
                    work.lock.wait(pause)
                    pause = min(pause * 1.5, _POLL_SECONDS[1])
                    work.pending.extend(work.waiting)
                    work.waiting.clear()
                elif not work.pending:
                    work.lock.notify_all()
                    break
        return None

    def _claim(self, batch: list[_Item]) -> None:
        session = self._volume.session
        answers = session.claim([item.entry for item in batch], always=self._update)
        try:
            self._sort(batch, answers)
        except BaseException:
            session.release(
                [(item.entry, token) for item, (token, a) in zip(batch, answers, strict=True) if a.granted]
            )
            raise

    def _sort(self, batch: list[_Item], answers: list[tuple[str, Claimed]]) -> None:
        """Puts each item where its claim's answer says that it belongs."""
        outcomes: list[Outcome] = []
        found: list[Ended] = []
        for item, (token, answer) in zip(batch, answers, strict=True):
            item.token = token
            if answer.granted:
                item.old = answer.value or self._adopt(item)
                if item.old and not self._update:
                    self._drop(item)
                    found.append(_found(item, item.old))
                    outcomes += _outcomes(item, "cached")
                else:
                    self._work.claimed.append(item)
            elif answer.holder:
                self._await(item, answer)
            elif self._volume.use(item.entry) is not None:
                found.append(_found(item, answer.value))
                outcomes += _outcomes(item, "cached")
            else:
                # The index says that it is there, and the disk that it is not: the disk is right, unless
                # an evictor is between the two.
                self._volume.index.forget([(item.entry, answer.value)])
                self._work.pending.append(item)
        if outcomes:
            self._meter.ended(found)
            self._report(outcomes)

    def _await(self, item: _Item, answer: Claimed) -> None:
        """Waits for whoever has the claim, or cleans up after them."""
        holder = answer.holder.rpartition(".")[0]
        if answer.holder_alive and not ended_here(holder):
            self._work.waiting.append(item)
        else:
            recovery.reap(self._volume, holder)
            self._work.pending.append(item)

    def _adopt(self, item: _Item) -> str:
        """Takes a file into the index that lies on the volume already, and returns its value.

        Redis was started empty, and the sweep has not come by yet. The file is complete, or it would not
        have its name.
        """
        path = self._volume.locate(item.entry) if self._volume.holds_unknown else None
        if path is None:
            return ""
        try:
            record = recovery.describe(item.entry, path)
        except FileNotFoundError:
            return ""
        self._volume.index.adopt([record], counted=True, token=item.token)
        return record[-1]

    def _give_up(self) -> None:
        """Gives back the claims on what will not be downloaded."""
        with self._work.lock:
            self._flush()
            self._release_ahead()
            self._work.pending.clear()
            self._work.waiting.clear()

    def _release_ahead(self) -> None:
        """Gives back the claims on what has not been begun; it is claimed again when its turn comes."""
        work = self._work
        if work.claimed:
            self._volume.session.release([(item.entry, item.token) for item in work.claimed])
            work.pending.extendleft(reversed(work.claimed))
            work.claimed.clear()

    # One object

    def _download(self, item: _Item) -> None:
        # Somebody may have got the path of the copy that is replaced, and not opened it yet.
        idle = 0.0 if item.old else self._idle
        transfer = Transfer(
            item.uri, item.entry, item.token, item.old, self._volume, self._reserve, idle=idle
        )
        logs.sample.set(item.uri)
        try:
            download = transfer.run(self._sources)
        except SessionLostError:
            self._again(item)
        except IndexUnavailableError:
            # Nothing is wrong with the sample: it stays to be done.
            self._drop(item)
            raise
        except ForebayError as error:
            _note(item, transfer)
            self._sources.record(item.uri, error)
            self._fail(item, error)
        except BaseException:
            self._drop(item)
            raise
        else:
            _note(item, transfer)
            self._sources.record(item.uri, None)
            work = self._work
            with work.lock:
                work.done.append((item, download))
                if len(work.done) >= BATCH or time.monotonic() - work.flushed > _FLUSH_SECONDS:
                    self._flush()
        finally:
            logs.sample.set(None)

    def _reserve(self, size: int, token: str, what: MediaURI) -> None:
        """Reserves ``size`` bytes, which means to make room where there is none."""
        if self._volume.reserve(size, token) is not None:
            # What is finished can be evicted once it is published, and not before; what is to be
            # updated, as long as nobody has a claim on it.
            with self._work.lock:
                self._flush()
                self._release_ahead()
            make_room(self._volume, size, token, what.redacted)

    # How it ended

    def _flush(self) -> None:
        """Publishes what is downloaded, in one call."""
        work = self._work
        with work.lock:
            work.flushed = time.monotonic()
            if not work.done:
                return
            done = work.done
            kept = [item for item, download in done if download is None]
            stored = [(item, download) for item, download in done if download is not None]
            outcomes: list[Outcome] = []
            ended: list[Ended] = []
            if kept:
                self._volume.session.release([(item.entry, item.token) for item in kept])
                self._volume.index.present([item.entry for item in kept])
                for item in kept:
                    ended.append(_found(item, item.old))
                    outcomes += _outcomes(item, "cached")
            published = self._volume.session.commit([download for _, download in stored]) if stored else []
            work.done = []
            for (item, download), ours in zip(stored, published, strict=True):
                if ours:
                    times = (item.first_byte, item.seconds)
                    ended.append(Ended(item.uri, "downloaded", download.size, *times, retries=item.retries))
                    outcomes += _outcomes(item, "downloaded", download.size)
                else:
                    self._again(item)
            if outcomes:
                self._meter.ended(ended)
                self._report(outcomes)

    def _again(self, item: _Item) -> None:
        """Claims an item anew whose claim was lost, or whose partial file was."""
        self._drop(item)
        with self._work.lock:
            item.lost += 1
            if item.lost > _LOST_CLAIMS:
                reason = "its claim was lost again and again: is this process paused for long?"
                self._meter.ended([Ended(item.uri, "failed", reason="claim_lost", retries=item.retries)])
                self._report(_outcomes(item, "failed", error=SourceError(item.uri.redacted, reason)))
            else:
                self._work.pending.append(item)

    def _fail(self, item: _Item, error: ForebayError) -> None:
        if isinstance(error, SourceError):
            error.attempts = item.attempts
        self._drop(item)
        self._meter.ended([Ended(item.uri, "failed", reason=reason_of(error), retries=item.retries)])
        with self._work.lock:
            self._report(_outcomes(item, "failed", error=error))

    def _drop(self, item: _Item) -> None:
        self._volume.session.release([(item.entry, item.token)])


def _note(item: _Item, transfer: Transfer) -> None:
    """Takes down what a transfer says of itself."""
    item.attempts += transfer.attempts
    item.retries += transfer.retries
    item.first_byte, item.seconds = transfer.first_byte, transfer.seconds


def _found(item: _Item, value: str) -> Ended:
    """An object that was there, with the index's value of it."""
    return Ended(item.uri, "cached", Entry.parse(value).size, retries=item.retries)


def _by_entry(samples: Iterable[tuple[int, str]]) -> tuple[list[_Item], list[Outcome]]:
    """Samples grouped by the entry that they need, and those whose URI cannot be understood."""
    items: dict[str, _Item] = {}
    broken: list[Outcome] = []
    for number, uri in samples:
        try:
            parsed = parse_object(uri)
            entry = parsed.entry
        except ForebayError as error:
            broken.append(Outcome(number, uri, "failed", error=error))
            continue
        item = items.get(entry)
        if item is None:
            items[entry] = _Item(parsed, entry, [(number, uri)])
        else:
            item.samples.append((number, uri))
    return list(items.values()), broken


def _outcomes(item: _Item, state: State, size: int = 0, error: ForebayError | None = None) -> list[Outcome]:
    """The outcomes of all samples of an item; its bytes count once."""
    first, *others = item.samples
    rest: State = "cached" if state == "downloaded" else state
    return [
        Outcome(*first, state, size, error, item.attempts),
        *(Outcome(number, uri, rest, 0, error, item.attempts) for number, uri in others),
    ]
