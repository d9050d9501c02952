"""Redis fails over while the old master still answers: for seconds, one directory has two indexes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.uri import entry_of
from tests.caches import MakeCache, maintain
from tests.failover import cache_on
from tests.limits import Watcher
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.process import free_ports
from tests.servers.sentinel import SentinelGroup, sentinel_group
from tests.servers.valkey import Valkey

LIMIT = 24_000


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{n:03}.bin", f"{n:03}".encode() * 400) for n in range(60)]


@pytest.fixture
def promoted(tmp_path: Path, valkey: Valkey) -> Iterator[Valkey]:
    """A replica of the Redis of the tests, to be promoted."""
    directory = tmp_path / "promoted"
    directory.mkdir()
    options = ["--replicaof", f"127.0.0.1 {valkey.port}", "--repl-diskless-sync-delay", "0"]
    server = Valkey(free_ports()[0], directory, options=options)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel_group(tmp_path / "sentinels") as group:
        yield group


def test_processes_at_two_masters_keep_to_one_limit(
    make_cache: MakeCache,
    http_server: HTTPServer,
    promoted: Valkey,
    uris: list[str],
    tmp_path: Path,
) -> None:
    # given two processes of one volume, one at the old master, one at the new one, which do not agree on it
    allowed: dict[str, Any] = {"allowed_sources": [http_server.endpoint + "/"], "cache_size_bytes": LIMIT}
    old = make_cache(**allowed)
    old.download_media(uris[:10])
    eventually(lambda: promoted.client.info("replication")["master_link_status"] == "up")
    count = old.engine.open_index().entries.totals().count
    eventually(lambda: promoted.client.hlen(old.engine.open_index().keys.entries) == count)
    promoted.client.replicaof("NO", "ONE")
    new = make_cache(redis_url=promoted.url, **allowed)

    # when both download, in turn
    with Watcher(tmp_path / "cache") as watcher:
        jobs = [
            cache.download_media(uris[start : start + 5])
            for start in range(10, 60, 10)
            for cache, start in ((old, start), (new, start + 5))
        ]

    # then there is never more than the limit on the disk, and each has what it asked for
    assert [job.failed for job in jobs] == [0] * len(jobs)
    assert watcher.largest <= LIMIT
    for cache in (old, new):
        maintain(cache)
        totals = cache.engine.open_index().entries.totals()
        assert totals.published + totals.reserved + totals.unindexed <= LIMIT


def run_id(cache: MediaCache) -> str:
    return cache.engine.open_index().connection.run_id()


def test_who_is_still_at_the_old_master_asks_the_sentinels_before_it_changes_the_volume(
    group: SentinelGroup, http_server: HTTPServer, uris: list[str], tmp_path: Path
) -> None:
    def make() -> MediaCache:
        # So that no heartbeat notices anything in between.
        more: dict[str, Any] = {"claim_ttl_seconds": 600.0, "cache_size_bytes": LIMIT}
        return cache_on(group.url, tmp_path / "cache", http_server, dispatch="local", **more)

    # given a process that is connected to a master that does not answer for a while, so that another is
    # promoted, where a second process has a lease on what is there
    late = make()
    late.download_media(uris[:10])
    old = group.master
    old.pause()
    group.wait_for_another(old)
    early = make()
    kept = early.lease(uris[:10], ttl=600)
    assert early.download_media(uris[:10]).cached == 10
    old.resume()

    # when the first process needs room, and the old master does not know better yet
    job = late.download_media(uris[10:40])

    # then it uses the new one: what is leased there stays
    assert job.failed == 0
    assert run_id(late) == run_id(early)
    assert all(early.engine.files.locate(entry_of(uri)) for uri in uris[:10])
    assert kept.renew(600)
    assert late.lease(uris[30:35], ttl=600).name in {one.name for one in early.leases()}
    for cache in (early, late):
        cache.close()
