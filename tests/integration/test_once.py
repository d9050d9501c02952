"""Each object is downloaded once, whoever asks; and nothing hangs after a fork."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from tests.caches import MakeCache
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")

FORK = multiprocessing.get_context("fork")


def photos(server: S3Server, bucket: str, count: int, prefix: str = "p") -> list[str]:
    return server.put_many(
        bucket, {f"{prefix}/{n:04}.bin": f"{prefix}{n}".encode() * 500 for n in range(count)}
    )


def joined(processes: list[BaseProcess], seconds: float = 60.0) -> list[int | None]:
    """The exit codes; a process that hangs is killed and gives a negative one."""
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def test_eight_processes_that_want_the_same_200_objects_download_each_once(
    make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 200)
    start = FORK.Event()

    def want_all() -> None:
        cache = make_cache(num_workers=4)
        start.wait()
        assert cache.download_media(uris).status().failed == 0
        assert all(Path(cache.local_path(uri)).stat().st_size for uri in uris)
        cache.close()

    processes: list[BaseProcess] = [FORK.Process(target=want_all) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()

    assert joined(processes) == [0] * 8
    downloads = [request for request in proxied.requests if request.method == "GET"]
    assert len(downloads) == 200
    assert len({request.path for request in downloads}) == 200


def test_threads_that_want_the_same_object_download_it_once(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)
    threads = [threading.Thread(target=cache.local_path, args=(uri,)) for _ in range(16)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert proxied.count("GET") == 1


def test_forked_children_fetch_after_their_parent_has_fetched(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str
) -> None:
    # Given a parent that has used every part of the cache.
    cache.download_media(photos(s3_server, s3_bucket, 20, "parent"))
    uris = photos(s3_server, s3_bucket, 200)

    def fetch(share: list[str]) -> None:
        for uri in share:
            assert Path(cache.local_path(uri)).stat().st_size > 0

    processes: list[BaseProcess] = [
        FORK.Process(target=fetch, args=(uris[n * 50 : n * 50 + 50],)) for n in range(4)
    ]
    for process in processes:
        process.start()

    assert joined(processes) == [0] * 4
    assert cache.stats(uris)["current_count"] == 200


class DataLoader:
    """What a PyTorch DataLoader does with ``num_workers``: forks workers that read samples by index from
    a queue of their own, and hands the batches out in order."""

    def __init__(
        self, dataset: Callable[[int], Any], length: int, *, batch_size: int, num_workers: int
    ) -> None:
        self._dataset = dataset
        self._batches = [list(range(n, min(n + batch_size, length))) for n in range(0, length, batch_size)]
        self._num_workers = num_workers

    def __iter__(self) -> Iterator[list[Any]]:
        results = FORK.Queue()
        queues = [FORK.Queue() for _ in range(self._num_workers)]
        processes = [FORK.Process(target=self._work, args=(queue, results)) for queue in queues]
        for process in processes:
            process.start()
        for number, batch in enumerate(self._batches):
            queues[number % self._num_workers].put((number, batch))
        for queue in queues:
            queue.put(None)
        arrived: dict[int, list[Any]] = {}
        for number in range(len(self._batches)):
            while number not in arrived:
                key, batch = results.get(timeout=60)
                arrived[key] = batch
            yield arrived.pop(number)
        assert joined(list(processes)) == [0] * self._num_workers

    def _work(self, queue: Any, results: Any) -> None:
        while (task := queue.get()) is not None:
            number, batch = task
            results.put((number, [self._dataset(index) for index in batch]))


def test_a_data_loader_with_forked_workers_reads_uncached_samples(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str
) -> None:
    cache.download_media(photos(s3_server, s3_bucket, 5, "parent"))
    uris = photos(s3_server, s3_bucket, 100)

    loader = DataLoader(
        lambda n: Path(cache.local_path(uris[n])).read_bytes(), len(uris), batch_size=8, num_workers=2
    )

    assert [sample for batch in loader for sample in batch] == [f"p{n}".encode() * 500 for n in range(100)]


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
def test_a_celery_worker_fetches_with_every_pool(
    pool: str, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    cache = make_cache(dispatch="fleet", num_workers=3)
    uris = photos(s3_server, s3_bucket, 50)

    with worker(cache, *(["--pool", pool] if pool != "prefork" else ["--pool", "processes"])):
        status = cache.download_media(uris, message_size=1).wait(60).status()

    assert (status.dispatch, status.downloaded, status.failed) == ("fleet", 50, 0)
    assert proxied.count("GET") == 50
