"""A job of a higher priority goes first: in the queue, in a worker that is busy, and in one process."""

from __future__ import annotations

import os

import pytest

from forebay.errors import ConfigError
from forebay.jobs import fleet
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

SIZE = 30_000


def put(server: HTTPServer, name: str, number: int, size: int = SIZE) -> list[str]:
    return [server.put(f"/{name}/{one}.bin", os.urandom(size)) for one in range(number)]


def asked(server: HTTPServer) -> list[str]:
    """The jobs for which the server was asked, in the order of the requests."""
    return [request.target.split("/")[1] for request in server.requests]


def test_the_queue_gives_the_higher_priority_first(
    make_cache: MakeCache, valkey: Valkey, http_server: HTTPServer
) -> None:
    # given a worker that is busy, as its bandwidth is short
    settings = {"dispatch": "fleet", "allowed_sources": [http_server.endpoint + "/"], "num_workers": 1}
    jobs = []
    with worker(make_cache(bwlimit="100KB", **settings)):
        caches = {name: make_cache(priority=name, **settings) for name in ("low", "normal", "high")}
        jobs.append(caches["low"].download_media(put(http_server, "first", 1, 3 * SIZE), wait=False))
        eventually(lambda: http_server.requests)
        for name, cache in caches.items():
            jobs.append(cache.download_media(put(http_server, name, 2), wait=False))

        # then the queue counts all lists, and knows the oldest message of them
        dispatcher = caches["low"].engine.open_dispatcher()
        assert dispatcher.queue_length() == 6
        assert fleet.queue_age(dispatcher.open_app(), caches["low"].config) is not None

        assert [job.wait().downloaded for job in jobs] == [1, 2, 2, 2]
    assert asked(http_server) == ["first", *["high"] * 2, *["normal"] * 2, *["low"] * 2]


def test_a_busy_worker_gives_way(make_cache: MakeCache, http_server: HTTPServer) -> None:
    # given a worker all of whose threads are busy with a message of many samples
    settings = {"dispatch": "fleet", "allowed_sources": [http_server.endpoint + "/"], "num_workers": 1}
    with worker(make_cache(bwlimit="100KB", **settings)):
        bulk, urgent = make_cache(priority="low", **settings), make_cache(priority="high", **settings)
        low = bulk.download_media(put(http_server, "low", 400, 10_000), message_size=400, wait=False)
        eventually(lambda: low.status().downloaded)

        # when a job of a higher priority comes
        high = urgent.download_media(put(http_server, "high", 3), wait=False)

        # then it is done long before the other, which goes on
        assert high.wait().downloaded == 3
        assert low.status().pending > 200
        before = low.status().downloaded
        eventually(lambda: low.status().downloaded > before)
        # and giving way was no failed attempt
        assert [one.begun for one in bulk.engine.open_index().jobs.summaries(low.id, [0])] == [1]
        low.cancel()


def test_jobs_and_local_path_in_one_process(make_cache: MakeCache, http_server: HTTPServer) -> None:
    # given a process that downloads more than its bandwidth allows
    settings = {"allowed_sources": [http_server.endpoint + "/"], "local_processes": 1}
    cache = make_cache(bwlimit="200KB", priority="low", **settings)
    low = cache.download_media(put(http_server, "low", 200), wait=False)
    eventually(lambda: low.status().downloaded)

    # when it needs something now
    needed = http_server.put("/needed.bin", os.urandom(SIZE))

    assert os.path.getsize(cache.local_path(needed)) == SIZE
    assert low.status().pending > 100
    low.cancel()


def test_a_purge_and_a_cancelled_job(make_cache: MakeCache, valkey: Valkey, http_server: HTTPServer) -> None:
    settings = {"dispatch": "fleet", "allowed_sources": [http_server.endpoint + "/"], "num_workers": 1}
    with worker(make_cache(**settings)) as running:
        caches = [make_cache(priority=name, **settings) for name in ("high", "low")]
        running.kill()
        jobs = [cache.download_media(put(http_server, "a", 2), wait=False) for cache in caches]
        dispatcher = caches[0].engine.open_dispatcher()
        assert dispatcher.queue_length() == 4

        fleet.purge(dispatcher.open_app(), caches[0].config)

        assert dispatcher.queue_length() == 0
    # and what was lost is sent again to the list that it was in
    dispatcher.enqueue(jobs[1].id)
    lists = [valkey_list for valkey_list in broker_lists(valkey) if "forebay.default" in valkey_list]
    assert lists == ["forebay-celery:forebay.default\x06\x166"]
    jobs[1].cancel()


def broker_lists(valkey: Valkey) -> list[str]:
    import redis

    with redis.Redis.from_url(valkey.url.replace("/0", "/1"), decode_responses=True) as client:
        return [key for key in client.scan_iter("forebay-celery:*") if client.type(key) == "list"]


def test_the_option(forebay: Forebay, make_cache: MakeCache, http_server: HTTPServer) -> None:
    cache = make_cache()
    uri = http_server.put("/a.bin", b"body")
    done = forebay(
        "prefetch", uri, "--priority", "high", "--json", allowed_sources=f'["{http_server.endpoint}/"]'
    )

    assert done.status == 0
    assert cache.engine.open_index().jobs.read(done.json["id"])["priority"] == "high"


def test_a_priority_that_is_none(make_cache: MakeCache) -> None:
    with pytest.raises(ConfigError, match="priority='urgent' is not allowed"):
        make_cache(priority="urgent")
