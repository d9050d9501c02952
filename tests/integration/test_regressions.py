"""What a careful reader found, so that it stays found."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ConfigError, IndexUnavailableError, ObjectNotFoundError
from forebay.index import connection
from forebay.jobs.celery_app import broker_url
from forebay.uri import entry_of
from tests.caches import MakeCache, maintain
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey

MB = 1 << 20
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> Any:
    """Makes caches that may fetch from the web server."""

    def make(**settings: Any) -> MediaCache:
        return make_cache(allowed_sources=[http_server.endpoint + "/"], **settings)

    return make


def gets(server: HTTPServer) -> int:
    return sum(request.method == "GET" for request in server.requests)


def test_opening_a_missing_object_fails_at_once(web: Any, http_server: HTTPServer) -> None:
    with pytest.raises(ObjectNotFoundError):
        web().open(http_server.endpoint + "/none.jpg")


def test_a_claim_of_this_process_that_nobody_answers_for_is_given_back(
    web: Any, http_server: HTTPServer
) -> None:
    # Given a claim whose request was interrupted after Redis had executed it.
    cache = web()
    uri = http_server.put("/a.bin", b"pixels")
    session = cache.engine.open_session()
    cache.engine.open_index().claims.acquire(session.id, [(entry_of(uri), f"{session.id}.999")])

    assert Path(cache.local_path(uri)).read_bytes() == b"pixels"


def test_a_partial_file_that_vanishes_is_fetched_again(
    web: Any, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = web()
    uri = http_server.put("/a.bin", b"pixels")
    rename, lost = os.rename, []

    def losing(source: str, target: str, **options: Any) -> None:
        if not lost:
            lost.append(source)
            os.unlink(source)
        rename(source, target, **options)

    monkeypatch.setattr(os, "rename", losing)

    assert Path(cache.local_path(uri)).read_bytes() == b"pixels"


def test_a_local_job_that_lost_redis_is_gone_on_with_by_the_next_wait(
    web: Any, http_server: HTTPServer, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = web(max_requests=1)
    uris = [http_server.put(f"/{n}.bin", b"x" * 100) for n in range(200)]
    job = cache.create_job(uris)
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(connection.Connection._patiently, "__defaults__", (0.2,))
    job.start()
    eventually(lambda: gets(http_server) > 0)
    valkey.stop()
    with pytest.raises(IndexUnavailableError):
        job.wait()
    monkeypatch.undo()

    valkey.start()

    assert eventually(lambda: _ended(job)).failed == 0, job.failures()


def _ended(job: Any) -> Any:
    try:
        status = job.wait(30).status()
    except IndexUnavailableError:
        return None
    return status if status.pending == 0 else None


def test_a_large_object_without_an_etag_is_not_put_together_from_two_versions(
    web: Any, http_server: HTTPServer
) -> None:
    uri = http_server.put("/large.bin", b"A" * (4 * MB), etag=None)
    cache = web(range_size_bytes=MB, range_workers=1)

    assert Path(cache.local_path(uri)).read_bytes() == b"A" * (4 * MB)

    assert gets(http_server) == 1
    assert all(request.range is None for request in http_server.requests)


def test_a_paused_evictor_leaves_alone_what_was_leased_meanwhile(web: Any, http_server: HTTPServer) -> None:
    uris = [http_server.put(f"/{n}.bin", b"x" * 1000) for n in range(9)]
    web(cache_size_bytes=10_000).download_media(uris)
    here, there = FORK.Pipe()

    def evict_slowly() -> None:
        cache = web(cache_size_bytes=10_000, claim_ttl_seconds=1)
        victims_of = cache.engine.open_index().victims
        select = victims_of.select

        def selected(*arguments: Any) -> Any:
            victims = select(*arguments)
            there.send(os.getpid())
            signal.raise_signal(signal.SIGSTOP)
            return victims

        victims_of.select = selected  # type: ignore[method-assign]
        cache.evict(0)

    evictor = FORK.Process(target=evict_slowly)
    evictor.start()
    pid = here.recv()
    cache = web(cache_size_bytes=10_000)

    # When its session has expired, and everything is leased,
    def cleaned_up() -> bool:
        cache.engine.open_maintenance().run(force=True)
        return not cache.engine.open_index().claims.all()

    eventually(cleaned_up)
    with cache.lease(uris, ttl=60):
        os.kill(pid, signal.SIGCONT)
        evictor.join(20)

        # then it removes nothing of that.
        assert all(cache.engine.files.locate(entry_of(uri)) for uri in uris)


def test_what_changed_is_updated_in_a_full_cache(web: Any, http_server: HTTPServer) -> None:
    cache = web(cache_size_bytes=10 * 1000, num_workers=1)
    uris = [http_server.put(f"/{n}.bin", b"a" * 1000) for n in range(10)]
    cache.download_media(uris)
    for n in range(10):
        http_server.put(f"/{n}.bin", b"b" * 1000)

    status = cache.download_media(uris, update=True).status()

    assert (status.downloaded, status.failed) == (10, 0)


def test_an_object_that_fills_most_of_the_cache_is_updated(web: Any, http_server: HTTPServer) -> None:
    cache = web(cache_size_bytes=10_000)
    uri = http_server.put("/a.bin", b"a" * 6000)
    cache.local_path(uri)
    http_server.put("/a.bin", b"b" * 7000)

    cache.download_media([uri], update=True)

    assert Path(cache.local_path(uri)).read_bytes() == b"b" * 7000
    assert cache.stats()["current_size"] == 7000


def test_processes_that_are_idle_hold_nothing_in_reserve(web: Any, http_server: HTTPServer) -> None:
    uri = http_server.put("/a.bin", b"x")
    cache = web(cache_size_bytes=64 * MB)

    cache.local_path(uri)

    assert cache.engine.open_index().entries.totals().reserved == 0


def test_objects_of_unknown_size_do_not_wait_for_each_other(web: Any, http_server: HTTPServer) -> None:
    uris = [http_server.put(f"/{n}.bin", os.urandom(4 * MB), sized=False) for n in range(4)]
    cache = web(cache_size_bytes=10 * MB, max_attempts=20)

    status = cache.download_media(uris).status()

    assert (status.downloaded, status.failed) == (4, 0)


def test_an_expired_lease_does_not_stand_in_the_way(web: Any, http_server: HTTPServer) -> None:
    cache = web(cache_size_bytes=10_000)
    old, new = (http_server.put(f"/{n}.bin", b"x" * 9000) for n in range(2))
    cache.local_path(old)
    cache.lease([old], ttl=60).renew(0.001)

    assert Path(cache.local_path(new)).exists()


def test_a_damaged_file_is_removed_by_the_sweep(web: Any, http_server: HTTPServer) -> None:
    cache = web()
    uri = http_server.put("/a.bin", b"x" * 5000)
    os.truncate(cache.local_path(uri), 100)

    maintain(cache)

    assert Path(cache.local_path(uri)).stat().st_size == 5000
    assert cache.stats()["current_size"] == 5000


def test_a_cache_directory_removed_by_hand_is_made_again_by_a_running_process(
    web: Any, http_server: HTTPServer
) -> None:
    import shutil

    cache = web()
    cache.local_path(http_server.put("/a.bin", b"a"))
    shutil.rmtree(cache.config.cache_dir)

    assert Path(cache.local_path(http_server.put("/b.bin", b"b"))).read_bytes() == b"b"


def test_a_job_that_cannot_be_made_leaves_no_lease(web: Any, http_server: HTTPServer) -> None:
    cache = web()
    uri = http_server.put("/a.bin", b"a")

    with pytest.raises(ConfigError):
        cache.download_media([uri], lease="24h", message_size=5000)

    assert cache.engine.open_index().leases.all() == []
    assert cache.download_media(["s3://[bucket/key.jpg", uri], lease="24h").status().downloaded == 1


def test_a_bad_uri_does_not_end_a_loop(web: Any, http_server: HTTPServer) -> None:
    cache = web()
    uris = [http_server.put("/a.bin", b"a"), "ftp://host/x", http_server.put("/b.bin", b"b")]

    context = cache.download_context(uris)

    assert [Path(path).name for path in context] == ["a.bin", "x", "b.bin"]
    assert [uri for uri, _ in context.failures] == ["ftp://host/x"]


def test_two_processes_that_open_a_volume_for_the_first_time_agree(web: Any) -> None:
    caches = [web() for _ in range(8)]
    failures: list[BaseException] = []

    def open_it(cache: MediaCache) -> None:
        try:
            cache.stats()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.mark.parametrize(
    ("index", "broker"),
    [
        ("redis://h:6379/0", "redis://h:6379/1"),
        ("redis://:pw@h", "redis://:pw@h/1"),
        ("redis://h:6379?db=3", "redis://h:6379/4"),
        ("unix:///run/redis.sock?db=1", "redis+socket:///run/redis.sock?virtual_host=2"),
        ("unix://:pw@/run/redis.sock", "redis+socket://:pw@/run/redis.sock?virtual_host=1"),
    ],
)
def test_the_queue_lies_one_database_further(index: str, broker: str, make_cache: MakeCache) -> None:
    config = make_cache(redis_url=index).config

    assert broker_url(config, index) == broker
