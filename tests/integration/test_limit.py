"""The cache never takes more than its limit, partial files included."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from forebay.errors import CacheFullError
from tests.caches import MakeCache
from tests.limits import Watcher, bytes_below
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")

MB = 1_000_000
FORK = multiprocessing.get_context("fork")


def test_four_processes_put_500_mb_through_a_cache_of_50_mb(
    make_cache: MakeCache, tmp_path: Path, s3_server: S3Server, s3_bucket: str
) -> None:
    # Given 500 MB of objects, from 10 KB to 20 MB, the large ones fetched in parallel ranges.
    sizes = [20 * MB] * 10 + [3 * MB] * 60 + [100_000] * 1100 + [10_000] * 1000
    body = os.urandom(20 * MB)
    uris = s3_server.put_many(s3_bucket, {f"{n:05}.bin": body[:size] for n, size in enumerate(sizes)})
    assert sum(sizes) == 500 * MB
    limit = 50 * MB

    def fetch(share: list[str]) -> None:
        cache = make_cache(cache_size_bytes=limit, num_workers=4, grace_seconds=0.2, range_size_bytes=4 * MB)
        status = cache.download_media(share).status()
        cache.close()
        assert (status.failed, status.downloaded) == (0, len(share))

    # When four processes fetch them all, each another quarter.
    processes = [FORK.Process(target=fetch, args=(uris[n::4],)) for n in range(4)]
    with Watcher(tmp_path / "cache") as watcher:
        for process in processes:
            process.start()
        for process in processes:
            process.join(150)

    # Then all of it came, and the directory never held more than the limit.
    assert [process.exitcode for process in processes] == [0] * 4
    assert watcher.looks > 50
    assert limit / 2 < watcher.largest <= limit
    # And what the index says is what lies there.
    cache = make_cache(cache_size_bytes=limit)
    assert cache.stats()["current_size"] == bytes_below(Path(cache.engine.files.layout().media_dir))
    assert cache.engine.open_index().entries.totals().reserved == 0


def test_the_disk_keeps_its_floor_of_free_space(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = s3_server.put_many(s3_bucket, {f"{n}.bin": b"x" * 1000 for n in range(3)})
    cache = make_cache(min_free_bytes=1 << 60, cache_size_bytes=-1)

    job = cache.download_media(uris)

    assert job.status().failed == 3
    assert job.failures()[0].reason == (
        f"no room for 1000B on {cache.config.cache_dir}: downloads leave 1024.0PB of the disk free, "
        "and nothing is left to evict; free some space, or lower FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES"
    )
    with pytest.raises(CacheFullError) as caught:
        cache.local_path(uris[0])
    assert (caught.value.needed, caught.value.limit, caught.value.held) == (1000, None, 0)


def test_no_limit_means_no_limit(make_cache: MakeCache, s3_server: S3Server, s3_bucket: str) -> None:
    uris = s3_server.put_many(s3_bucket, {f"{n}.bin": b"x" * 1000 for n in range(30)})
    cache = make_cache(cache_size_bytes=-1)

    assert cache.download_media(uris).status().downloaded == 30
    assert cache.stats()["load_factor"] == 0.0
    assert cache.stats()["cache_size_str"] == "no limit"
