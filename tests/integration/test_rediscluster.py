"""The index in a Redis Cluster: slots move and primaries die, and nothing is lost but a moment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from forebay.cache import MediaCache
from forebay.checks.doctor import examine
from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, IndexUnavailableError
from forebay.index import Index
from forebay.index.connection import Connection
from forebay.index.registry import KEY
from forebay.jobs import monitor
from forebay.jobs.celery_app import broker_url
from tests.caches import maintain
from tests.failover import all_there, cache_on, uris_of
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.rediscluster import RedisCluster, redis_cluster
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

COUNT = 2000
PAGE = Path(__file__).resolve().parents[2] / "docs" / "embedded-and-shared-redis.md"
[ACL] = re.findall(r"^ACL SETUSER forebay on >password (.*)$", PAGE.read_text(), re.MULTILINE)
Make = Callable[..., MediaCache]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three primaries without replicas, with a password. No test kills them."""
    with redis_cluster(tmp_path_factory.mktemp("cluster"), password="server-secret") as cluster:
        yield cluster


@pytest.fixture
def make(tmp_path: Path, http_server: HTTPServer) -> Iterator[Make]:
    """Makes caches on one volume, as several programs would."""
    made: list[MediaCache] = []

    def make(url: str, **settings: Any) -> MediaCache:
        made.append(cache_on(url, tmp_path / "cache", http_server, **settings))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def another(cluster: RedisCluster, than: Valkey) -> Valkey:
    return next(node for node in cluster.nodes[: cluster.primaries] if node is not than)


def test_volumes_and_their_registry_are_at_several_nodes(cluster: RedisCluster) -> None:
    connection = Connection(cluster.url)
    names = [f"volume-{n}" for n in range(12)]
    for name in names:
        index = Index(connection, name)
        index.volumes.announce(name, "/cache", -1)
        index.jobs.create("job", {}, ["s3://bucket/a"], 1)

    assert sorted(record.name for record in Index(connection, "volume-0").volumes.all()) == sorted(names)
    for name in names:
        overview = Index(connection, name).overview()
        assert list(overview.jobs) == ["job"]
        assert overview.record is not None
        Index(connection, name).forget()
    where = {cluster.primary_of(Index(connection, name).keys.prefix).port for name in names}
    assert len(where) > 1
    assert cluster.primary_of(KEY).client.exists(KEY) == 0
    connection.close()


def test_calls_follow_a_slot_that_moves(cluster: RedisCluster) -> None:
    for node in cluster.nodes:
        # What the page gives to the user of an index in a cluster.
        node.client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", *ACL.split(), "+cluster|slots")
    url = cluster.url.replace(":server-secret@", "limited:pw@")
    index = Index(Connection(url), "moving")
    key = index.keys.prefix
    source = cluster.primary_of(key)
    target = another(cluster, source)
    index.jobs.create("before", {}, ["s3://bucket/a", "s3://bucket/b"], 1)
    cluster.begin_to_move(key, target)

    # One key that the source has not: it answers with ASK, to each command and to scripts.
    index.jobs.write("not there", anything=1)
    assert index.jobs.read("not there") == {}
    assert index.locks.take(index.keys.upkeep, "token", 60)
    with ThreadPoolExecutor(1) as pool:
        # Several keys, of which some are at one node and some at the other: TRYAGAIN, until all have moved.
        begun = pool.submit(index.jobs.begin, "before", 0)
        cluster.move_keys(key, target)
        assert index.jobs.all() == ["before"]
        assert list(index.overview().jobs) == ["before"]
        cluster.end_move(key, target)
        assert begun.result(30).samples == [(0, "s3://bucket/a", "")]
    # From now on the source answers with MOVED, and then it is not asked any more.
    calls = source.client.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0)
    assert index.jobs.read("before")["pending"] == "2"
    assert source.client.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0) == calls
    assert cluster.primary_of(key) is target


def test_a_job_goes_on_while_its_slot_moves(
    cluster: RedisCluster,
    make: Make,
    valkey: Valkey,
    http_server: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor, "STALL_SECONDS", 1.0)
    uris = uris_of(http_server, COUNT)
    cache = make(cluster.url, broker_url=valkey.url, dispatch="fleet", volume="wandering")
    key = cache.engine.open_index().keys.prefix
    target = another(cluster, cluster.primary_of(key))
    with worker(cache) as process:
        job = cache.download_media(uris, wait=False, message_size=20)
        eventually(lambda: job.status().downloaded > 100)

        cluster.begin_to_move(key, target)
        cluster.move_keys(key, target)
        cluster.end_move(key, target)

        status = job.wait(120).status()
        log = process.log.read_text()
    assert (status.total, status.downloaded + status.cached, status.failed) == (COUNT, COUNT, 0)
    assert all_there(cache, uris)
    assert "secret" not in log
    assert "raised unexpected" not in log
    assert cluster.primary_of(key) is target
    maintain(cache)
    totals = cache.engine.open_index().entries.totals()
    assert (totals.count, totals.reserved, totals.unindexed) == (COUNT, 0, 0)


def test_a_primary_dies_in_the_middle_of_a_job_and_its_replica_takes_over(
    tmp_path: Path,
    make: Make,
    valkey: Valkey,
    http_server: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor, "STALL_SECONDS", 1.0)
    uris = uris_of(http_server, COUNT)
    with redis_cluster(tmp_path / "cluster", replicas=True) as cluster:
        cache = make(cluster.url, broker_url=valkey.url, dispatch="fleet")
        primary = cluster.primary_of(cache.engine.open_index().keys.prefix)
        with worker(cache) as process:
            job = cache.download_media(uris, wait=False, message_size=20)
            eventually(lambda: job.status().downloaded > 100)

            primary.stop()
            # This process writes, too, while no node has the slot.
            cache.lease(uris[:10], ttl=600)

            status = job.wait(120).status()
            log = process.log.read_text()
        assert (status.total, status.downloaded + status.cached, status.failed) == (COUNT, COUNT, 0)
        assert all_there(cache, uris)
        assert "raised unexpected" not in log
        maintain(cache)
        totals = cache.engine.open_index().entries.totals()
        assert (totals.count, totals.reserved, totals.unindexed) == (COUNT, 0, 0)
        assert cache.engine.open_index().claims.all() == {}
        # Without its primary, the shard has no replica left.
        [warning] = [one.message for one in examine(cache) if (one.name, one.state) == ("cluster", "warning")]
        assert "no replica" in warning
        cache.close()


def test_what_cannot_be_in_a_cluster_is_said(cluster: RedisCluster) -> None:
    with pytest.raises(ConfigError) as caught:
        MediaCacheConfig(broker_url=cluster.url)
    assert "Celery cannot keep its queue in a Redis Cluster: name a Redis without cluster mode" in str(
        caught.value
    )
    assert "secret" not in str(caught.value)

    with pytest.raises(ConfigError) as caught:
        broker_url(MediaCacheConfig(redis_url=cluster.url), "")
    assert str(caught.value) == (
        "the index is in a Redis Cluster, where Celery cannot keep its queue: name a Redis without "
        "cluster mode, or one behind Sentinels, in FIFTYONE_MEDIA_CACHE_BROKER_URL, or use --dispatch local"
    )

    port = next(node.port for node in cluster.nodes if node is not cluster.primary_of("key"))
    with pytest.raises(IndexUnavailableError) as missing:
        Connection(f"redis://:server-secret@127.0.0.1:{port}/0").command("get", "key")
    assert "write FIFTYONE_MEDIA_CACHE_REDIS_URL as redis+cluster://host1:6379,host2:6379" in str(
        missing.value
    )
    with pytest.raises(IndexUnavailableError) as missing:
        Connection("redis+cluster://127.0.0.1:1", patience=0.0).ping()
    assert str(missing.value) == (
        "Redis at redis+cluster://127.0.0.1:1 cannot be reached (none of the cluster's nodes answers; "
        "Error 111 connecting to 127.0.0.1:1. Connection refused): start it, or check "
        "FIFTYONE_MEDIA_CACHE_REDIS_URL"
    )


def test_doctor_tells_the_topology(cluster: RedisCluster, make: Make, valkey: Valkey) -> None:
    found = list(examine(make(cluster.url, broker_url=valkey.url)))

    told = {(one.name, one.state): one.message for one in found}
    key = "forebay:{default}:"
    slot, place = key_slot(key.encode()), f"127.0.0.1:{cluster.primary_of(key).port}"
    assert told["cluster", "ok"] == (
        f"3 primaries, 0 replicas, 16,384 of 16,384 slots served; the volume's slot {slot} is at {place}"
    )
    assert told["cluster", "warning"] == (
        f"no replica follows the node that has the volume's slot (at {place}), so that none can take "
        "its place: add one"
    )
    assert told["broker", "ok"].startswith(f"{valkey.url}, 0 messages")
    assert "secret" not in str(found)
    [broker] = [one for one in examine(make(cluster.url)) if one.name == "broker"]
    assert (broker.state, broker.message[:36]) == ("wrong", "the index is in a Redis Cluster, whe")
