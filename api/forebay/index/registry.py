"""The volumes of a Redis: each says now and then where it is, and that a process uses it.

The one key that belongs to no volume is the hash ``forebay:volumes``: name -> the volume's record as JSON.
Nothing that must be right rests on it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass

from forebay.index.connection import Connection
from forebay.processes import host_name

log = logging.getLogger(__name__)

KEY = "forebay:volumes"
# Every process with a session announces its volume every few seconds.
STALE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """A volume, as one of its processes announced it last.

    Attributes:
        name: the volume's name.
        host: the machine of that process.
        directory: the cache directory on that machine.
        limit: the maximum size of the cache, in bytes; -1 for no limit.
        seen: the time of the announcement, in seconds since the epoch.
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

    def is_here(self) -> bool:
        """Whether this machine has the directory."""
        return self.host == host_name() and os.path.isdir(self.directory)


class VolumeRegistry:
    """The volumes that one Redis knows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def announce(self, name: str, cache_dir: str, limit: int) -> None:
        """Records that a process of this machine uses a volume.

        Args:
            limit: the maximum size of the cache, in bytes; -1 for no limit.
        """
        import redis  # Not needed by a process that only ever hits.

        record = VolumeRecord(name, host_name(), os.path.realpath(cache_dir), limit, time.time())
        try:
            self._connection.command("hset", KEY, name, json.dumps(asdict(record)))
        except redis.ResponseError as error:
            # On a cluster the key may lie on another node.
            log.debug("volume %r could not be announced: %s", name, error)

    def all(self) -> list[VolumeRecord]:
        """Every volume that was announced, and not forgotten, by name."""
        found = self._connection.command("hgetall", KEY)
        return sorted((VolumeRecord(**json.loads(text)) for text in found.values()), key=lambda one: one.name)

    def find(self, name: str) -> VolumeRecord | None:
        """The record of a volume."""
        text = self._connection.command("hget", KEY, name)
        return VolumeRecord(**json.loads(text)) if text else None

    def forget(self, name: str) -> bool:
        """Removes a volume's record; false when there was none."""
        return bool(self._connection.command("hdel", KEY, name))
