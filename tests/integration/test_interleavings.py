"""`update`, `clear`, `evict`, `lease`, uploads, hits and maintenance, paused between any two steps.

`FOREBAY_INTERLEAVINGS` is how many seeds are tried, `FOREBAY_INTERLEAVING_SEED` the only one.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.config.freshness import ALWAYS
from forebay.errors import CacheFullError
from forebay.eviction import room
from forebay.sources.base import ObjectInfo
from forebay.uri import entry_of
from forebay.volume import leases, leaving, reservation
from forebay.volume.removal import Removal
from forebay.volume.session import clock
from tests.caches import maintain
from tests.interleaving import Scheduler
from tests.limits import bytes_below
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey

SEEDS = int(os.environ.get("FOREBAY_INTERLEAVINGS", "40"))
ONLY = os.environ.get("FOREBAY_INTERLEAVING_SEED")
SIZES = [1_000, 1_300, 700, 1_500, 900, 1_100, 800, 1_700]
LIMIT = 6_000


class World:
    """One volume, the processes that use it (each is a cache with a session), and what must be true of it."""

    def __init__(self, seed: int, directory: Path, redis: Valkey, server: HTTPServer) -> None:
        self.random = random.Random(seed)
        self.directory = str(directory)
        self.server = server
        self.versions = dict.fromkeys(range(len(SIZES)), 1)
        self.uris = [f"{server.endpoint}/{seed}/{n}.bin" for n in range(len(SIZES))]
        self.config = MediaCacheConfig(
            cache_dir=self.directory,
            cache_size_bytes=LIMIT,
            redis_url=redis.url,
            volume=f"v{seed}",
            dispatch="local",
            claim_ttl_seconds=600,
            grace_seconds=600,
            min_free_bytes=0,
            max_requests=2,
            allowed_sources=[server.endpoint + "/"],
        )
        self.caches: list[MediaCache] = []
        self.losses = 0
        # What must be there: of each lease the entries that it found, and the paths that were handed out.
        self.leased: dict[str, set[int]] = {}
        self.handed_out: dict[str, int] = {}
        self.cleared: set[int] = set()
        for number in range(len(SIZES)):
            self.put(number)
        first = self.process()
        for number in range(5):
            os.utime(first.local_path(self.uris[number]), (1e9, 1e9))
        first.engine.files.take_touched()
        index = first.engine.open_index()
        entries = {entry_of(self.uris[n]): 1e9 + n for n in range(5)}
        index.connection.command("zadd", index.keys.atime, entries)

    def process(self) -> MediaCache:
        """Another process, without a heartbeat of its own."""
        cache = MediaCache(self.config)
        cache.engine.open_session()
        opened = cache.engine._opened
        assert opened is not None
        assert opened.writable is not None
        opened.writable.heartbeat.stop()
        self.caches.append(cache)
        return cache

    def put(self, number: int) -> bytes:
        body = bytes([number, self.versions[number]]) * (SIZES[number] // 2)
        self.server.put(self.uris[number][len(self.server.endpoint) :], body)
        return body

    def locate(self, number: int) -> str | None:
        return self.caches[0].engine.files.locate(entry_of(self.uris[number]))

    def some(self) -> list[int]:
        return self.random.sample(range(len(SIZES)), self.random.randint(1, 3))

    def kinds(self) -> list[Callable[[], Callable[[], object]]]:
        """The operations among which is chosen."""
        return [
            self.evict,
            self.clear,
            self.lease,
            self.lease,
            self.upload,
            self.update,
            self.read,
            self.maintain,
            self.expire,
        ]

    # Operations

    def evict(self) -> Callable[[], object]:
        cache, wanted = self.process(), self.random.randint(1, LIMIT)
        return lambda: cache.engine.open_evictor().evict(wanted)

    def clear(self) -> Callable[[], object]:
        cache, numbers = self.process(), self.some()

        # What is cleared goes, whoever was given its path.
        self.cleared.update(numbers)
        return lambda: cache.clear([self.uris[n] for n in numbers])

    def lease(self) -> Callable[[], object]:
        cache, numbers = self.process(), self.some()

        def lease() -> None:
            losses = self.losses
            held = cache.lease([self.uris[n] for n in numbers], ttl=600)
            if losses == self.losses:
                self.leased[held.name] = {n for n in numbers if self.locate(n) is not None}
            # Some round trips, at each of which the others may do anything.
            for _ in range(10):
                cache.engine.open_index().entries.totals()
            self.leased.pop(held.name, None)
            held.end()

        return lease

    def upload(self) -> Callable[[], object]:
        cache, number = self.process(), self.random.randrange(len(SIZES))

        def upload() -> None:
            self.versions[number] += 1
            body = self.put(number)
            with contextlib.suppress(CacheFullError):
                cache.engine.open_fetcher().store(ObjectInfo(self.uris[number], len(body)), io.BytesIO(body))

        return upload

    def update(self) -> Callable[[], object]:
        cache, numbers = self.process(), self.some()

        def update() -> None:
            outcomes: list[Any] = []
            cache.engine.open_fetcher().fetch(
                [(n, self.uris[n]) for n in numbers], outcomes.extend, fresh=ALWAYS, unused=True
            )
            for outcome in outcomes:
                assert outcome.error is None or isinstance(outcome.error, CacheFullError), outcome.error

        return update

    def read(self) -> Callable[[], object]:
        cache, numbers = self.process(), self.some()

        def read() -> None:
            for number in numbers:
                path = cache.engine.files.touch(entry_of(self.uris[number]))
                if path is not None and number not in self.cleared:
                    self.handed_out[path] = number

        return read

    def maintain(self) -> Callable[[], object]:
        cache = self.process()
        return lambda: cache.engine.open_maintenance().run(force=True)

    def expire(self) -> Callable[[], object]:
        """All processes were paused for longer than their sessions live; one cleans up, and they go on."""
        mine = self.process()

        def expire() -> None:
            index = mine.engine.open_index()
            for cache in self.caches:
                session = cache.engine.open_session()
                if cache is not mine:
                    index.connection.redis.zadd(index.keys.sessions, {session.id: 1}, xx=True)
                    session.deadline = clock()
            mine.engine.open_maintenance().run(force=True)
            for cache in self.caches:
                cache.engine.open_session().extend()

        return expire

    def lose(self) -> Callable[[], object]:
        """Redis loses the volume's data."""
        cache = self.process()

        def lose() -> None:
            self.losses += 1
            self.leased.clear()
            cache.engine.open_index().forget()
            for each in self.caches:
                each.engine.open_session().extend()

        return lose

    # What must be true

    def check(self) -> None:
        lies = bytes_below(Path(self.directory))
        assert lies <= LIMIT, f"{lies} bytes lie there"
        for name, numbers in self.leased.items():
            for number in numbers:
                assert self.locate(number) is not None, f"{number} is under {name}, and gone"
        for path, number in self.handed_out.items():
            assert os.path.exists(path), f"{number} was handed out, and is gone"

    def check_end(self) -> None:
        """After all: index and disk agree, and nothing is left over."""
        for cache in self.caches:
            cache.engine.open_session().extend()
            cache.engine.open_session().release_unused()
        cache = self.caches[0]
        maintain(cache)
        index, layout = cache.engine.open_index(), cache.engine.files.layout()
        there = {}
        for path in Path(layout.media_dir).rglob("*.bin"):
            number, body = int(path.stem), path.read_bytes()
            assert body in [bytes([number, v]) * (SIZES[number] // 2) for v in range(1, 20)]
            assert path.stat().st_mode & 0o1000 == 0
            there[entry_of(self.uris[number])] = len(body)
        known = {entry: int(value.split("|")[0]) for page in index.entries.scan() for entry, value in page}
        assert known == there
        totals = index.entries.totals()
        assert (totals.published, totals.count) == (sum(there.values()), len(there))
        assert (totals.leased, totals.reserved, totals.unindexed) == (0, 0, 0)
        assert index.claims.all() == {}
        assert os.listdir(layout.temporary_dir) == []
        assert leaving.WayOut(cache.engine.files).tokens() == []

    def close(self) -> None:
        for cache in self.caches:
            cache.close()


def explore(
    seed: int,
    directory: Path,
    valkey: Valkey,
    server: HTTPServer,
    only: Sequence[str] = (),
    make: Callable[[int, Path, Valkey, HTTPServer], World] = World,
) -> None:
    """Runs some operations, or ``only`` those of such names, in the order that belongs to a seed."""
    world = make(seed, directory / str(seed), valkey, server)
    chosen = [getattr(world, name) for name in only] or world.random.sample(world.kinds(), 5) + (
        [world.lose] if seed % 5 == 0 else []
    )
    operations = {f"{n} {kind.__name__}": kind() for n, kind in enumerate(chosen)}
    scheduler = Scheduler(seed, world.directory, world.check)
    try:
        with pytest.MonkeyPatch.context() as patch:
            # A request that finds no room fails at once, as the grace period does not end in a test.
            patch.setattr(room, "_PATIENCE_SECONDS", 0.0)
            scheduler.run(operations, patch)
        world.check_end()
    except AssertionError as error:
        steps = "\n".join(scheduler.trace[-80:])
        raise AssertionError(f"seed {seed}: {error}\nThe last steps were:\n{steps}") from error
    finally:
        world.close()


def explore_many(
    seeds: Iterable[int], directory: Path, valkey: Valkey, server: HTTPServer, only: Sequence[str] = ()
) -> None:
    for seed in seeds:
        explore(seed, directory, valkey, server, only)


@pytest.mark.timeout(600)
def test_whatever_the_order_of_the_steps(tmp_path: Path, valkey: Valkey, http_server: HTTPServer) -> None:
    explore_many(range(SEEDS) if ONLY is None else [int(ONLY)], tmp_path, valkey, http_server)


# What is broken, the operations that are concerned, what is found, and a seed before the first that finds it:
# to look from 0 on takes a minute. What shows in one order of very many
# is in `test_pauses.py` and `test_emptied.py`, which go for that order.
BREAKS: dict[str, tuple[tuple[Any, str, Any], Sequence[str], str, int]] = {
    "a lease does not wait for evictors": (
        (leases, "is_evictor_token", lambda token: False),
        ("clear", "lease", "lease"),
        "is under lease",
        220,
    ),
    "clear does not ask for leases": (
        (Removal, "kept_by_leases", lambda removal, token, entries: set()),
        ("clear", "lease", "lease"),
        "is under lease",
        0,
    ),
    "reserved bytes are not asked for": (
        (reservation.ReservationPool, "reserve", lambda *arguments: None),
        ("upload", "upload", "update"),
        "bytes lie there",
        0,
    ),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_invariant_is_found(
    tmp_path: Path, valkey: Valkey, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    patch, operations, what, first = BREAKS[broken]
    monkeypatch.setattr(*patch)

    with pytest.raises(AssertionError, match=what):
        explore_many(range(first, first + 300), tmp_path, valkey, http_server, operations)
