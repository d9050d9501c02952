"""One object's way from its source to its place on the volume: open, reserve, stream, verify, publish."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from forebay.config import MediaCacheConfig
from forebay.config.sizes import human
from forebay.errors import (
    CacheFullError,
    ForebayError,
    NotModifiedError,
    ObjectTooLargeError,
    TransientSourceError,
)
from forebay.fetch.publishing import publish, remove_if_there
from forebay.fetch.writing import PartialFile
from forebay.index import Download, Entry, Index, SessionLostError
from forebay.retry import retry_transient
from forebay.sources.base import ObjectInfo, ObjectStream, Source, SourceLookup
from forebay.uri import MediaURI, uri_of
from forebay.volume.files import Files
from forebay.volume.reservation import Reservation
from forebay.volume.session import Session
from forebay.volume.unread import UnreadPrefetches

# How much is reserved at a time for an object whose size its source does not tell.
_GROWTH = 1 << 20
_T = TypeVar("_T")

# Reserves so many bytes in all for an object, and makes room for them.
MakeRoom = Callable[[Reservation, int, MediaURI], None]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where transfers write to, and with which settings."""

    index: Index
    session: Session
    files: Files
    unread: UnreadPrefetches
    config: MediaCacheConfig


class Transfer:
    """The transfer of one object.

    Args:
        uri: the object.
        entry: the entry that it becomes.
        token: of the caller's claim on it, which names the partial file.
        old: the index's value of the copy that is to be replaced if the object has changed; or empty.
        destination: where to.
        make_room: reserves the first bytes, and makes room for them.
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
        destination: Destination,
        make_room: MakeRoom,
        *,
        idle: float = 0.0,
    ) -> None:
        self._uri = uri
        self._entry = entry
        self._token = token
        self._old = Entry.parse(old) if old else None
        self._to = destination
        self._config = destination.config
        self._session = destination.session
        self._files = destination.files
        self._make_room = make_room
        self._idle = idle
        self._reservation = destination.session.reservation(token)
        # Of an object whose size its source does not tell: what it has turned out to have at least.
        self._min_size = 0
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
        download = self._retrying(partial(self._attempt, source), lambda error: not error.exhausted)
        self.seconds = time.perf_counter() - began
        return download

    def _retrying(self, attempt: Callable[[], _T], worthwhile: Callable[[TransientSourceError], bool]) -> _T:
        """Repeats an attempt that failed for the moment, with growing and random pauses between."""
        return retry_transient(
            attempt,
            self._config.max_attempts,
            should_retry=worthwhile,
            on_retry=lambda error: self.retries.append(error.kind),
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
        path = None if self._old is None else self._files.locate(self._entry)
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
        temporary = self._files.temporary(self._token)
        try:
            self._grow(self._min_size if info.size is None else info.size)
            descriptor = self._create(temporary)
            try:
                size = self._write(descriptor, source, opened)
                now = time.time()
                used = now - self._idle
                modified = now if info.modified is None else info.modified
                os.utime(descriptor, ns=(int(used * 1e9), int(modified * 1e9)))
            finally:
                os.close(descriptor)
            self._reservation.shrink(size)
            self._publish(used)
        except BaseException as error:
            remove_if_there(temporary)
            self._reservation.close()
            if isinstance(error, OSError) and not isinstance(error, ForebayError):
                if not self._session.owns(self._token):
                    raise SessionLostError from None
                raise self._disk_error(error) from None
            raise
        self._reservation.hand_over()
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
            # The cache directory was removed while it was in use.
            self._files.prepare()
            return os.open(temporary, flags, 0o644)

    def _write(self, descriptor: int, source: Source, opened: ObjectStream) -> int:
        """Writes the bytes, and verifies them; returns how many there are."""
        info, config = opened.info, self._config
        file = PartialFile(descriptor, self._uri, partial(self._session.owns, self._token))
        # Without an etag, ranges of two versions of an object might be put together.
        if info.ranges and info.etag and info.size is not None and info.size >= 2 * config.range_size_bytes:
            opened.close()
            size = info.size
            part, threads = config.range_size_bytes, config.range_workers
            file.write_ranges(source, size, info.etag, part, threads, self._retrying)
        else:
            size = file.write_stream(opened, info.size, self._grow)
        if config.verify_checksums and info.md5 is not None:
            file.verify(info.md5, size)
        return size

    def _publish(self, used: float) -> None:
        replaces = self._old is not None
        path = publish(self._files, self._session, self._token, self._entry, replaces=replaces)
        if self._idle:
            self._to.unread.note(self._entry, path, used)

    # Room

    def _grow(self, size: int) -> None:
        """Reserves at least ``size`` bytes in all; more where the size is not known in advance."""
        limit, reservation = self._config.limit, self._reservation
        if limit is not None and size > limit:
            raise ObjectTooLargeError(
                f"{self._uri}: its {human(size)} are more than the whole cache of {human(limit)}; "
                "raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES",
                size=size,
                limit=limit,
            )
        if reservation.size == 0 < size:
            self._give_up_old(size)
            self._make_room(reservation, size, self._uri)
        elif size > reservation.size:
            wanted = max(size, reservation.size + _GROWTH)
            if limit is not None:
                wanted = min(wanted, limit)
            if reservation.grow(wanted) is not None:
                # To wait while holding what others wait for would be for ever.
                self._min_size = size if limit is None else min(2 * size, limit)
                reason = "it turned out to need more room than there is"
                raise TransientSourceError(self._uri.redacted, reason, "cache_full")

    def _give_up_old(self, size: int) -> None:
        """Removes the old copy where it and its successor do not fit into the cache together."""
        limit, old = self._config.limit, self._old
        if old is not None and limit is not None and size + old.size > limit:
            self._files.remove(self._entry)
            self._to.index.entries.forget([(self._entry, old.format())], self._token)

    def _disk_error(self, error: OSError) -> ForebayError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return CacheFullError(
                f"{self._uri}: the disk of the cache directory is full ({error.strerror}); free some space, "
                "or raise FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES so that Forebay evicts before that happens",
                limit=self._config.limit,
            )
        reason = error.strerror or str(error)
        text = f"{self._uri}: cannot be written to the cache directory: {reason}"
        return CacheFullError(text, limit=self._config.limit)


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
