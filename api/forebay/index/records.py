"""The values that the index keeps and answers with, as types; and its two errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

# A batch keeps the server busy for a millisecond or two.
BATCH = 500
_T = TypeVar("_T")


class SessionLostError(Exception):
    """The session of this process was reaped: its claims and reservations are gone."""


class LockLostError(Exception):
    """A lock ran out, and another process holds it now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of a published entry.

    Attributes:
        size: bytes.
        etag: as the source gave it, or empty.
        fetched: when it was downloaded, in seconds since the epoch.
        uri: its URI without secrets, kept only where it cannot be told from the entry's name.
    """

    size: int
    etag: str = ""
    fetched: int = 0
    uri: str = ""

    @classmethod
    def parse(cls, value: str) -> Entry:
        """The entry that `format` has written as ``value``."""
        size, etag, fetched, *uri = value.split("|", 3)
        return cls(int(size), etag, int(fetched), uri[0] if uri else "")

    def format(self) -> str:
        """The entry as Redis keeps it: ``size|etag|fetched``, and ``|uri`` where there is one."""
        value = f"{self.size}|{self.etag.replace('|', '%7c')}|{self.fetched}"
        return f"{value}|{self.uri}" if self.uri else value


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


@dataclass(frozen=True, slots=True)
class Claimed:
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


@dataclass(frozen=True, slots=True)
class Download:
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
    """The totals of a volume, in bytes, and its number of entries."""

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


def batches(items: Iterable[_T], size: int = BATCH) -> Iterator[list[_T]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
