"""The Redis of a storm: one server, or a master and its replica behind Sentinels, which fail over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.servers.sentinel import SentinelGroup, sentinel_group
from tests.servers.valkey import Valkey, valkey

# What fails for longer is failed over; a busy machine alone makes no server silent for so long.
_DOWN_AFTER_SECONDS = 3.0
# How long a group may take until all follow one master again.
_SETTLE_SECONDS = 60.0


class StormRedis(Protocol):
    """What a storm does to Redis. Each call is about the server that is the master then."""

    @property
    def may_go_back(self) -> bool:
        """Whether another server may take over, with what was true some moments ago."""

    @property
    def url(self) -> str: ...

    @property
    def port(self) -> int:
        """Of the master of this moment."""

    def stop(self) -> None: ...

    def start(self) -> None:
        """Starts what was stopped."""

    def restart(self, *, empty: bool = False) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None:
        """Lets go on what was paused."""

    def settle(self) -> int:
        """Waits until nothing fails; returns how many failovers there were since the last time."""


class Alone:
    """One server, whose data are on the disk before it answers."""

    may_go_back = False

    def __init__(self, server: Valkey) -> None:
        self.url, self.port = server.url, server.port
        self.stop, self.start, self.restart = server.stop, server.start, server.restart
        self.pause, self.resume = server.pause, server.resume

    def settle(self) -> int:
        return 0


class Replicated:
    """A master and its replica; what fails for longer than some seconds is failed over."""

    may_go_back = True

    def __init__(self, group: SentinelGroup) -> None:
        self.url = group.url
        self._group = group
        self._away = group.master
        self._epoch = group.epoch

    @property
    def port(self) -> int:
        return self._group.master.port

    def stop(self) -> None:
        self._away = self._group.master
        self._away.stop()

    def start(self) -> None:
        self._away.start()

    def restart(self, *, empty: bool = False) -> None:
        self._group.master.restart(empty=empty)

    def pause(self) -> None:
        self._away = self._group.master
        self._away.pause()

    def resume(self) -> None:
        self._away.resume()

    def settle(self) -> int:
        self._group.settle(_SETTLE_SECONDS)
        before, self._epoch = self._epoch, self._group.epoch
        return self._epoch - before


@contextlib.contextmanager
def storm_redis(directory: Path, *, sentinels: bool) -> Iterator[StormRedis]:
    """Starts it, with its data in ``directory``."""
    if not sentinels:
        with valkey(directory) as server:
            yield Alone(server)
        return
    with sentinel_group(directory, down_after_seconds=_DOWN_AFTER_SECONDS) as group:
        yield Replicated(group)
