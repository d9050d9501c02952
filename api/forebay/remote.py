"""Remote objects themselves: look at them, list, sign, write and delete them.

This is the only part of Forebay that changes remote objects, and it does so only if the caller asked for
exactly that. When an object is written or deleted here, its cached copy is removed, so that the cache does
not serve an old one.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from forebay.cache import MediaCache
from forebay.errors import CacheFullError, ObjectNotFoundError, SourceError
from forebay.fetch.moving import FileState
from forebay.retry import retry_transient
from forebay.sources.base import Buffer, ObjectInfo
from forebay.sources.listings.page_requests import holds_any
from forebay.uri import MediaURI, entry_of, parse, parse_object, redact

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Remote:
    """The objects that a cache may fetch, as they are at their sources.

    Every call is repeated, as often as the setting ``max_attempts`` says, when it fails for the moment.
    Every method raises

    * `UriError` when a URI cannot be understood,
    * `SourceNotAllowedError` when ``allowed_sources`` does not admit it,
    * `ObjectNotFoundError`, `AccessDeniedError` and other `SourceError`\\ s as its source says.

    Args:
        cache: whose settings and credentials are used, and which must stop serving objects that change.
    """

    def __init__(self, cache: MediaCache) -> None:
        self._cache = cache
        self._engine = cache.engine

    # Looking

    def head(self, uri: str) -> ObjectInfo:
        """Size, etag and time of an object, as its source reports them."""
        parsed = parse_object(uri)
        source = self._engine.sources.for_uri(parsed)
        return self._retry(lambda: source.head(parsed))

    def exists(self, uri: str) -> bool:
        """Whether there is an object with this very name."""
        parsed = parse(uri)
        if not parsed.key and not parsed.is_url:
            return False
        try:
            self.head(uri)
        except ObjectNotFoundError:
            return False
        return True

    def read_range(self, uri: str, start: int, end: int, etag: str | None = None) -> Buffer:
        """The bytes from ``start`` up to, not including, ``end``; fewer only at the object's end.

        Args:
            etag: raises `ObjectChangedError` when the object's etag is no longer this one.
        """
        parsed = parse_object(uri)
        source = self._engine.sources.for_uri(parsed)
        return self._retry(lambda: source.read_range(parsed, start, end, etag=etag))

    def list_objects(self, prefix: str, recursive: bool = True) -> list[ObjectInfo]:
        """Every object whose name begins with ``prefix``; see `forebay.sources.base.Source.list`."""
        parsed = parse(prefix)
        source = self._engine.sources.for_uri(parsed)
        return self._retry(lambda: list(source.list(parsed, recursive=recursive)))

    def holds(self, prefix: str) -> bool:
        """Whether there is any object whose name begins with ``prefix``."""
        parsed = parse(prefix)
        source = self._engine.sources.for_uri(parsed)
        # Servers that keep objects as files list folders that are empty by now, but not in a flat listing.
        return self._retry(lambda: holds_any(parsed, lambda query: source.page(parsed, query)))

    def containers(self, scheme: str) -> list[str]:
        """The names of the buckets of a kind of store, such as ``s3``, that the credentials may list.

        Asked once: who wants to know which stores there are must not wait long for one that is not.
        """
        return list(self._engine.sources.for_uri(MediaURI("", scheme, "", "")).containers())

    def sign(self, uri: str, expires_seconds: int, method: str = "GET") -> str:
        """A URL that works without credentials, for one method, until it expires."""
        parsed = parse_object(uri)
        return self._engine.sources.for_uri(parsed).sign(
            parsed, expires_seconds=expires_seconds, method=method
        )

    # Changing

    def check_writable(self, uri: str) -> None:
        """Raises if the URI alone shows that the object cannot be written or deleted."""
        self._engine.sources.writer_for(parse_object(uri))

    def put(self, uri: str, content: bytes | BinaryIO, *, keep: bool = False) -> ObjectInfo:
        """Writes an object, in place of the one that may be there, and makes sure that it arrived.

        Args:
            content: the bytes, or an open file, which is read from its beginning.
            keep: put a copy into the cache. What does not fit into it is written all the same.
        """
        parsed = parse_object(uri)
        writer = self._engine.sources.writer_for(parsed)
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        size = file.seek(0, os.SEEK_END)
        kept = False
        try:
            info = self._retry(lambda: writer.put(parsed, file, size))
            kept = keep and self._keep(info, file)
        finally:
            if not kept:
                self._drop(uri)
        return info

    def move_in(self, path: str, state: FileState, info: ObjectInfo) -> bool:
        """Moves the local file that an object was written from into the cache.

        Args:
            path: of the file.
            state: of the file before it was written.
            info: what `put` gave.

        Returns:
            false where the file stays, and the log says why: there is no room for it, or it lies in the
            cache's directory, and then it is copied.

        Raises:
            SourceError: the file was changed meanwhile, or cannot be removed. It stays, outside the cache.
            OSError: the file cannot be read.
        """
        fetcher, place = self._engine.open_fetcher(), os.path.realpath(self._engine.config.cache_dir)
        try:
            if os.path.realpath(path).startswith(place + os.sep):
                with open(path, "rb") as file:
                    fetcher.store(info, file)
                log.warning("the local file %s stays, because it lies in the cache directory", path)
                return False
            fetcher.move(info, path, state)
        except CacheFullError as error:
            log.warning("%s; the local file %s stays", _not_kept(info, error), path)
            return False
        except SourceError:
            self._drop(info.uri)
            raise
        return True

    def copy(self, source: str, target: str) -> ObjectInfo:
        """Copies an object; within one store, with one set of credentials, without its bytes coming by here.

        From one to another they come through the cache.
        """
        origin, parsed = parse_object(source), parse_object(target)
        writer = self._engine.sources.writer_for(parsed)
        if not self._engine.sources.are_together(origin, parsed):
            with self._cache.open(source, whole=True) as file:
                # Open, it can be read even when it is evicted meanwhile.
                return self.put(target, file)  # type: ignore[arg-type]
        self._engine.sources.for_uri(origin)  # which refuses what may not be read
        try:
            return self._retry(lambda: writer.copy(origin, parsed))
        finally:
            self._drop(target)

    def delete(self, uri: str, *, missing_ok: bool = False) -> None:
        """Removes an object.

        Args:
            missing_ok: do nothing where there is none; otherwise that is an `ObjectNotFoundError`.
        """
        parsed = parse_object(uri)
        writer = self._engine.sources.writer_for(parsed)
        if not missing_ok:
            # To delete what is not there succeeds, in S3 as well as at a second attempt.
            self.head(uri)
        try:
            self._retry(lambda: writer.delete(parsed))
        finally:
            self._drop(uri)

    # The cache

    def _drop(self, uri: str) -> None:
        self._engine.open_clearing().drop([entry_of(uri)])

    def _keep(self, info: ObjectInfo, file: BinaryIO) -> bool:
        """Takes what was written into the cache; false where there is no room for it."""
        try:
            self._engine.open_fetcher().store(info, file)
        except CacheFullError as error:
            log.warning(_not_kept(info, error))
            return False
        return True

    def _retry(self, attempt: Callable[[], _T]) -> _T:
        return retry_transient(attempt, self._engine.config.max_attempts)


def _not_kept(info: ObjectInfo, error: CacheFullError) -> str:
    return f"{redact(info.uri)} was written, but is not in the cache: {error}"
