"""So much of the volume for a label: its own entries go first, and the others' stay."""

from __future__ import annotations

import os

import pytest

from forebay.cache import MediaCache
from forebay.index import Index
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

SIZE = 10_000


def put(server: HTTPServer, name: str, number: int) -> list[str]:
    return [server.put(f"/{name}/{one}.bin", os.urandom(SIZE)) for one in range(number)]


def is_cached(cache: MediaCache, uri: str) -> bool:
    return os.path.exists(cache.get_local_paths([uri], download=False)[0])


def counted(cache: MediaCache, label: str) -> int:
    """What counts on a label, and that this is what its entries have."""
    index = cache.engine.open_index()
    used, owners = index.quotas.used(label), index.connection.command("hgetall", index.keys.owners)
    assert used == sum(int(one.split("|")[0]) for one in owners.values() if one.endswith(f"|{label}"))
    known = index.entries.values([*owners]) if owners else []
    assert all(entry is not None for entry in known)
    return used


@pytest.fixture
def settings(http_server: HTTPServer) -> dict[str, object]:
    return {"allowed_sources": [http_server.endpoint + "/"], "local_processes": 1}


def test_a_label_evicts_its_own_least_recently_used(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    # given entries of no label, which are older, and of another label
    others, b = make_cache(**settings), make_cache(quota="team-b=1MB", **settings)
    old, of_b = put(http_server, "old", 5), put(http_server, "b", 5)
    others.download_media(old)
    b.download_media(of_b)

    # when a label downloads more than its quota
    a = make_cache(quota=f"team-a={10 * SIZE}", **settings)
    first, second = put(http_server, "first", 8), put(http_server, "second", 6)
    a.download_media(first)
    assert counted(a, "team-a") == 8 * SIZE
    # and reads one of the first meanwhile
    a.local_path(first[0])
    done = a.download_media(second)

    # then its own oldest are gone, and nothing else
    assert (done.downloaded, done.failed) == (6, 0)
    assert counted(a, "team-a") <= 10 * SIZE
    assert all(is_cached(others, uri) for uri in [*old, *of_b, *second, first[0]])
    assert sum(is_cached(others, uri) for uri in first) <= 4
    assert counted(a, "team-b") == 5 * SIZE


def test_what_counts_on_one_label_stays_there_when_another_downloads_it_again(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    a, b = make_cache(quota="team-a=1MB", **settings), make_cache(quota="team-b=1MB", **settings)
    uris = put(http_server, "shared", 3)
    a.download_media(uris)
    for number, uri in enumerate(uris):
        assert http_server.put(f"/shared/{number}.bin", os.urandom(SIZE)) == uri

    assert b.download_media(uris, update=True).downloaded == 3

    assert (counted(a, "team-a"), counted(b, "team-b")) == (3 * SIZE, 0)


def test_a_sample_fails_where_none_of_its_own_may_go(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    cache = make_cache(quota=f"team-a={10 * SIZE}", **settings)
    kept = put(http_server, "kept", 10)
    cache.download_media(kept, lease="1h")

    done = cache.download_media(more := put(http_server, "more", 2))

    assert (done.downloaded, done.failed) == (0, 2)
    assert (
        "the quota team-a=97.7KB is used up: 117.2KB count on the label 'team-a'" in done.failures()[0].reason
    )
    assert "end a lease of that label, or raise its quota" in done.failures()[0].reason
    assert all(is_cached(cache, uri) for uri in kept)
    assert not any(is_cached(cache, uri) for uri in more)
    assert counted(cache, "team-a") == 10 * SIZE
    # what no job asks for has no label
    assert os.path.getsize(cache.local_path(more[0])) == SIZE


def test_a_job_that_is_larger_than_its_quota_with_a_lease(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    cache = make_cache(quota=f"team-a={10 * SIZE}", **settings)

    done = cache.download_media(put(http_server, "a", 15), lease="1h")

    assert (done.downloaded, done.failed) == (10, 5)
    assert counted(cache, "team-a") == 10 * SIZE


def test_what_is_removed_no_longer_counts(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    cache = make_cache(quota="team-a=1MB", **settings)
    uris = put(http_server, "a", 6)
    cache.download_media(uris)

    # cleared, found missing, and evicted for others
    cache.clear(uris[:2])
    assert counted(cache, "team-a") == 4 * SIZE
    path = cache.local_path(uris[2])
    os.unlink(path)
    assert cache.local_path(uris[2]) == path
    assert counted(cache, "team-a") == 3 * SIZE
    cache.engine.open_evictor().evict_to(0)
    assert counted(cache, "team-a") == 0


def test_through_the_fleet(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    cache = make_cache(dispatch="fleet", num_workers=2, quota=f"team-a={10 * SIZE}", **settings)
    with worker(make_cache(num_workers=2, **settings)):
        done = cache.download_media(put(http_server, "a", 30))

        assert (done.downloaded, done.failed) == (30, 0)
        assert counted(cache, "team-a") <= 10 * SIZE


def test_an_emptied_redis_forgets_labels_and_keeps_files(
    make_cache: MakeCache, http_server: HTTPServer, valkey: Valkey, settings: dict[str, object]
) -> None:
    cache = make_cache(quota="team-a=1MB", **settings)
    uris = put(http_server, "a", 4)
    cache.download_media(uris)
    cache.close()
    valkey.client.flushall()

    again = make_cache(quota="team-a=1MB", **settings)
    done = again.download_media([*uris, *put(http_server, "b", 1)])

    assert (done.downloaded, done.cached) == (1, 4)
    assert counted(again, "team-a") == SIZE


def test_the_option(forebay: Forebay, cache: MediaCache, http_server: HTTPServer) -> None:
    uri, allowed = http_server.put("/a.bin", b"body"), f'["{http_server.endpoint}/"]'

    done = forebay("prefetch", uri, "--quota", "team-a=1GB", allowed_sources=allowed)

    assert done.status == 0
    assert counted(cache, "team-a") == 4


def test_without_quotas_there_is_no_trace(
    make_cache: MakeCache, http_server: HTTPServer, settings: dict[str, object]
) -> None:
    cache = make_cache(**settings)
    cache.download_media(put(http_server, "a", 3))
    index: Index = cache.engine.open_index()

    assert not index.connection.command("exists", index.keys.owners, index.keys.quotas)
