"""The cache against a reference model, under random operations.

The model is a list: what is cached, objects and blocks of objects, in the order of its last use, and what is
leased. Everything that may happen to a cache happens in random order, crashes of a fetcher and of Redis and
objects that are replaced included; after each reconciliation the index, the directory and the model agree.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import CacheFullError, ObjectChangedError
from forebay.uri import entry_of
from forebay.uri.blocks import Version
from forebay.volume.block_files import having_blocks
from tests.caches import maintain
from tests.servers.embedded import eventually
from tests.servers.http_server import http_server
from tests.servers.proxy import Fault
from tests.servers.valkey import valkey
from tests.small_blocks import use_small_blocks

# Of the largest, a file and its blocks do not fit into the cache together.
SIZES = [300, 500, 800, 1300, 2100, 3400, 700, 900, 1100, 1500, 5000, 0]
BLOCK = 400
LIMIT = 9000
SLACK = LIMIT // 100
NUMBERS = st.integers(0, len(SIZES) - 1)
SOME = st.lists(NUMBERS, min_size=1, max_size=5, unique=True)
FORK = multiprocessing.get_context("fork")
Key = tuple[int, int]
"""An object and -1, or an object and the number of one of its blocks."""


def size_of(key: Key) -> int:
    number, block = key
    return SIZES[number] if block < 0 else min(BLOCK, SIZES[number] - block * BLOCK)


class Model:
    """What a cache ought to hold."""

    def __init__(self) -> None:
        self.order: list[Key] = []  # cached, least recently used first
        self.held: dict[Key, int] = {}  # of which version it is
        self.versions = dict.fromkeys(range(len(SIZES)), 0)
        self.leases: dict[str, set[int]] = {}

    @property
    def leased(self) -> set[int]:
        return set().union(*self.leases.values()) if self.leases else set()

    @property
    def size(self) -> int:
        return sum(map(size_of, self.order))

    def blocks(self, number: int) -> list[Key]:
        return [key for key in self.order if key[0] == number and key[1] >= 0]

    def missing(self, number: int) -> list[Key]:
        return [key for key in all_blocks(number) if key not in self.order]

    def use(self, key: Key) -> bool:
        """Uses an object or a block, fetching it if need be; false when there is no room for it."""
        if key in self.order:
            self.order.remove(key)
        else:
            if self.size + size_of(key) > LIMIT:
                kept = sum(size_of(one) for one in self.order if one[0] in self.leased)
                if kept + size_of(key) > LIMIT:
                    # What can be evicted is evicted all the same before that is known.
                    self.evict(LIMIT)
                    return False
                self.evict(self.size + size_of(key) - LIMIT + SLACK)
            self.held[key] = self.versions[key[0]]
        self.order.append(key)
        return True

    def complete(self, number: int) -> None:
        """Makes an object of its blocks, those that are missing included, or fetches it anew."""
        there = self.blocks(number)
        old = {self.held[key] for key in there} - {self.versions[number]}
        version = self.held[there[0]]
        if old and self.missing(number):
            version = self.versions[number]
        self.forget(there)
        self.order.append((number, -1))
        self.held[number, -1] = version

    def evict(self, wanted: int) -> None:
        """Removes the least recently used that no lease keeps, until enough is free."""
        for key in [key for key in self.order if key[0] not in self.leased]:
            if wanted <= 0:
                return
            self.order.remove(key)
            wanted -= size_of(key)

    def forget(self, keys: Iterable[Key]) -> None:
        gone = set(keys)
        self.order = [key for key in self.order if key not in gone]


def peek(path: Path) -> bytes:
    """What a file holds, without a mark of its use."""
    with open(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as file:
        return file.read()


def all_blocks(number: int) -> list[Key]:
    return [(number, block) for block in range(-(-SIZES[number] // BLOCK))]


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        use_small_blocks(patch, BLOCK)
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.server = self.stack.enter_context(http_server())
        self.proxy = self.stack.enter_context(self.server.proxied())
        self.redis = self.stack.enter_context(valkey(directory / "valkey"))
        self.uris = [f"{self.proxy.endpoint}/{number}.bin" for number in range(len(SIZES))]
        self.config = MediaCacheConfig(
            cache_dir=str(directory / "cache"),
            cache_size_bytes=LIMIT,
            redis_url=self.redis.url,
            dispatch="local",
            max_requests=1,
            grace_seconds=0.0,
            min_free_bytes=0,
            allowed_sources=[self.proxy.endpoint + "/"],
        )
        self.cache = MediaCache(self.config)
        self.model = Model()
        # Of the blocks of these objects, Redis has lost the etag.
        self.nameless: set[int] = set()
        for number in range(len(SIZES)):
            self.server.put(f"/{number}.bin", self.body(number, 0))

    def teardown(self) -> None:
        self.cache.close()
        self.stack.close()

    def body(self, number: int, version: int) -> bytes:
        return bytes([number, version]) * (SIZES[number] // 2)

    def held_body(self, key: Key) -> bytes:
        number, block = key
        whole = self.body(number, self.model.held[key])
        return whole if block < 0 else whole[block * BLOCK : (block + 1) * BLOCK]

    def entry(self, key: Key) -> str:
        number, block = key
        entry = entry_of(self.uris[number])
        if block < 0:
            return entry
        body = self.body(number, self.model.held[key])
        return Version(entry, len(body), f'"{hashlib.md5(body).hexdigest()}"').block(block).entry

    def in_part(self, number: int) -> bool:
        """Whether an object will be completed where it is wanted as a whole."""
        return (
            bool(self.model.blocks(number))
            and (number, -1) not in self.model.order
            and number not in self.nameless
            and 2 * SIZES[number] <= LIMIT
        )

    def has_room(self, number: int) -> bool:
        """Makes room for an object beside its blocks, as the model does not tell which of them would be
        evicted meanwhile; false where there is none."""
        wanted = SIZES[number] + SLACK
        while self.model.size + sum(map(size_of, self.model.missing(number))) + wanted > LIMIT:
            before = self.model.size
            self.evict(1)
            if self.model.size == before:
                return False
        return True

    @initialize()
    def open(self) -> None:
        self.cache.engine.open_index().entries.totals()

    @rule(number=NUMBERS)
    def get(self, number: int) -> None:
        if self.in_part(number) and not self.has_room(number):
            return
        is_in_part = self.in_part(number)
        try:
            path = self.cache.local_path(self.uris[number])
        except CacheFullError:
            assert not self.model.use((number, -1))
            return
        if is_in_part:
            self.model.complete(number)
        else:
            assert self.model.use((number, -1))
        assert Path(path).read_bytes() == self.held_body((number, -1))

    @rule(number=NUMBERS, block=st.integers(0, 12))
    def read(self, number: int, block: int) -> None:
        model, parts = self.model, all_blocks(number)
        if (number, -1) in model.order or len(parts) < 2:
            return self.get(number)
        if number in self.nameless or (2 * SIZES[number] <= LIMIT and not self.has_room(number)):
            return None
        key = parts[block % len(parts)]
        there = model.blocks(number)
        try:
            with self.cache.open(self.uris[number], whole=False) as file:
                if not there:
                    assert model.use(parts[0])
                file.seek(key[1] * BLOCK)
                try:
                    found = file.read(1)
                except ObjectChangedError:
                    # Then nothing is left of the old version.
                    assert model.held[there[0]] != model.versions[number]
                    assert key not in there
                    return model.forget(there)
                assert model.use(key)
                offset = key[1] * BLOCK
                assert found == self.body(number, model.held[key])[offset : offset + 1]
                assert not there or model.held[key] == model.held[there[0]]
        except CacheFullError:
            assert 2 * SIZES[number] > LIMIT
            if not there and not model.use(parts[0]):
                return None
            assert not model.use(key)
            return None
        if not model.missing(number) and 2 * SIZES[number] <= LIMIT:
            model.complete(number)
        return None

    @rule(numbers=SOME)
    def prefetch(self, numbers: list[int]) -> None:
        # What is there in part is completed first, several objects at the same time.
        entries = {n: entry_of(self.uris[n]) for n in numbers if (n, -1) not in self.model.order}
        begun = having_blocks(self.cache.engine.files, list(entries.values()))
        first = [n for n in entries if entries[n] in begun][:1]
        if first and self.in_part(first[0]) and not self.has_room(first[0]):
            return
        numbers = [n for n in numbers if n in first or entries.get(n) not in begun]
        there = [n for n in numbers if (n, -1) in self.model.order]
        status = self.cache.download_media([self.uris[n] for n in numbers]).status()
        assert status.pending == 0
        # What was there is used first, then the others are fetched one by one.
        failed = 0
        for number in there:
            self.model.use((number, -1))
        left = [n for n in numbers if n not in there and n not in first]
        if first and self.in_part(first[0]):
            self.model.complete(first[0])
        else:
            left += first
        for number in left:
            failed += not self.model.use((number, -1))
        assert status.failed == failed

    @rule(number=NUMBERS)
    def replace(self, number: int) -> None:
        self.model.versions[number] += 1
        self.server.put(f"/{number}.bin", self.body(number, self.model.versions[number]))

    @rule(numbers=SOME)
    def lease(self, numbers: list[int]) -> None:
        lease = self.cache.lease([self.uris[n] for n in numbers], ttl=600)
        self.model.leases[lease.name] = set(numbers)

    @precondition(lambda self: self.model.leases)
    @rule()
    def end_lease(self) -> None:
        name = next(iter(self.model.leases))
        self.cache.engine.open_index().leases.end(name)
        del self.model.leases[name]

    @precondition(lambda self: self.model.leases)
    @rule()
    def expire_lease(self) -> None:
        name = next(iter(self.model.leases))
        self.cache.engine.open_index().leases.extend(name, -1.0)
        self.reconcile()
        del self.model.leases[name]

    @rule(wanted=st.integers(1, LIMIT))
    def evict(self, wanted: int) -> None:
        self.cache.engine.open_evictor().evict(wanted)
        self.model.evict(wanted)

    @rule(numbers=SOME)
    def clear(self, numbers: list[int]) -> None:
        self.cache.clear([self.uris[n] for n in numbers])
        gone = set(numbers) - self.model.leased
        self.model.forget([key for key in self.model.order if key[0] in gone])

    @rule(number=st.sampled_from([n for n, size in enumerate(SIZES) if size > 600]))
    def kill_a_fetch_halfway(self, number: int) -> None:
        keys = [key for key in self.model.order if key[0] == number]
        if keys or self.model.size + SIZES[number] > LIMIT:
            return
        self.proxy.fault(f"/{number}.bin", Fault(stall_after=200), times=1)
        child = FORK.Process(target=self.cache.local_path, args=(self.uris[number],))
        child.start()
        claims = self.cache.engine.open_index().claims
        eventually(lambda: claims.holders([entry_of(self.uris[number])])[0])
        child.kill()
        child.join()

    @rule(number=st.sampled_from([n for n, size in enumerate(SIZES) if size > 600]))
    def kill_a_read_halfway(self, number: int) -> None:
        there = self.model.blocks(number)
        missing = self.model.missing(number)
        if not there or number in self.nameless or not missing or (number, -1) in self.model.order:
            return
        if self.model.held[there[0]] != self.model.versions[number] or self.model.size + BLOCK > LIMIT:
            return

        def read() -> None:
            with self.cache.open(self.uris[number], whole=False) as file:
                file.seek(missing[0][1] * BLOCK)
                file.read(1)

        self.proxy.fault(f"/{number}.bin", Fault(stall_after=100), times=1)
        child = FORK.Process(target=read)
        child.start()
        self.model.held[missing[0]] = self.model.versions[number]
        claims, entry = self.cache.engine.open_index().claims, self.entry(missing[0])
        eventually(lambda: claims.holders([entry])[0])
        child.kill()
        child.join()

    @rule()
    def remove_a_file_by_hand(self) -> None:
        if self.model.order:
            path = self.cache.engine.files.locate(self.entry(self.model.order.pop()))
            assert path is not None
            os.unlink(path)
            self.reconcile()

    @rule()
    def restart_redis(self) -> None:
        self.redis.restart()

    @rule()
    def restart_redis_empty(self) -> None:
        # What a job finds is marked with one time, which says nothing of an order.
        for age, key in enumerate(reversed(self.model.order)):
            path = self.cache.engine.files.locate(self.entry(key))
            assert path is not None
            os.utime(path, (time.time() - age / 1000, os.stat(path).st_mtime))
        self.redis.restart(empty=True)
        self.model.leases.clear()
        self.nameless = {number for number, block in self.model.order if block >= 0}
        self.reconcile()

    @rule()
    def another_program_takes_over(self) -> None:
        self.cache.close()
        self.cache = MediaCache(self.config)

    @rule()
    def reconcile(self) -> None:
        maintain(self.cache)

    @invariant()
    def the_directory_is_what_the_model_says(self) -> None:
        self.nameless &= {number for number, block in self.model.order if block >= 0}
        media = Path(self.cache.engine.files.layout().media_dir)
        files = {path: peek(path) for path in media.rglob("*") if path.is_file()}
        layout = self.cache.engine.files.layout()
        wanted = {Path(layout.path(self.entry(key))): self.held_body(key) for key in self.model.order}
        assert files.keys() == wanted.keys()
        assert files == wanted
        assert sum(map(len, files.values())) <= LIMIT

    @invariant()
    def after_reconciliation_the_index_agrees(self) -> None:
        self.reconcile()
        engine = self.cache.engine
        index = engine.open_index()
        entries = {entry: int(value.split("|")[0]) for page in index.entries.scan() for entry, value in page}
        assert entries == {self.entry(key): size_of(key) for key in self.model.order}
        totals = index.entries.totals()
        assert (totals.published, totals.count) == (self.model.size, len(self.model.order))
        assert totals.leased == sum(size_of(key) for key in self.model.order if key[0] in self.model.leased)
        assert (totals.unindexed, index.claims.all()) == (0, {})
        engine.open_session().release_unused()
        assert index.entries.totals().reserved == 0
        assert os.listdir(engine.files.layout().temporary_dir) == []


CacheMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("FOREBAY_MODEL_EXAMPLES", "12")),
    stateful_step_count=25,
    deadline=None,
    # Each step runs against servers: a failing sequence is short enough to be read as it is.
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(600)
class TestModel(CacheMachine.TestCase):  # type: ignore[name-defined, misc]
    pass
