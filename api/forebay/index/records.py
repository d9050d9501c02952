"""The values that the index keeps and answers with, as types; and its two errors."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from forebay.errors import ForebayError
from forebay.uri import redact

# A batch keeps the server busy for a millisecond or two.
BATCH = 500
# A machine with a wrong clock has written what lies so far in the future; it says nothing of when that was.
AHEAD_SECONDS = 60.0
_T = TypeVar("_T")
_ENTRY = re.compile(r"([0-9]{1,15})\|([^|]*)\|([0-9]{1,18})(?:\|(.*))?\Z", re.DOTALL)


class SessionLostError(ForebayError):
    """The session of this process was reaped: its claims and reservations are gone."""

    def __init__(
        self,
        message: str = "Redis has forgotten this process, which was paused for longer than "
        "FIFTYONE_MEDIA_CACHE_CLAIM_TTL_SECONDS, or Redis lost its data: try again",
    ) -> None:
        super().__init__(message)


class IndexEmptiedError(SessionLostError):
    """Redis has lost the index: nothing may be written before what lies on the volume is counted again."""


class LockLostError(ForebayError):
    """A lock ran out, and another process holds it now."""

    def __init__(
        self,
        message: str = "this process was paused for so long that another one has taken over: try again",
    ) -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of a published entry.

    Attributes:
        size: bytes.
        etag: as the source gave it, or empty.
        fetched: when it was downloaded, or found to be current at its source, in seconds since the epoch.
        uri: its URI without secrets, kept only where it cannot be told from the entry's name.
    """

    size: int
    etag: str = ""
    fetched: int = 0
    uri: str = ""

    @classmethod
    def parse(cls, value: str) -> Entry:
        """The entry that `format` has written as ``value``.

        Where something else has written it, the entry has 0 bytes. The next sweep sees that its file has not,
        removes it, and the object is downloaded again.
        """
        match = _ENTRY.match(value)
        if match is None:
            return cls(0)
        return cls(int(match[1]), match[2], int(match[3]), redact(match[4] or ""))

    @property
    def known_current(self) -> int:
        """``fetched``; 0 where that lies in the future, as after a machine with a wrong clock."""
        return self.fetched if self.fetched <= time.time() + AHEAD_SECONDS else 0

    def format(self) -> str:
        """The entry as Redis keeps it: ``size|etag|fetched``, and ``|uri`` where there is one."""
        return entry_value(self.size, self.etag, self.fetched, self.uri)


def entry_value(size: int, etag: str, fetched: int, uri: str = "") -> str:
    """An entry as Redis keeps it; see `Entry`."""
    value = f"{size}|{etag.replace('|', '%7c')}|{fetched}"
    return f"{value}|{uri}" if uri else value


def clock_ahead(server_time: Sequence[int]) -> float:
    """How far this machine's clock is ahead of Redis', by which records have their times.

    Args:
        server_time: what ``TIME`` has answered.

    Returns:
        whole seconds, as less may be due to the answer's way.
    """
    seconds, micros = server_time
    return float(round(time.time() - (int(seconds) + int(micros) / 1e6)))


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on the volume that is to be added to the index.

    Attributes:
        entry: the entry that it is the file of.
        size: bytes.
        atime: its access time, in seconds since the epoch.
        value: the value that the index is to keep of it.
    """

    entry: str
    size: int
    atime: float
    value: str


class Claimed(NamedTuple):
    """The answer to a claim. Either ``granted`` is true, or one of ``value`` and ``holder`` says why not.

    Attributes:
        granted: the entry is the caller's to download.
        value: the published entry's value; with ``granted``, of the entry that will be replaced.
        holder: the token of the claim that is in the way.
        holder_alive: whether the session of that token is alive.
    """

    granted: bool
    value: str = ""
    holder: str = ""
    holder_alive: bool = True


class Download(NamedTuple):
    """A download that is complete, and whose file is in its place.

    Attributes:
        entry: what was downloaded.
        token: of the claim on it.
        size: bytes.
        time: the access time to record, in seconds since the epoch: when the download ended, or earlier if it
            was fetched ahead.
        value: the value that the index is to keep of it.
    """

    entry: str
    token: str
    size: int
    time: float
    value: str


@dataclass(frozen=True, slots=True)
class Space:
    """The answer to a request for space; all in bytes. ``granted`` is -1 where there was no room."""

    granted: int
    published: int
    reserved: int
    unindexed: int
    leased: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a volume, in bytes, and its number of entries.

    ``unindexed`` is negative while the index has entries without a file that it cannot tell from others.
    """

    published: int
    reserved: int
    unindexed: int
    leased: int
    count: int


@dataclass(frozen=True, slots=True)
class Victim:
    """An entry that was chosen for eviction, with its access time and its size in bytes."""

    entry: str
    atime: float
    size: int


def json_object(text: str) -> dict[str, Any]:
    """The object that a text in Redis holds as JSON; an empty one where it holds none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def batches(items: Iterable[_T], size: int = BATCH) -> Iterator[list[_T]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
