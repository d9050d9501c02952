"""The volumes of a Redis: each says now and then where it is, and that a process uses it.

The one key that belongs to no volume is the hash ``forebay:volumes``: name -> the volume's record as JSON. In
a cluster it has a slot, and a connection, of its own.
Nothing that must be right rests on it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from forebay.index.connection import Connection
from forebay.index.records import clock_ahead, json_object
from forebay.processes import host_name

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

    @classmethod
    def parse(cls, text: str) -> VolumeRecord | None:
        """The record that a text in Redis holds as JSON; ``None`` where it holds none."""
        found = json_object(text)
        try:
            name, host, directory = (str(found[key]) for key in ("name", "host", "directory"))
            if not os.path.isabs(directory) or os.path.normpath(directory) != directory:
                return None
            return cls(name, host, directory, int(found["limit"]), float(found["seen"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

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
        self._connection = connection.of(KEY)

    def announce(self, name: str, cache_dir: str, limit: int) -> None:
        """Records that a process of this machine uses a volume.

        Args:
            limit: the maximum size of the cache, in bytes; -1 for no limit.
        """
        record = VolumeRecord(name, host_name(), os.path.realpath(cache_dir), limit, self._connection.time())
        self._connection.command("hset", KEY, name, json.dumps(asdict(record)))

    def all(self) -> list[VolumeRecord]:
        """Every volume that was announced, and not forgotten, by name."""
        found, now = self._connection.pipeline(("hgetall", KEY), ("time",))
        records = [_record(text, now) for text in found.values()]
        return sorted((one for one in records if one is not None), key=lambda one: one.name)

    def find(self, name: str) -> VolumeRecord | None:
        """The record of a volume."""
        text, now = self._connection.pipeline(("hget", KEY, name), ("time",))
        return _record(text, now) if text else None

    def forget(self, name: str) -> bool:
        """Removes a volume's record; false when there was none."""
        return bool(self._connection.command("hdel", KEY, name))


def _record(text: str, server_time: Sequence[int]) -> VolumeRecord | None:
    """A record with the time of this machine's clock."""
    found = VolumeRecord.parse(text)
    return None if found is None else replace(found, seen=found.seen + clock_ahead(server_time))
