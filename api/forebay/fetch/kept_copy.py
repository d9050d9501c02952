"""The cached copy of an object that is fetched again: whether it is still current, by etag or by its bytes.

A source that answers HEAD is asked for the object's head first. A copy whose etag is another, but whose bytes
have the source's checksum, is kept, and gets the new etag: reading a file costs less than a download.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from forebay.errors import NotModifiedError
from forebay.eviction.succession import Way, make_way
from forebay.fetch.destination import Destination
from forebay.fetch.refusals import kept_by_lease, unchanged
from forebay.fetch.steps import YieldedError
from forebay.fetch.work import Item
from forebay.index import Download, Entry, entry_value
from forebay.sources.base import Asking, ObjectInfo
from forebay.sources.bodies import Body
from forebay.sources.checksums import Checksums
from forebay.transport import Kind, Outcome, Request, TransportError
from forebay.volume.files import Files

_CHUNK_BYTES = 1 << 20


class KeptCopy:
    """The copy of an item that is published, and that another may replace.

    Args:
        item: has the value of the published entry.
        files: of the volume.

    Attributes:
        sink: takes the head of the object.
        is_asking: whether the head has been asked for, and what it says is not known yet.
    """

    # What it has become, where it was copied; and how much room that needs: see `UpstreamCopy`.
    download: Download | None = None
    size = 0
    # Whether no source is asked, because it is copied from a file of this machine's: see `LocalCopy`.
    is_direct = False

    __slots__ = ("_entry", "_files", "_is_judged", "_item", "_modified", "_path", "is_asking", "sink")

    def __init__(self, item: Item, files: Files) -> None:
        self._item = item
        self._files = files
        self._entry = Entry.parse(item.old)
        item.renewed = ""
        self._path: str | None = None
        self._modified = 0.0
        # Whether it is known by now that only the object itself tells whether it is current.
        self._is_judged = False
        self.is_asking = False
        self.sink: Body

    def is_there(self) -> bool:
        """Whether its file is still there; asked at the beginning of each attempt."""
        self.is_asking = False
        self._path = self._files.locate(self._item.entry)
        with contextlib.suppress(FileNotFoundError):
            self._modified = os.stat(self._path).st_mtime if self._path else 0.0
            return self._path is not None
        self._path = None
        return False

    def is_current(self, info: ObjectInfo) -> bool:
        """Whether it is what its source describes, by etag, else by size and time."""
        return self._path is not None and unchanged(info, self._entry, self._modified)

    def question(self, source: Asking) -> Request:
        """The request for the object's head; where that did not tell, for the object if it has changed."""
        uri = self._item.uri
        head = None if self._is_judged else source.request_head(uri)
        self.is_asking = head is not None
        if head is not None:
            self.sink = Body(uri, source.describe_head)
            return head
        if self._entry.etag:
            return source.request(uri, if_none_match=self._entry.etag)
        return source.request(uri, if_modified_since=self._modified)

    def follow(self, source: Asking, request: Request, outcome: Outcome) -> Request | None:
        """The request to send after an answer that is not final; ``None`` where the answer can be judged.

        Raises:
            SourceError: no answer came.
        """
        error = outcome.error
        if not isinstance(error, TransportError):
            return None
        following = source.follow(self._item.uri, request, outcome)
        if following is None and error.kind is not Kind.REFUSED:
            raise source.failure(self._item.uri, outcome)
        return following

    def judge(self, outcome: Outcome) -> bool:
        """Looks at the answer to the question for the head.

        Returns:
            whether the copy may have the object's bytes although its etag is another: see `compare`.

        Raises:
            NotModifiedError: it is current.
        """
        info = self.sink.info
        self.is_asking, self._is_judged = False, True
        if outcome.error is not None:
            # A GET may be admitted where a HEAD is not; and only its answer says what is wrong.
            return False
        if self.is_current(info):
            raise self._is_kept()
        return info.size == self._entry.size and bool(info.md5 or info.checksum)

    def compare(self, is_wanted: Callable[[], bool]) -> None:
        """Reads the file; may be called by another thread.

        Args:
            is_wanted: asked from time to time whether to go on.

        Raises:
            NotModifiedError: it has the object's checksum. The item has the value with the new etag.
            OSError: it cannot be read.
        """
        info, old = self.sink.info, self._entry
        if self._path is not None and has_checksums(self._path, info, is_wanted):
            self._item.renewed = entry_value(old.size, info.etag or "", int(time.time()), old.uri)
            raise self._is_kept()

    def make_way(self, to: Destination, size: int) -> BaseException | float | None:
        """Has the copy removed where its successor of ``size`` bytes does not fit into the cache beside it.

        Returns:
            ``None`` where it does; for how many seconds it has to be waited; or the error that is the end.
        """
        item, old, limit = self._item, self._entry.size, to.config.limit
        if limit is None or size + old <= limit:
            return None
        way = make_way(to.index, to.session, to.files, item.entry, item.token, to.config.grace_seconds)
        if not isinstance(way, Way):
            return way
        return YieldedError() if way is Way.CLEAR else kept_by_lease(item.uri, size, old, limit)

    def _is_kept(self) -> NotModifiedError:
        return NotModifiedError(self._item.uri.redacted, "it is the copy that is cached")


def has_checksums(path: str, info: ObjectInfo, is_wanted: Callable[[], bool] = lambda: True) -> bool:
    """Whether a file has the size and the checksums that a source gives for an object; false without any.

    Args:
        path: of the file.
        info: what the source says.
        is_wanted: asked from time to time; false ends the comparison.

    Raises:
        OSError: the file cannot be read.
    """
    if info.size is None or not (info.md5 or info.checksum):
        return False
    checksums = Checksums(info)
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != info.size:
            return False
        while is_wanted() and (chunk := file.read(_CHUNK_BYTES)):
            checksums.update(chunk)
    return is_wanted() and checksums.matches
