"""Index and queue behind Redis Sentinel: the master is killed, and nothing is lost but a moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.checks.doctor import examine
from forebay.config import MediaCacheConfig
from forebay.errors import IndexUnavailableError
from forebay.index import Index, IndexEmptiedError
from forebay.index.connection import Connection
from forebay.jobs import monitor
from forebay.jobs.celery_app import broker_url
from tests.caches import maintain
from tests.failover import all_there, cache_on, uris_of
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.sentinel import NAME, SentinelGroup, sentinel_group
from tests.servers.workers import worker

COUNT = 2000
Make = Callable[..., MediaCache]


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    """Two servers and three Sentinels, each kind with a password of its own. No test kills them."""
    directory = tmp_path_factory.mktemp("sentinels")
    with sentinel_group(directory, password="server-secret", sentinel_password="watch-secret") as group:
        yield group


@pytest.fixture
def mortals(tmp_path: Path) -> Iterator[SentinelGroup]:
    """The same without passwords: a test kills the master."""
    with sentinel_group(tmp_path / "sentinels") as group:
        yield group


@pytest.fixture
def make(tmp_path: Path, http_server: HTTPServer) -> Iterator[Make]:
    """Makes caches on one volume of some servers, as several programs would."""
    made: list[MediaCache] = []

    def make(group: SentinelGroup, **settings: Any) -> MediaCache:
        made.append(cache_on(group.url, tmp_path / "cache", http_server, **settings))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


@pytest.mark.parametrize("whole_url", [True, False])
def test_what_sentinels_and_servers_refuse_is_said_without_secrets(
    sentinels: SentinelGroup, whole_url: bool
) -> None:
    server, watch = "server-secret", "watch-secret"
    url = sentinels.url
    if not whole_url:
        hosts = ";".join(f"sentinel://:{server}@127.0.0.1:{port}" for port in sentinels.ports)
        url = f"{hosts}/0?master_name={NAME}&sentinel_password={watch}"
    variable = "FIFTYONE_MEDIA_CACHE_REDIS_URL"

    def told(url: str) -> str:
        MediaCacheConfig(redis_url=url)
        with pytest.raises(IndexUnavailableError) as caught:
            Connection(url).check()
        assert server not in str(caught.value)
        assert watch not in str(caught.value)
        return str(caught.value)

    assert Connection(url).check() == Connection(sentinels.master.url).check()
    assert "a Sentinel refuses the login (127.0.0.1:" in told(url.replace(watch, watch[1:]))
    refused = "refuses the password or user name (invalid username-password pair or user is disabled)"
    assert f"{refused}: check {variable}" in told(url.replace(server, server[1:]))
    assert (
        f"its Sentinels watch no master of that name (other; known are: {NAME}): correct it in {variable}"
    ) in told(url.replace(NAME, "other"))


def test_no_sentinel_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IndexUnavailableError) as caught:
        Connection("redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster/0", patience=0.0).ping()

    assert str(caught.value) == (
        "Redis at redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster/0 cannot be found, as none of its "
        "Sentinels answers (127.0.0.1:2: Error 111 connecting to 127.0.0.1:2. Connection refused): start "
        "them, or check the hosts and ports in FIFTYONE_MEDIA_CACHE_REDIS_URL"
    )


def test_a_failover_in_the_middle_of_a_job_loses_no_sample(
    mortals: SentinelGroup, make: Make, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "STALL_SECONDS", 1.0)
    uris = uris_of(http_server, COUNT)
    cache = make(mortals, dispatch="fleet")
    with worker(cache) as process:
        job = cache.download_media(uris, wait=False, message_size=20)
        eventually(lambda: job.status().downloaded > 100)

        old = mortals.kill_master()
        # This process writes, too, while there is no master.
        cache.lease(uris[:10], ttl=600)

        status = job.wait(120).status()
        log = process.log.read_text()
    assert mortals.master is not old
    assert (status.total, status.downloaded + status.cached, status.failed) == (COUNT, COUNT, 0)
    assert all_there(cache, uris)
    assert "secret" not in log
    assert "raised unexpected" not in log
    index = cache.engine.open_index()
    maintain(cache)
    assert index.entries.totals().count == COUNT
    assert index.entries.totals().reserved == 0
    assert index.claims.all() == {}


def test_what_the_promoted_server_has_not_heard_of_is_reconciled(
    mortals: SentinelGroup, make: Make, http_server: HTTPServer
) -> None:
    uris = uris_of(http_server, 60)
    size = sum(len(f"{n}") * 200 for n in range(60))
    cache = make(mortals, dispatch="local", cache_size_bytes=size)
    cache.get_local_paths(uris[:20])
    index = cache.engine.open_index()
    mortals.cut_replication()
    cache.get_local_paths(uris[20:40])
    [replica] = [server for server in mortals.servers if server is not mortals.master]
    lost = index.entries.totals().count - replica.client.hlen(index.keys.entries)

    old = mortals.kill_master()
    mortals.wait_for_another(old)

    cache.get_local_paths(uris[40:])
    maintain(cache)
    totals = index.entries.totals()
    assert (totals.count, totals.published, totals.reserved, totals.unindexed) == (60, size, 0, 0)
    assert lost == 20
    # Each was downloaded once, also those whose entries were lost.
    assert sum(request.method == "GET" for request in http_server.requests) == 60


def test_nothing_is_reserved_before_the_promoted_server_is_known_to_be_another(
    mortals: SentinelGroup, tmp_path: Path
) -> None:
    index = Index(Connection(mortals.url), "bare")
    run_id = index.connection.check()
    index.connection.command("hset", index.keys.meta, "run_id", run_id)
    index.sessions.begin("one", 600, run_id)
    assert index.reservations.set("one", 10, 10, 100).granted == 10
    eventually(lambda: all(server.client.exists(index.keys.reserved) for server in mortals.servers))

    mortals.kill_master()

    # It is refused by the first call that the new master answers.
    with pytest.raises(IndexEmptiedError):
        index.reservations.set("one", 20, 20, 100)


def test_the_queue_is_behind_the_same_sentinels(sentinels: SentinelGroup, make: Make) -> None:
    cache = make(sentinels)

    assert broker_url(cache.config, "") == sentinels.url.replace("/0?", "/1?")


def test_doctor_tells_the_topology(sentinels: SentinelGroup, make: Make) -> None:
    found = [one for one in examine(make(sentinels)) if one.name in ("redis", "sentinels", "broker")]

    text = json.dumps([(one.name, one.state, one.message) for one in found])
    assert [(one.name, one.state) for one in found] == [
        ("redis", "ok"),
        ("sentinels", "ok"),
        ("broker", "ok"),
    ], text
    assert found[1].message == (
        f"the master of {NAME!r} is 127.0.0.1:{sentinels.master.port}, with 1 replica; "
        "3 of 3 Sentinels answer"
    )
    assert "secret" not in text
