"""The cache against a reference model, under random operations.

The model is a list: what is cached, in the order of its last use, and what is leased. Everything that
may happen to a cache happens in random order, crashes of a fetcher and of Redis included; after each
reconciliation the index, the directory and the model agree.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import CacheFullError
from forebay.uri import entry_of
from tests.servers.embedded import eventually
from tests.servers.http_server import http_server
from tests.servers.proxy import Fault
from tests.servers.valkey import valkey

SIZES = [300, 500, 800, 1300, 2100, 3400, 700, 900, 1100, 1500, 4000, 0]
LIMIT = 9000
SLACK = LIMIT // 100
NUMBERS = st.integers(0, len(SIZES) - 1)
SOME = st.lists(NUMBERS, min_size=1, max_size=5, unique=True)
FORK = multiprocessing.get_context("fork")


class Model:
    """What a cache ought to hold."""

    def __init__(self) -> None:
        self.order: list[int] = []  # cached, least recently used first
        self.leases: dict[str, set[int]] = {}

    @property
    def leased(self) -> set[int]:
        return set().union(*self.leases.values()) if self.leases else set()

    @property
    def size(self) -> int:
        return sum(SIZES[n] for n in self.order)

    def use(self, number: int) -> bool:
        """Uses an object, fetching it if need be; false when there is no room for it."""
        if number in self.order:
            self.order.remove(number)
        elif self.size + SIZES[number] > LIMIT:
            kept = sum(SIZES[n] for n in self.order if n in self.leased)
            if kept + SIZES[number] > LIMIT:
                # What can be evicted is evicted all the same before that is known.
                self.evict(LIMIT)
                return False
            self.evict(self.size + SIZES[number] - LIMIT + SLACK)
        self.order.append(number)
        return True

    def evict(self, wanted: int) -> None:
        """Removes the least recently used that no lease keeps, until enough is free."""
        for number in [n for n in self.order if n not in self.leased]:
            if wanted <= 0:
                return
            self.order.remove(number)
            wanted -= SIZES[number]


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.server = self.stack.enter_context(http_server())
        self.proxy = self.stack.enter_context(self.server.proxied())
        self.redis = self.stack.enter_context(valkey(directory / "valkey"))
        for number, size in enumerate(SIZES):
            self.server.put(f"/{number}.bin", bytes([number]) * size)
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

    def teardown(self) -> None:
        self.cache.close()
        self.stack.close()

    @initialize()
    def open(self) -> None:
        self.cache.engine.open_index().entries.totals()

    @rule(number=NUMBERS)
    def get(self, number: int) -> None:
        try:
            path = self.cache.local_path(self.uris[number])
        except CacheFullError:
            assert not self.model.use(number)
        else:
            assert self.model.use(number)
            assert Path(path).read_bytes() == bytes([number]) * SIZES[number]

    @rule(numbers=SOME)
    def prefetch(self, numbers: list[int]) -> None:
        status = self.cache.download_media([self.uris[n] for n in numbers]).status()
        assert status.pending == 0
        # What was there is used first, then the others are fetched one by one.
        there = [n for n in numbers if n in self.model.order]
        failed = 0
        for number in [*there, *(n for n in numbers if n not in there)]:
            failed += not self.model.use(number)
        assert status.failed == failed

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
        self.model.order = [n for n in self.model.order if n not in gone]

    @rule(number=st.sampled_from([n for n, size in enumerate(SIZES) if size > 600]))
    def kill_a_fetch_halfway(self, number: int) -> None:
        if number in self.model.order or self.model.size + SIZES[number] > LIMIT:
            return
        self.proxy.fault(f"/{number}.bin", Fault(stall_after=200), times=1)
        child = FORK.Process(target=self.cache.local_path, args=(self.uris[number],))
        child.start()
        temporary = self.cache.engine.files.layout().temporary_dir
        eventually(lambda: [name for name in os.listdir(temporary) if not name.startswith("probe")])
        child.kill()
        child.join()

    @rule()
    def remove_a_file_by_hand(self) -> None:
        if self.model.order:
            number = self.model.order.pop()
            path = self.cache.engine.files.locate(entry_of(self.uris[number]))
            assert path is not None
            os.unlink(path)
            self.reconcile()

    @rule()
    def restart_redis(self) -> None:
        self.redis.restart()

    @rule()
    def restart_redis_empty(self) -> None:
        self.redis.restart(empty=True)
        self.model.leases.clear()
        self.reconcile()

    @rule()
    def another_program_takes_over(self) -> None:
        self.cache.close()
        self.cache = MediaCache(self.config)

    @rule()
    def reconcile(self) -> None:
        eventually(lambda: self.cache.engine.open_maintenance().run(force=True))

    @invariant()
    def the_directory_is_what_the_model_says(self) -> None:
        media = Path(self.cache.engine.files.layout().media_dir)
        files = {int(path.stem): path.stat().st_size for path in media.rglob("*.bin")}
        assert files == {n: SIZES[n] for n in self.model.order}
        assert sum(files.values()) <= LIMIT

    @invariant()
    def after_reconciliation_the_index_agrees(self) -> None:
        self.reconcile()
        engine = self.cache.engine
        index = engine.open_index()
        entries = {entry: int(value.split("|")[0]) for page in index.entries.scan() for entry, value in page}
        assert entries == {entry_of(self.uris[n]): SIZES[n] for n in self.model.order}
        totals = index.entries.totals()
        assert (totals.published, totals.count) == (self.model.size, len(self.model.order))
        assert totals.leased == sum(SIZES[n] for n in self.model.order if n in self.model.leased)
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
