"""Libraries that know fsspec read through the cache: each object is fetched once, and counted."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.pool import Pool
from typing import Any

import pytest

from tests import libraries
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import valkey as running_valkey


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    """What the libraries' process asks."""
    with s3_server.proxied() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """A bucket with what they read."""
    bucket = s3_server.create_bucket()
    s3_server.put_many(bucket, libraries.objects())
    return bucket


@pytest.fixture(scope="module")
def pool(s3_server: S3Server, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A process that has the libraries."""
    directory = tmp_path_factory.mktemp("libraries")
    with running_valkey(directory / "valkey") as server:
        environment = {
            **s3_server.environment(proxy.endpoint),
            "FIFTYONE_MEDIA_CACHE_DIR": str(directory / "cache"),
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": server.url,
            "FIFTYONE_MEDIA_CACHE_DISPATCH": "local",
            "HF_HOME": str(directory / "hugging-face"),
            "HOME": str(directory),
        }
        with multiprocessing.get_context("spawn").Pool(1, _prepare, (environment,)) as pool:
            yield pool
            pool.close()
            pool.join()


@pytest.mark.parametrize("name", libraries.READS)
def test_a_library_reads_through_the_cache(name: str, pool: Pool, proxy: Proxy, bucket: str) -> None:
    # when it reads for the first time
    value, misses, hits, size = pool.apply(_read, (name, bucket))

    # then it has what was written, and the cache what was read
    assert value == libraries.READS[name][1]
    assert misses + hits > 0
    assert size > 0

    # when it reads again
    asked = len(proxy.requests)
    value, misses, hits, size_again = pool.apply(_read, (name, bucket))

    # then no object is asked for that there is: only listings, and names that a library tries
    assert value == libraries.READS[name][1]
    assert [request.path for request in proxy.requests[asked:] if _is_of_object(request, bucket)] == []
    assert hits > 0
    assert size_again == size


def _is_of_object(request: Any, bucket: str) -> bool:
    return request.status in (200, 206) and request.path.rstrip("/") != f"/{bucket}"


def _prepare(environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "FIFTYONE_"))]:
        del os.environ[name]
    os.environ.update(environment)


def _read(name: str, bucket: str) -> tuple[Any, int, int, int]:
    """Reads, in the process of the libraries: the value, new misses and hits, and the cache's size."""
    import forebay

    counted = forebay.media_cache.engine.counters
    misses, hits = counted.misses, counted.hits
    value = libraries.READS[name][0](f"forebay://s3/{bucket}")
    return value, counted.misses - misses, counted.hits - hits, forebay.stats()["current_size"]
