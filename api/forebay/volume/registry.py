"""The volumes of a Redis: each says now and then where it is, and that somebody uses it.

The one key that belongs to no volume is the hash ``forebay:volumes``: name -> what the volume said of
itself, as JSON. Nothing that must be right rests on it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.config import MediaCacheConfig
    from forebay.index import Index
    from forebay.index.connection import Connection

log = logging.getLogger(__name__)

KEY = "forebay:volumes"
# Every process with a session says it every few seconds.
STALE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Record:
    """What a volume said of itself.

    Attributes:
        name: the volume's name.
        host: the machine whose process said so last.
        directory: the cache directory on that machine.
        limit: the most that the cache may hold, in bytes; -1 for no limit.
        seen: when, in seconds since the epoch.
    """

    name: str
    host: str
    directory: str
    limit: int
    seen: float

    @property
    def place(self) -> str:
        """Where it is, as ``host:directory``."""
        return f"{self.host}:{self.directory}"

    @property
    def stale(self) -> bool:
        """Whether no process has used the volume for a while."""
        return time.time() - self.seen > STALE_SECONDS

    @property
    def is_here(self) -> bool:
        """Whether this machine has the directory."""
        return self.host == socket.gethostname() and os.path.isdir(self.directory)


def announce(index: Index, config: MediaCacheConfig) -> None:
    """Says that a process uses a volume; where that cannot be written down, nothing is lost."""
    import redis

    directory = os.path.realpath(config.cache_dir)
    record = Record(config.volume, socket.gethostname(), directory, config.cache_size_bytes, time.time())
    try:
        index.connection.command("hset", KEY, config.volume, json.dumps(asdict(record)))
    except redis.ResponseError as error:
        # On a cluster the key may lie on another node.
        log.debug("volume %r could not be announced: %s", config.volume, error)


def known(connection: Connection) -> list[Record]:
    """Every volume that was ever announced, and not forgotten, by name."""
    found = connection.command("hgetall", KEY)
    return sorted((Record(**json.loads(text)) for text in found.values()), key=lambda record: record.name)


def find(connection: Connection, name: str) -> Record | None:
    """What a volume said of itself."""
    text = connection.command("hget", KEY, name)
    return Record(**json.loads(text)) if text else None


def forget(connection: Connection, name: str) -> bool:
    """Takes a volume off the list; false when it was not on it."""
    return bool(connection.command("hdel", KEY, name))
