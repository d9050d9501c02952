"""Redis loses its data while processes are connected: they notice, and the limit holds all the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from forebay.cache import MediaCache
from forebay.fetch.destination import Destination
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.work import Item
from forebay.index import Index, SessionLostError
from forebay.sources.base import ObjectInfo
from forebay.uri import entry_of, parse_object
from tests.caches import MakeCache, maintain
from tests.limits import Watcher, bytes_below
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault
from tests.servers.valkey import Valkey

LIMIT = 24_000
FORK = multiprocessing.get_context("fork")
Lose = Callable[[redis.Redis, Index], object]

LOSSES: dict[str, Lose] = {
    "FLUSHALL": lambda client, index: client.flushall(),
    "FLUSHDB": lambda client, index: client.flushdb(),
    "another database in its place": lambda client, index: client.swapdb(0, 9),
    "the totals": lambda client, index: client.delete(index.keys.meta),
    "the sessions": lambda client, index: client.delete(index.keys.sessions),
    "the entries": lambda client, index: client.delete(index.keys.entries),
    "the order": lambda client, index: client.delete(index.keys.atime),
    "the reservations": lambda client, index: client.delete(index.keys.reserved, index.keys.claims),
    "everything of the volume": lambda client, index: index.forget(),
}


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{n:03}.bin", f"{n:03}".encode() * 400) for n in range(60)]


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> Any:
    """Makes caches that may fetch from the web server."""

    def make(**settings: Any) -> MediaCache:
        defaults = {"cache_size_bytes": LIMIT, "claim_ttl_seconds": 4}
        return make_cache(**(defaults | {"allowed_sources": [http_server.endpoint + "/"]} | settings))

    return make


def media(cache: MediaCache) -> Path:
    return Path(cache.engine.files.layout().media_dir)


def agrees(cache: MediaCache) -> bool:
    """Whether the index knows exactly what lies on the volume, and its totals are the sums."""
    index = cache.engine.open_index()
    known = {entry: int(value.split("|")[0]) for page in index.entries.scan() for entry, value in page}
    layout = cache.engine.files.layout()
    there = {layout.entry(str(p)): p.stat().st_size for p in media(cache).rglob("*.bin")}
    totals = index.entries.totals()
    return known == there and (totals.published, totals.count, totals.unindexed) == (
        sum(there.values()),
        len(there),
        0,
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_processes_that_are_connected_keep_to_the_limit(
    web: Any, valkey: Valkey, uris: list[str], tmp_path: Path, loss: str
) -> None:
    # given a full cache, and two processes that are connected
    cache, other = web(), web()
    cache.download_media(uris[:10])
    other.download_media(uris[10:20])

    # when Redis loses what it had, and both go on
    with Watcher(tmp_path / "cache") as watcher:
        LOSSES[loss](valkey.client, cache.engine.open_index())
        statuses = [
            cache.download_media(uris[20:40]).status(),
            other.download_media(uris[40:60]).status(),
        ]
        eventually(lambda: other.engine.open_maintenance().run(force=True) and agrees(other))

    # then there is never more than the limit, and in the end the index knows what lies there
    assert [status.failed for status in statuses] == [0, 0]
    assert watcher.largest <= LIMIT
    assert bytes_below(media(cache)) > LIMIT / 2
    assert all(cache.engine.files.locate(entry_of(uri)) for uri in uris[50:60])
    cache.engine.open_session().release_unused()
    other.engine.open_session().release_unused()
    assert cache.engine.open_index().entries.totals().reserved == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_process_that_does_nothing_notices(web: Any, valkey: Valkey, uris: list[str], loss: str) -> None:
    cache = web()
    cache.download_media(uris[:10])

    LOSSES[loss](valkey.client, cache.engine.open_index())

    eventually(lambda: agrees(cache), 20)
    assert cache.stats()["current_size"] == 12_000


def test_the_index_is_the_directorys_again(web: Any, valkey: Valkey, uris: list[str]) -> None:
    # given a volume whose index was emptied, and recovered by a process that was connected
    cache = web()
    cache.download_media(uris[:10])
    index = cache.engine.open_index()
    before = index.state.identity()
    valkey.client.flushall()
    cache.download_media(uris[10:11])

    # then it says whose it is, as before, and the next process may use it
    assert index.state.identity() == before
    eventually(lambda: web().stats()["current_count"] == 11)


def test_a_lease_taken_after_the_loss_holds(web: Any, valkey: Valkey, uris: list[str]) -> None:
    cache = web()
    cache.download_media(uris[:20])
    valkey.client.flushall()

    with web().lease(uris[:5], ttl=60):
        cache.download_media(uris[20:40])

        assert all(cache.engine.files.locate(entry_of(uri)) for uri in uris[:5])
        assert cache.engine.open_index().entries.totals().leased == 6_000


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "with its data"])
def test_a_download_that_was_under_way_does_not_exceed_the_limit(
    web: Any, valkey: Valkey, http_server: HTTPServer, tmp_path: Path, empty: bool
) -> None:
    # given a process that has received a part of an object that takes most of the cache, and is paused
    with http_server.proxied() as proxy:
        http_server.put("/large.bin", b"L" * 3_000_000)
        uris = [http_server.put(f"/s{n}.bin", b"s" * 190_000) for n in range(20)]
        proxy.fault("/large.bin", Fault(stall_after=900_000), times=1)
        slow = web(allowed_sources=[proxy.endpoint + "/"], cache_size_bytes=4_000_000)
        child = FORK.Process(target=slow.local_path, args=(proxy.endpoint + "/large.bin",))
        child.start()
        temporary = Path(slow.engine.files.layout().temporary_dir)
        eventually(lambda: temporary.exists() and [p for p in temporary.iterdir() if "probe" not in p.name])
        os.kill(child.pid or 0, signal.SIGSTOP)

        # when Redis is started anew, and another process fills the cache
        cache = web(cache_size_bytes=4_000_000)
        with Watcher(tmp_path / "cache") as watcher:
            valkey.restart(empty=empty)
            status = cache.download_media(uris).status()

        # then there is room for that, as the part is given up, and the limit holds
        assert status.failed == 0
        assert watcher.largest <= 4_000_000
        assert list(temporary.iterdir()) == []
        child.kill()
        child.join()


@pytest.mark.parametrize("loss", [lambda valkey: valkey.client.flushall(), Valkey.restart])
def test_what_was_begun_before_the_loss_neither_grows_nor_appears(
    web: Any, valkey: Valkey, uris: list[str], loss: Callable[[Valkey], object]
) -> None:
    # given a session that has claims on two objects and reserved bytes, and writes one of them
    late = web().engine
    session = late.open_session()
    claims = session.claim([entry_of(uri) for uri in uris[:2]])
    reservation = session.reservation(claims[0][0])
    assert reservation.grow(2_400) is None
    info = ObjectInfo("", 1_200)
    destination = Destination(late.open_index(), session, late.files, late.unread, late.config)
    begun, other = (
        PartialFile(
            Item(parse_object(uri), entry_of(uri), 0, token=token),
            destination,
            idle=0.0,
            verify=False,
        )
        for uri, (token, _) in zip(uris, claims, strict=False)
    )
    begun.open(info)
    begun.write([b"x" * 600], 600)

    # when Redis loses its data, which another process notices first
    loss(valkey)
    cache = web()
    cache.download_media(uris[2:3])

    # then what was begun cannot be written to, and nothing can be begun: it would not have been counted
    with pytest.raises(SessionLostError):
        begun.write([b"x" * 600], 600)
    with pytest.raises(SessionLostError):
        other.open(info)
    assert [path.name for path in media(cache).rglob("*.bin")] == ["002.bin"]
    begun.discard()
    other.discard()
    # and the process goes on with another session
    assert session.claim([entry_of(uris[0])])[0][1].granted


@pytest.mark.parametrize("asked", [slice(0, 10), slice(30, 40)], ids=["those without files", "others"])
def test_entries_without_files_give_no_room(
    web: Any, valkey: Valkey, uris: list[str], tmp_path: Path, asked: slice
) -> None:
    # given an index as it was before ten files left and ten others came, as after a failover; it knows ten
    # entries that have no file, which are the first to be evicted, and lacks ten files
    cache = web(claim_ttl_seconds=600)
    cache.download_media(uris[:20])
    layout = cache.engine.files.layout()
    for gone, new in zip(uris[:10], uris[20:30], strict=True):
        Path(layout.path(entry_of(gone))).unlink()
        Path(layout.path(entry_of(new))).write_bytes(b"x" * 1_200)
    valkey.restart()

    # when more is downloaded before a sweep has found that out
    status = cache.download_media(uris[asked]).status()

    # then there is no more than the limit, and all of it can be used again after the sweep
    assert status.failed == 0
    assert bytes_below(tmp_path / "cache") <= LIMIT
    maintain(cache)
    assert agrees(cache)


class TestBeyondTheLimit:
    """However there came to be more than the limit, maintenance evicts down to it."""

    def test_the_setting_was_made_smaller(self, web: Any, uris: list[str]) -> None:
        cache = web(max_requests=1)
        cache.download_media(uris[:20])

        smaller = web(cache_size_bytes=6_000)
        smaller.engine.open_session()

        # The heartbeat does it: nobody asks for room.
        eventually(lambda: smaller.stats()["current_size"] <= 6_000, 20)
        left = [n for n in range(20) if cache.engine.files.locate(entry_of(uris[n]))]
        assert left == [15, 16, 17, 18, 19]

    def test_files_came_to_the_volume_by_no_download(self, web: Any, uris: list[str]) -> None:
        cache = web()
        cache.download_media(uris[:20])
        for uri in uris[20:40]:
            Path(cache.engine.files.layout().path(entry_of(uri))).write_bytes(b"x" * 1_200)

        assert cache.engine.open_maintenance().run(force=True)

        assert cache.stats()["current_size"] == bytes_below(media(cache)) <= LIMIT

    def test_what_is_leased_stays_until_its_lease_ends(self, web: Any, uris: list[str]) -> None:
        cache = web()
        cache.download_media(uris[:20])
        smaller = web(cache_size_bytes=6_000, claim_ttl_seconds=60)

        with cache.lease(uris[:10], ttl=60):
            smaller.engine.open_maintenance().run()
            assert all(cache.engine.files.locate(entry_of(uri)) for uri in uris[:10])
            assert smaller.stats()["current_size"] == 12_000
        smaller.engine.open_maintenance().run()

        assert smaller.stats()["current_size"] == 6_000

    def test_a_process_without_a_limit_evicts_nothing(self, web: Any, uris: list[str]) -> None:
        cache = web()
        cache.download_media(uris[:20])

        web(cache_size_bytes=-1).engine.open_maintenance().run()

        assert cache.stats()["current_count"] == 20
