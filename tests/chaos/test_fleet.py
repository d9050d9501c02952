"""A job comes to its end whatever happens to its workers, its queue and Redis."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import NoWorkersError
from forebay.index import workers
from forebay.jobs import monitor
from forebay.jobs.celery_app import queue_name
from tests.caches import MakeCache, maintain
from tests.servers.embedded import eventually
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    return s3_server.put_many(s3_bucket, {f"{n:04}.bin": f"{n}".encode() * 2000 for n in range(400)})


@pytest.fixture
def slow(s3_proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """S3 through a proxy that lets each object wait for a moment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    for n in range(400):
        s3_proxy.fault(f"/{s3_bucket}/{n:04}.bin", Fault(delay=0.02))
    return s3_proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A job is looked after when nothing has happened for a second."""
    monkeypatch.setattr(monitor, "STALL_SECONDS", 1.0)
    return


def all_there(cache: MediaCache, uris: list[str]) -> bool:
    return all(
        Path(p).read_bytes() == f"{n}".encode() * 2000 for n, p in enumerate(cache.get_local_paths(uris))
    )


@pytest.mark.usefixtures("impatient", "slow")
def test_a_worker_is_killed_and_another_one_goes_on(make_cache: MakeCache, uris: list[str]) -> None:
    cache = make_cache(dispatch="fleet", num_workers=2)
    with worker(cache, name="first") as first, worker(cache, name="second"):
        job = cache.download_media(uris, wait=False)
        eventually(lambda: job.status().downloaded > 50)

        first.kill()

        status = job.wait(90).status()
    assert (status.downloaded + status.cached, status.failed) == (400, 0)
    assert all_there(cache, uris)
    maintain(cache)
    assert cache.engine.open_index().claims.all() == {}


@pytest.mark.usefixtures("impatient", "slow")
def test_redis_is_killed_and_comes_back(make_cache: MakeCache, valkey: Valkey, uris: list[str]) -> None:
    cache = make_cache(dispatch="fleet", num_workers=2)
    with worker(cache) as process:
        job = cache.download_media(uris, wait=False)
        eventually(lambda: job.status().downloaded > 50)

        valkey.restart()

        status = job.wait(90).status()
        log = process.log.read_text()
    assert "Connection to broker lost" in log
    assert "DeprecationWarning" not in log
    assert (status.downloaded + status.cached, status.failed) == (400, 0)
    assert all_there(cache, uris)


@pytest.mark.usefixtures("impatient", "slow")
def test_messages_are_lost(make_cache: MakeCache, uris: list[str]) -> None:
    cache = make_cache(dispatch="fleet", num_workers=2)
    with worker(cache):
        job = cache.download_media(uris, wait=False, message_size=10)
        eventually(lambda: job.status().downloaded > 20)

        with cache.engine.open_dispatcher().open_app().connection_for_write() as connection:
            connection.default_channel.queue_purge(queue_name(cache.config))

        status = job.wait(90).status()
    assert (status.downloaded + status.cached, status.failed) == (400, 0)


@pytest.mark.usefixtures("impatient", "slow")
def test_the_whole_fleet_is_gone_and_whoever_waits_goes_on_with_it(
    make_cache: MakeCache, uris: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ALIVE_SECONDS", 6.0)
    cache = make_cache(dispatch="auto", num_workers=2)
    with worker(cache) as only:
        job = cache.download_media(uris, wait=False)
        assert job.status().dispatch == "fleet"
        eventually(lambda: job.status().downloaded > 20)
        only.kill()

        status = job.wait(90).status()
    assert status.dispatch == "local"
    assert (status.downloaded + status.cached, status.failed) == (400, 0)


@pytest.mark.usefixtures("slow")
def test_a_worker_that_is_told_to_end_gives_back_what_it_has_not_done(
    make_cache: MakeCache, uris: list[str]
) -> None:
    cache = make_cache(dispatch="fleet", num_workers=2)
    with worker(cache, name="first") as first:
        job = cache.download_media(uris, wait=False, message_size=100)
        eventually(lambda: job.status().downloaded > 50)
        first.terminate()
        eventually(lambda: not any(w.name == "first@test" for w in cache.engine.open_index().workers.all()))
    assert job.status().state == "running"

    # Nothing has to be noticed as lost: another worker finds it in the queue.
    with worker(cache, name="second"):
        status = job.wait(90).status()
    assert (status.downloaded + status.cached, status.failed) == (400, 0)


def test_the_fleet_is_asked_for_and_is_not_there(make_cache: MakeCache, uris: list[str]) -> None:
    cache = make_cache(dispatch="fleet")

    with pytest.raises(NoWorkersError) as caught:
        cache.download_media(uris)

    assert str(caught.value) == (
        f"no worker of volume 'default' is alive at {cache.config.redis_url}: start one with `forebay "
        "worker`, or use --dispatch local; if workers run, set FIFTYONE_MEDIA_CACHE_REDIS_URL to their Redis"
    )
    assert cache.jobs() == []


@pytest.mark.usefixtures("impatient")
def test_a_local_job_whose_process_was_killed_is_gone_on_with_by_whoever_waits(
    make_cache: MakeCache, slow: Proxy, uris: list[str]
) -> None:
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()

    def run() -> None:
        there.send(make_cache(num_workers=2).download_media(uris, wait=False).id)
        signal.pause()

    child = fork.Process(target=run)
    child.start()
    cache = make_cache()
    job = cache.job(here.recv())
    eventually(lambda: job.status().downloaded > 20)
    child.kill()
    child.join()

    status = job.wait(90).status()

    assert (status.downloaded + status.cached, status.failed) == (400, 0)
    # Nothing that had been finished was fetched again; only what was in flight may have been.
    assert slow.count("GET") <= 400 + MediaCacheConfig().max_requests


@pytest.mark.usefixtures("impatient")
def test_a_sample_that_takes_workers_down_fails_in_the_end_and_alone(
    make_cache: MakeCache, s3_proxy: Proxy, s3_bucket: str, uris: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    cache = make_cache(dispatch="fleet", num_workers=1, worker_timeout_seconds=60)
    poison = f"/{s3_bucket}/0003.bin"
    s3_proxy.fault(poison, Fault(delay=60.0))
    job = None

    # Whoever asks for that one object is killed, again and again.
    for attempt in range(1, 6):
        with worker(cache, name=f"w{attempt}") as victim:
            job = job or cache.download_media(uris[:8], wait=False, message_size=8)
            cache.engine.open_dispatcher().enqueue(job.id)
            eventually(lambda n=attempt: s3_proxy.count("GET", poison) >= n, 20)
            victim.kill()
    assert job is not None
    with worker(cache, name="last"):
        cache.engine.open_dispatcher().enqueue(job.id)
        status = job.wait(60).status()

    assert (status.downloaded + status.cached, status.failed) == (7, 1)
    [failure] = job.failures()
    assert failure.uri == uris[3]
    assert "times while they fetched it; it is not tried again" in failure.reason
