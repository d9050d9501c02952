"""The life of one sample: claim, open, reserve, stream, verify, publish.

Claims and commits travel in batches, reservations in blocks, so that an object costs a small part of
a round trip. An entry that somebody else has claimed is waited for, not downloaded again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from forebay import recovery
from forebay.errors import (
    CacheFullError,
    ForebayError,
    NotModifiedError,
    ObjectChangedError,
    ObjectTooLargeError,
    SourceError,
    TransientSourceError,
)
from forebay.eviction import make_room
from forebay.index import Claimed, Download, Entry, SessionLostError
from forebay.session import ended_here
from forebay.sizes import human
from forebay.threads import run_in_threads
from forebay.uri import MediaURI, parse_object, uri_of

if TYPE_CHECKING:
    from forebay.sources.base import ObjectInfo, Opened, Source
    from forebay.sources.registry import Sources
    from forebay.volume import Volume

log = logging.getLogger(__name__)

BATCH = 32
_GROWTH = 1 << 20
_POLL_SECONDS = (0.005, 0.25)
# How often a claim may be lost before a sample counts as failed: more than that is no accident.
_LOST_CLAIMS = 5

_T = TypeVar("_T")
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
    holder: str = ""
    lost: int = 0
    attempts: int = 0


# An item and its download; none where the cached copy is still current.
_Finished = tuple[_Item, "Download | None"]


@dataclass(slots=True)
class _Work:
    """What is left to do of one `fetch`; guarded by ``lock``."""

    pending: deque[_Item]
    claimed: deque[_Item] = field(default_factory=deque)
    waiting: list[_Item] = field(default_factory=list)
    done: list[_Finished] = field(default_factory=list)
    lock: threading.Condition = field(default_factory=threading.Condition)


class Fetcher:
    """Downloads objects into a volume.

    Args:
        volume: where to.
        sources: where from.
    """

    def __init__(self, volume: Volume, sources: Sources) -> None:
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
    ) -> None:
        """Brings samples into the cache; returns when each has been reported.

        Args:
            samples: number and URI of each.
            report: is told of outcomes, a few at a time, from any thread but never from two at once.
            update: download again what has changed at its source.
            threads: how many downloads at a time.
            cancelled: asked before each download; samples left then are not reported.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        _Run(self._volume, self._sources, report, update, cancelled).run(samples, threads)


class _Run:
    """One call of `Fetcher.fetch`."""

    def __init__(
        self,
        volume: Volume,
        sources: Sources,
        report: Callable[[list[Outcome]], None],
        update: bool,
        cancelled: Callable[[], bool],
    ) -> None:
        self._volume = volume
        self._sources = sources
        self._report = report
        self._update = update
        self._cancelled = cancelled
        self._failure: BaseException | None = None

    def run(self, samples: Iterable[tuple[int, str]], threads: int) -> None:
        items, broken = _by_entry(samples)
        if broken:
            self._report(broken)
        self._work = _Work(pending=deque(items))
        if items:
            run_in_threads(self._work_off, min(threads, len(items)), "forebay-fetch")

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
                    self._claim([work.pending.popleft() for _ in range(min(BATCH, len(work.pending)))])
                if work.claimed:
                    return work.claimed.popleft()
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
        answers = self._volume.session.claim([item.entry for item in batch], always=self._update)
        outcomes: list[Outcome] = []
        for item, (token, answer) in zip(batch, answers, strict=True):
            item.token = token
            if answer.granted:
                item.old = answer.value or self._adopt(item)
                if item.old and not self._update:
                    self._volume.index.release([(item.entry, item.token)])
                    outcomes += _outcomes(item, "cached")
                else:
                    self._work.claimed.append(item)
            elif answer.holder:
                self._await(item, answer)
            elif self._volume.use(item.entry) is not None:
                outcomes += _outcomes(item, "cached")
            else:
                # The index says that it is there, and the disk that it is not: the disk is right, unless
                # an evictor is between the two.
                self._volume.index.forget([(item.entry, answer.value)])
                self._work.pending.append(item)
        if outcomes:
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
        path = self._volume.locate(item.entry)
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
            claims = [(item.entry, item.token) for item in self._work.claimed]
            self._work.claimed.clear()
            self._work.pending.clear()
            self._work.waiting.clear()
        if claims:
            self._volume.index.release(claims)

    # One object

    def _download(self, item: _Item) -> None:
        try:
            finished = self._attempts(item)
        except SessionLostError:
            self._again(item)
        except ForebayError as error:
            self._fail(item, error)
        except BaseException:
            self._drop(item)
            raise
        else:
            with self._work.lock:
                self._work.done.append(finished)
                if len(self._work.done) >= BATCH:
                    self._flush()

    def _attempts(self, item: _Item) -> _Finished:
        """Tries until it works, fails for good, or has been tried often enough."""
        return self._persistently(lambda: self._attempt(item), lambda error: not error.exhausted)

    def _persistently(
        self, attempt: Callable[[], _T], worthwhile: Callable[[TransientSourceError], bool]
    ) -> _T:
        """Repeats an attempt that failed for the moment, with growing and random pauses between."""
        try:
            return attempt()
        except TransientSourceError as error:
            if self._volume.config.max_attempts == 1 or not worthwhile(error):
                raise
            log.debug("%s", error)
        # Imported here: most objects arrive at the first attempt.
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        retrying = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, TransientSourceError) and worthwhile(e)),
            stop=stop_after_attempt(self._volume.config.max_attempts - 1),
            wait=wait_random_exponential(multiplier=0.2, min=0.05, max=15.0),
            reraise=True,
        )
        time.sleep(random.uniform(0.05, 0.2))
        return retrying(attempt)

    def _attempt(self, item: _Item) -> _Finished:
        item.attempts += 1
        source = self._sources.for_uri(item.uri)
        old = Entry.parse(item.old) if item.old else None
        path = self._volume.locate(item.entry) if old is not None else None
        kept = None if path is None or old is None else (old, os.stat(path).st_mtime)
        try:
            opened = self._open(source, item.uri, kept)
        except NotModifiedError:
            return item, None
        with opened:
            info = opened.info
            if kept is not None and unchanged(info, *kept):
                return item, None
            return self._store(item, source, opened)

    def _open(self, source: Source, uri: MediaURI, kept: tuple[Entry, float] | None) -> Opened:
        if kept is None:
            return source.open(uri)
        entry, modified = kept
        if entry.etag:
            return source.open(uri, if_none_match=entry.etag)
        return source.open(uri, if_modified_since=modified)

    def _store(self, item: _Item, source: Source, opened: Opened) -> _Finished:
        info, limit = opened.info, self._volume.config.limit
        if limit is not None and info.size is not None and info.size > limit:
            raise ObjectTooLargeError(
                f"{item.uri}: its {human(info.size)} are more than the whole cache of {human(limit)}; "
                "raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
            )
        reserved = _Reserved(self, item)
        try:
            reserved.grow(info.size or 0)
            temporary = self._volume.temporary(item.token)
            descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o644)
            try:
                size = self._write(descriptor, item, source, opened, reserved)
                self._verify(descriptor, item, info, size)
            finally:
                os.close(descriptor)
            reserved.shrink(size)
            self._publish(item, temporary, info)
        except BaseException as error:
            self._unlink(item)
            reserved.shrink(0)
            if isinstance(error, OSError) and not isinstance(error, ForebayError):
                raise _disk_error(error, item) from None
            raise
        uri = "" if uri_of(item.entry) else item.uri.redacted
        now = time.time()
        value = Entry(size, info.etag or "", int(now), uri).format()
        return item, Download(item.entry, item.token, size, now, value)

    def _write(
        self, descriptor: int, item: _Item, source: Source, opened: Opened, reserved: _Reserved
    ) -> int:
        info, part = opened.info, self._volume.config.range_size_bytes
        if info.size is not None and info.size >= 2 * part:
            return self._write_ranges(descriptor, item, source, opened, info.size)
        written = 0
        for chunk in opened:
            if info.size is None:
                reserved.grow(written + len(chunk))
            self._write_at(descriptor, item, chunk, written)
            written += len(chunk)
        if info.size is not None and written != info.size:
            raise TransientSourceError(
                item.uri.redacted, f"the source sent {written} bytes of {info.size} and ended"
            )
        return written

    def _write_ranges(self, descriptor: int, item: _Item, source: Source, opened: Opened, size: int) -> int:
        """Fetches a large object in parallel ranges into a preallocated file."""
        part, workers = self._volume.config.range_size_bytes, self._volume.config.range_workers
        etag = opened.info.etag
        opened.close()
        _allocate(descriptor, size)

        def fetch(start: int) -> None:
            end = min(start + part, size)
            chunk = source.read_range(item.uri, start, end, etag=etag)
            if len(chunk) != end - start:
                reason = f"the source sent {len(chunk)} bytes of the range from {start} to {end}"
                raise TransientSourceError(item.uri.redacted, reason)
            self._write_at(descriptor, item, chunk, start)

        starts = iter(range(0, size, part))
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                try:
                    self._persistently(partial(fetch, start), _same_object)
                except BaseException as error:
                    with lock:
                        for _ in starts:
                            pass
                    if isinstance(error, TransientSourceError):
                        # A changed object is worth beginning anew; a range that was tried often
                        # enough is not.
                        error.exhausted = not isinstance(error, ObjectChangedError)
                    raise

        run_in_threads(work, workers, "forebay-range")
        return size

    def _write_at(
        self, descriptor: int, item: _Item, chunk: bytes | bytearray | memoryview, offset: int
    ) -> None:
        if not self._volume.session.owns(item.token):
            raise SessionLostError
        written = os.pwrite(descriptor, chunk, offset)
        if written != len(chunk):
            view = memoryview(chunk)
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], offset + written)

    def _verify(self, descriptor: int, item: _Item, info: ObjectInfo, size: int) -> None:
        if not self._volume.config.verify_checksums or info.md5 is None:
            return
        digest, offset = hashlib.md5(usedforsecurity=False), 0
        while chunk := os.pread(descriptor, 1 << 20, offset):
            digest.update(chunk)
            offset += len(chunk)
        if digest.hexdigest() != info.md5:
            raise TransientSourceError(
                item.uri.redacted, f"the {size} bytes that arrived do not have the source's checksum"
            )

    def _publish(self, item: _Item, temporary: str, info: ObjectInfo) -> None:
        """Makes a complete file appear under its name, at once.

        The partial file is named for the claim. Whoever takes over an expired claim removes it first,
        so a late owner's rename finds nothing: it cannot publish over its successor.
        """
        now = time.time()
        os.utime(temporary, (now, now if info.modified is None else info.modified))
        layout = self._volume.layout
        paths = (layout.path(item.entry), layout.alternate_path(item.entry))
        for path in (paths[0], paths[0], paths[0], paths[1], paths[1]):
            if not self._volume.session.owns(item.token):
                raise SessionLostError
            try:
                os.rename(temporary, path)
            except FileNotFoundError:
                if not os.path.exists(temporary):
                    raise SessionLostError from None
                try:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                except (FileExistsError, NotADirectoryError):
                    continue
            except (IsADirectoryError, NotADirectoryError):
                continue
            else:
                if item.old and path == paths[0]:
                    self._remove(paths[1])
                return
        raise FileNotFoundError(errno.ENOENT, "the directory disappears again and again", paths[0])

    def _unlink(self, item: _Item) -> None:
        self._remove(self._volume.temporary(item.token))

    @staticmethod
    def _remove(path: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)

    # How it ended

    def _flush(self) -> None:
        """Publishes what is downloaded, in one call."""
        work = self._work
        with work.lock:
            if not work.done:
                return
            done, work.done = work.done, []
            kept = [item for item, download in done if download is None]
            stored = [(item, download) for item, download in done if download is not None]
            outcomes: list[Outcome] = []
            if kept:
                self._volume.index.release((item.entry, item.token) for item in kept)
                self._volume.index.present([item.entry for item in kept])
                for item in kept:
                    outcomes += _outcomes(item, "cached")
            published = self._volume.session.commit([download for _, download in stored]) if stored else []
            for (item, download), ours in zip(stored, published, strict=True):
                if ours:
                    outcomes += _outcomes(item, "downloaded", download.size)
                else:
                    self._again(item)
            if outcomes:
                self._report(outcomes)

    def _again(self, item: _Item) -> None:
        """Claims an item anew whose claim was lost."""
        with self._work.lock:
            item.lost += 1
            if item.lost > _LOST_CLAIMS:
                reason = "its claim was lost again and again: is this process paused for long?"
                self._report(_outcomes(item, "failed", error=SourceError(item.uri.redacted, reason)))
            else:
                self._work.pending.append(item)

    def _fail(self, item: _Item, error: ForebayError) -> None:
        if isinstance(error, SourceError):
            error.attempts = item.attempts
        self._drop(item)
        with self._work.lock:
            self._report(_outcomes(item, "failed", error=error))

    def _drop(self, item: _Item) -> None:
        self._volume.index.release([(item.entry, item.token)])

    def make_room(self, item: _Item, size: int) -> None:
        """Reserves ``size`` bytes, which means to make room where there is none."""
        if self._volume.reserve(size) is not None:
            # What is finished can be evicted once it is published, and not before.
            self._flush()
            make_room(self._volume, size, item.uri.redacted)


class _Reserved:
    """The bytes that one download has reserved."""

    def __init__(self, run: _Run, item: _Item) -> None:
        self._run = run
        self._item = item
        self._size = 0

    def grow(self, size: int) -> None:
        """Reserves at least ``size`` bytes in all; more where the size is not known in advance."""
        if size > self._size:
            more = size - self._size if self._size == 0 else max(_GROWTH, size - self._size)
            self._run.make_room(self._item, more)
            self._size += more

    def shrink(self, size: int) -> None:
        """Gives back all but ``size`` bytes."""
        if self._size > size:
            self._run._volume.session.give_back(self._size - size, self._item.token)
            self._size = size


def _same_object(error: TransientSourceError) -> bool:
    return not isinstance(error, ObjectChangedError)


def _allocate(descriptor: int, size: int) -> None:
    """Makes a file ``size`` bytes long, and takes the space for it where the file system can."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.ftruncate(descriptor, size)


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


def unchanged(info: ObjectInfo, entry: Entry, modified: float) -> bool:
    """Whether what the source says is what is cached: by etag, else by size and time."""
    if info.etag and entry.etag:
        return info.etag == entry.etag
    if info.size is None or info.modified is None:
        return False
    return info.size == entry.size and abs(info.modified - modified) < 1.0


def _disk_error(error: OSError, item: _Item) -> ForebayError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheFullError(
            f"{item.uri}: the disk of the cache directory is full ({error.strerror}); free some space, "
            "or raise FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES so that Forebay evicts before that happens"
        )
    return CacheFullError(f"{item.uri}: cannot be written to the cache directory: {error.strerror or error}")
