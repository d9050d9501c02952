"""One object's way from its source to its place on the volume: open, reserve, stream, verify, publish.

Whoever transfers an object has a claim on it, whose token names the partial file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from forebay.config.sizes import human
from forebay.errors import (
    CacheFullError,
    ForebayError,
    NotModifiedError,
    ObjectChangedError,
    ObjectTooLargeError,
    TransientSourceError,
)
from forebay.fetch.reasons import reason_of
from forebay.index import Download, Entry, SessionLostError
from forebay.retry import retry_transient
from forebay.threads import run_in_threads
from forebay.uri import MediaURI, uri_of
from forebay.volume.volume import prepare

if TYPE_CHECKING:
    from forebay.sources.base import Buffer, ObjectInfo, ObjectStream, Source, SourceLookup
    from forebay.volume.volume import Volume

# How much is reserved at a time for an object whose size its source does not tell.
_GROWTH = 1 << 20
_PUBLISH_TRIES = 100
_T = TypeVar("_T")


class Transfer:
    """The transfer of one object.

    Args:
        uri: the object.
        entry: the entry that it becomes.
        token: of the caller's claim on it.
        old: the index's value of the copy that is to be replaced if the object has changed; or empty.
        volume: where to.
        reserve: reserves bytes for the claim and the sample that it is told of, and makes room for them.
        idle: for how many seconds the entry counts as not used when it appears.

    Attributes:
        attempts: how many attempts have been made so far.
        retries: why attempts, at ranges too, were repeated.
        first_byte: seconds from the last request to the source's answer.
        seconds: how long the whole transfer took.
    """

    def __init__(
        self,
        uri: MediaURI,
        entry: str,
        token: str,
        old: str,
        volume: Volume,
        reserve: Callable[[int, str, MediaURI], None],
        *,
        idle: float = 0.0,
    ) -> None:
        self._uri = uri
        self._entry = entry
        self._token = token
        self._old = Entry.parse(old) if old else None
        self._volume = volume
        self._session = volume.session
        self._reserve = reserve
        self._idle = idle
        self._reserved = 0
        # For an object whose size its source does not tell: what it has turned out to be at least.
        self._least = 0
        self.attempts = 0
        self.retries: list[str] = []
        self.first_byte = 0.0
        self.seconds = 0.0

    def run(self, sources: SourceLookup) -> Download | None:
        """Transfers the object; tries until that works, fails for good, or has been tried often enough.

        Returns:
            the download, whose file is in its place; ``None`` where the cached copy is still current.

        Raises:
            SourceError: the source does not give it.
            CacheFullError: there is no room for it.
            SessionLostError: the claim was lost meanwhile.
        """
        began = time.perf_counter()
        source = sources.for_uri(self._uri)
        download = self._persistently(lambda: self._attempt(source), lambda error: not error.exhausted)
        self.seconds = time.perf_counter() - began
        return download

    def _persistently(
        self, attempt: Callable[[], _T], worthwhile: Callable[[TransientSourceError], bool]
    ) -> _T:
        """Repeats an attempt that failed for the moment, with growing and random pauses between."""
        return retry_transient(
            attempt,
            self._volume.config.max_attempts,
            should_retry=worthwhile,
            on_retry=lambda error: self.retries.append(reason_of(error)),
        )

    def _attempt(self, source: Source) -> Download | None:
        self.attempts += 1
        kept, asked = self._kept(), time.perf_counter()
        try:
            opened = self._open(source, kept)
        except NotModifiedError:
            return None
        self.first_byte = time.perf_counter() - asked
        with opened:
            if kept is not None and unchanged(opened.info, *kept):
                return None
            return self._store(source, opened)

    def _kept(self) -> tuple[Entry, float] | None:
        """The copy that is there, and when it was modified at its source."""
        path = None if self._old is None else self._volume.locate(self._entry)
        if self._old is None or path is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            return self._old, os.stat(path).st_mtime
        return None

    def _open(self, source: Source, kept: tuple[Entry, float] | None) -> ObjectStream:
        if kept is None:
            return source.open(self._uri)
        entry, modified = kept
        if entry.etag:
            return source.open(self._uri, if_none_match=entry.etag)
        return source.open(self._uri, if_modified_since=modified)

    def _store(self, source: Source, opened: ObjectStream) -> Download:
        info = opened.info
        temporary = self._volume.temporary(self._token)
        try:
            self._grow(self._least if info.size is None else info.size)
            descriptor = self._create(temporary)
            try:
                size = self._write(descriptor, source, opened)
                self._verify(descriptor, info, size)
                now = time.time()
                used = now - self._idle
                modified = now if info.modified is None else info.modified
                os.utime(descriptor, ns=(int(used * 1e9), int(modified * 1e9)))
            finally:
                os.close(descriptor)
            self._shrink(size)
            self._publish(temporary, used)
        except BaseException as error:
            _remove(temporary)
            self._shrink(0)
            if isinstance(error, OSError) and not isinstance(error, ForebayError):
                if not self._session.owns(self._token):
                    raise SessionLostError from None
                raise self._disk_error(error) from None
            raise
        # From here on the bytes belong to the file, until it is committed.
        self._reserved = 0
        now = time.time()
        # Only an escape can keep a URI from being told from the entry's name.
        uri = self._uri.redacted if "%" in self._entry and not uri_of(self._entry) else ""
        value = Entry(size, info.etag or "", int(now), uri).format()
        return Download(self._entry, self._token, size, now - self._idle, value)

    def _create(self, temporary: str) -> int:
        flags = os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(temporary, flags, 0o644)
        except FileNotFoundError:
            # Somebody removed the cache directory.
            prepare(self._volume.layout)
            return os.open(temporary, flags, 0o644)

    # Bytes

    def _write(self, descriptor: int, source: Source, opened: ObjectStream) -> int:
        size = opened.info.size
        # Without an etag, ranges of two versions of an object might be put together.
        in_ranges = opened.info.ranges and opened.info.etag
        if in_ranges and size is not None and size >= 2 * self._volume.config.range_size_bytes:
            return self._write_ranges(descriptor, source, opened, size)
        written = 0
        for chunk in opened:
            if size is None:
                self._grow(written + len(chunk))
            self._write_at(descriptor, chunk, written)
            written += len(chunk)
        if size is not None and written != size:
            reason = f"the source sent {written} bytes of {size} and ended"
            raise TransientSourceError(self._uri.redacted, reason, "truncated")
        return written

    def _write_ranges(self, descriptor: int, source: Source, opened: ObjectStream, size: int) -> int:
        """Fetches a large object in parallel ranges into a preallocated file."""
        part, etag = self._volume.config.range_size_bytes, opened.info.etag
        opened.close()
        _allocate(descriptor, size)
        starts = iter(range(0, size, part))
        lock = threading.Lock()

        def fetch(start: int) -> None:
            end = min(start + part, size)
            chunk = source.read_range(self._uri, start, end, etag=etag)
            if len(chunk) != end - start:
                reason = f"the source sent {len(chunk)} bytes of the range from {start} to {end}"
                raise TransientSourceError(self._uri.redacted, reason, "truncated")
            self._write_at(descriptor, chunk, start)

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

        run_in_threads(work, self._volume.config.range_workers, "forebay-range")
        return size

    def _write_at(self, descriptor: int, chunk: Buffer, offset: int) -> None:
        if not self._session.owns(self._token):
            raise SessionLostError
        written = os.pwrite(descriptor, chunk, offset)
        if written != len(chunk):
            view = memoryview(chunk)
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], offset + written)

    def _verify(self, descriptor: int, info: ObjectInfo, size: int) -> None:
        if not self._volume.config.verify_checksums or info.md5 is None:
            return
        digest, offset = hashlib.md5(usedforsecurity=False), 0
        while chunk := os.pread(descriptor, 1 << 20, offset):
            digest.update(chunk)
            offset += len(chunk)
        if digest.hexdigest() != info.md5:
            reason = f"the {size} bytes that arrived do not have the source's checksum"
            raise TransientSourceError(self._uri.redacted, reason, "checksum")

    def _publish(self, temporary: str, used: float) -> None:
        """Makes a complete file appear under its name, at once.

        Whoever takes over an expired claim removes its partial file first, so a late owner's rename
        finds nothing: it cannot publish over its successor.
        """
        layout = self._volume.layout
        for find in (layout.path, layout.alternate_path):
            place = find(self._entry)
            if self._renamed(temporary, place):
                if self._old is not None and find == layout.path:
                    _remove(layout.alternate_path(self._entry))
                if self._idle:
                    self._volume.untouched.note(self._entry, place, used)
                return
        raise FileExistsError(errno.EEXIST, "there is something else, and at its other place as well", place)

    def _renamed(self, temporary: str, place: str) -> bool:
        """Moves the file to its place; false where a directory is, or a file where a directory should be."""
        for _ in range(_PUBLISH_TRIES):
            if not self._session.owns(self._token):
                raise SessionLostError
            try:
                os.rename(temporary, place)
            except FileNotFoundError:
                if not os.path.exists(temporary):
                    raise SessionLostError from None
            except (IsADirectoryError, NotADirectoryError):
                return False
            else:
                return True
            # Its directory is missing, or was pruned a moment ago; as what is made here may be, at any depth.
            with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError):
                os.makedirs(os.path.dirname(place), exist_ok=True)
        raise FileNotFoundError(errno.ENOENT, "the directory disappears again and again", place)

    # Room

    def _grow(self, size: int) -> None:
        """Reserves at least ``size`` bytes in all; more where the size is not known in advance."""
        limit = self._volume.config.limit
        if limit is not None and size > limit:
            raise ObjectTooLargeError(
                f"{self._uri}: its {human(size)} are more than the whole cache of {human(limit)}; "
                "raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
            )
        if self._reserved == 0 < size:
            self._make_place(size)
            self._reserve(size, self._token, self._uri)
            self._reserved = size
        elif size > self._reserved:
            more = max(size - self._reserved, _GROWTH)
            if limit is not None:
                more = min(more, limit - self._reserved)
            if self._volume.reserve(more, self._token) is not None:
                # To wait while holding what others wait for would be for ever.
                self._least = size if limit is None else min(2 * size, limit)
                reason = "it turned out to need more room than there is"
                raise TransientSourceError(self._uri.redacted, reason, "cache_full")
            self._reserved += more

    def _make_place(self, size: int) -> None:
        """Gives up the old copy where it and its successor do not fit into the cache together."""
        limit, old = self._volume.config.limit, self._old
        if old is not None and limit is not None and size + old.size > limit:
            self._volume.remove(self._entry)
            self._volume.index.forget([(self._entry, old.format())], self._token)

    def _shrink(self, size: int) -> None:
        """Gives back all but ``size`` bytes."""
        if self._reserved > size:
            self._session.give_back(self._reserved - size, self._token)
            self._reserved = size

    def _disk_error(self, error: OSError) -> ForebayError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return CacheFullError(
                f"{self._uri}: the disk of the cache directory is full ({error.strerror}); free some space, "
                "or raise FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES so that Forebay evicts before that happens"
            )
        reason = error.strerror or str(error)
        return CacheFullError(f"{self._uri}: cannot be written to the cache directory: {reason}")


def unchanged(info: ObjectInfo, entry: Entry, modified: float) -> bool:
    """Whether what a source says is what is cached: by etag, else by size and time.

    Args:
        modified: the cached file's time of modification, in seconds since the epoch.
    """
    if info.etag and entry.etag:
        return info.etag == entry.etag
    if info.size is None or info.modified is None:
        return False
    return info.size == entry.size and abs(info.modified - modified) < 1.0


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


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)
