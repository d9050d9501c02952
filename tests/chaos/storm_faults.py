"""The faults of a storm: a seed says which comes when; each that lasts is undone after its time."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis, RedisError

from tests.chaos.storm_crew import Crew, Member
from tests.chaos.storm_redis import StormRedis
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import CLAIM_TTL, Volume
from tests.mounts import fill
from tests.servers.proxy import Fault, Proxy

HTTP_FAULTS = (
    Fault(status=503),
    Fault(status=429, headers={"Retry-After": "1"}),
    Fault(status=500),
    Fault(delay=0.3),
    Fault(reset_after=1000),
    Fault(truncate_after=5000),
    Fault(hang_up=True),
)
_NO_FAULT = Fault()
CLOCK_JUMPS = ("-86400", "-3600", "-30", "+30", "+3600", "+86400")


class Faults:
    """Injects faults into everything that a fleet stands on."""

    def __init__(
        self, seed: int, redis: StormRedis, web: Proxy, volumes: list[Volume], crew: Crew, seen: Seen
    ) -> None:
        self._random = random.Random(f"faults of {seed}")
        self._redis = redis
        self._web = web
        self._volumes = volumes
        self._crew = crew
        self._seen = seen
        self._order = itertools.count()
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._is_redis_away = False
        self._full: set[Path] = set()
        # How often each comes, beside the others.
        self._kinds: dict[Callable[[], None], int] = {
            self._kill_program: 3,
            self._kill_worker: 2,
            self._stop: 5,
            self._break_http: 5,
            self._restart_redis: 1,
            self._restart_redis_without_data: 1,
            self._empty_redis: 1,
            self._stop_redis: 1,
            self._take_redis_away: 1,
            self._cut_connections: 1,
            self._lose_messages: 1,
            self._fill_disk: 3,
            self._jump: 4,
        }

    def strike(self) -> float:
        """Injects one fault; returns after how many seconds the next one comes."""
        [kind] = self._random.choices(list(self._kinds), list(self._kinds.values()))
        kind()
        return self._random.random() * 2

    def end_those_due(self) -> None:
        """Undoes the faults whose time has come."""
        while self._undo and self._undo[0][0] <= time.monotonic():
            heapq.heappop(self._undo)[2]()

    def end_all(self) -> None:
        """Undoes every fault; from now on nothing fails."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        self._web.reset()
        if failovers := self._redis.settle():
            self._seen.fault("failovers", f"until now: {failovers}", failovers)
        self._seen.note("all faults are undone")

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        heapq.heappush(self._undo, (time.monotonic() + seconds, next(self._order), undo))

    # Processes

    def _kill_program(self) -> None:
        victim = self._random.choice(self._crew.clients)
        self._seen.fault("programs killed", victim.name)
        victim.kill()

    def _kill_worker(self) -> None:
        victim = self._random.choice(self._crew.workers)
        self._seen.fault("workers killed", victim.name)
        self._crew.kill_worker(victim)

    def _stop(self) -> None:
        victim = self._random.choice([*self._crew.workers, *self._crew.clients])
        # Half of them for longer than their claims last.
        seconds = self._random.choice([0.2, 1.0, CLAIM_TTL * 1.5, CLAIM_TTL * 3])
        kind = "stopped for longer than a claim" if seconds > CLAIM_TTL else "stopped for less"
        self._seen.fault(kind, f"{victim.name} for {seconds} s")
        victim.signal(signal.SIGSTOP)
        self._later(seconds, lambda: self._go_on(victim))

    def _go_on(self, victim: Member) -> None:
        if victim.process.poll() is None:
            victim.signal(signal.SIGCONT)
            self._seen.note(f"{victim.name} goes on")

    def _jump(self) -> None:
        clocks = [worker.clock for worker in self._crew.workers if worker.clock is not None]
        if not clocks:
            return
        clock, jump = self._random.choice(clocks), self._random.choice(CLOCK_JUMPS)
        self._seen.fault("clock jumps", f"{clock.stem} {jump} s")
        _set_clock(clock, jump)
        self._later(1 + self._random.random() * 8, lambda: _set_clock(clock, "+0"))

    # The source

    def _break_http(self) -> None:
        times = self._random.randint(1, 40)
        fault = self._random.choice(HTTP_FAULTS)
        what = {name: value for name, value in vars(fault).items() if value != getattr(_NO_FAULT, name)}
        self._seen.fault("HTTP faults", f"{times} times {what}", times)
        self._web.fault(None, fault, times=times)

    # The disk

    def _fill_disk(self) -> None:
        free = [volume for volume in self._volumes if volume.is_small and volume.root not in self._full]
        if not free:
            return
        volume = self._random.choice(free)
        self._seen.fault("full disks", volume.name)
        filler = fill(volume.root)
        self._full.add(volume.root)
        self._later(0.5 + self._random.random() * 5, lambda: self._empty_disk(volume, filler))

    def _empty_disk(self, volume: Volume, filler: Path) -> None:
        filler.unlink()
        self._full.discard(volume.root)
        self._seen.note(f"the disk of {volume.name} has room again")

    # Redis

    def _restart_redis(self) -> None:
        if not self._is_redis_away:
            self._seen.fault("Redis killed, and back with its data")
            self._redis.restart()

    def _restart_redis_without_data(self) -> None:
        if not self._is_redis_away:
            self._seen.fault("Redis killed, and back without its data")
            self._redis.restart(empty=True)

    def _take_redis_away(self) -> None:
        if not self._is_redis_away:
            self._seen.fault("Redis away for seconds")
            self._redis.stop()
            self._is_redis_away = True
            self._later(1 + self._random.random() * 5, self._bring_redis_back)

    def _bring_redis_back(self) -> None:
        self._redis.start()
        self._is_redis_away = False
        self._seen.note("Redis is back")

    def _stop_redis(self) -> None:
        if not self._is_redis_away:
            self._seen.fault("Redis stopped for seconds")
            self._redis.pause()
            self._is_redis_away = True
            self._later(0.5 + self._random.random() * 4, self._let_redis_go_on)

    def _let_redis_go_on(self) -> None:
        self._redis.resume()
        self._is_redis_away = False
        self._seen.note("Redis goes on")

    def _empty_redis(self) -> None:
        self._order_redis("Redis emptied", 0, "FLUSHALL")

    def _cut_connections(self) -> None:
        self._order_redis("connections to Redis cut", 0, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _lose_messages(self) -> None:
        # The queue is in the database beside the index.
        self._order_redis("queues lost", 1, "FLUSHDB")

    def _order_redis(self, kind: str, database: int, *command: str) -> None:
        if self._is_redis_away:
            return
        self._seen.fault(kind)
        with contextlib.suppress(RedisError), Redis(port=self._redis.port, db=database) as client:
            client.execute_command(*command)


def _set_clock(clock: Path, offset: str) -> None:
    # By a rename: whoever reads it finds the one or the other.
    new = clock.with_suffix(".new")
    new.write_text(offset + "\n")
    os.replace(new, clock)
