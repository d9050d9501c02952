"""An update whose new version does not fit into the cache beside the old one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.config.freshness import ALWAYS
from forebay.errors import IndexUnavailableError
from forebay.uri import entry_of
from forebay.volume import removal
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault

MB = 1 << 20
LIMIT = 10 * MB


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> Any:
    """Makes caches that may fetch from the web server."""

    def make(**settings: Any) -> MediaCache:
        defaults = {"cache_size_bytes": LIMIT, "allowed_sources": [http_server.endpoint + "/"]}
        return make_cache(**(defaults | settings))

    return make


# As a whole, and in ranges.
ways = pytest.mark.parametrize("range_size", [64 * MB, MB], ids=["whole", "in ranges"])


def content(cache: MediaCache, uri: str) -> bytes | None:
    path = cache.engine.files.locate(entry_of(uri))
    return None if path is None else Path(path).read_bytes()


@ways
def test_the_old_version_goes_first(web: Any, http_server: HTTPServer, range_size: int) -> None:
    cache = web(range_size_bytes=range_size)
    uri = http_server.put("/a.bin", b"a" * (6 * MB))
    cache.local_path(uri)
    http_server.put("/a.bin", b"b" * (7 * MB))

    status = cache.download_media([uri], update=True).status()

    assert (status.downloaded, status.failed) == (1, 0)
    assert content(cache, uri) == b"b" * (7 * MB)
    assert cache.stats()["current_size"] == 7 * MB


@ways
def test_a_lease_keeps_it_and_the_update_fails(web: Any, http_server: HTTPServer, range_size: int) -> None:
    # given a leased object, whose new version fits into the cache, but not beside it
    cache = web(range_size_bytes=range_size)
    uri = http_server.put("/a.bin", b"a" * (6 * MB))
    cache.local_path(uri)
    http_server.put("/a.bin", b"b" * (7 * MB))

    # when it is updated
    with cache.lease([uri], ttl=60, name="training"):
        job = cache.download_media([uri], update=True)

        # then the sample fails, with what to do, and the old version is there
        assert job.status().failed == 1
        assert job.failures()[0].reason == (
            "no room for its new version of 7.0MB beside the cached one of 6.0MB, which a lease keeps, in a "
            "cache of 10.0MB; end the lease, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
        )
        assert content(cache, uri) == b"a" * (6 * MB)
        assert cache.engine.open_index().claims.all() == {}
    assert cache.download_media([uri], update=True).status().downloaded == 1


def test_a_leased_version_that_fits_beside_stays_until_its_successor_has_come(
    web: Any, http_server: HTTPServer
) -> None:
    # given a leased object of which a new version cannot be fetched to its end
    with http_server.proxied() as proxy:
        cache = web(max_attempts=2, allowed_sources=[proxy.endpoint + "/"])
        http_server.put("/a.bin", b"a" * (3 * MB))
        uri = proxy.endpoint + "/a.bin"
        cache.local_path(uri)
        http_server.put("/a.bin", b"b" * (4 * MB))
        proxy.fault("/a.bin", Fault(truncate_after=1000))

        with cache.lease([uri], ttl=60):
            assert cache.download_media([uri], update=True).status().failed == 1

            assert content(cache, uri) == b"a" * (3 * MB)
    assert cache.stats()["current_size"] == 3 * MB


def test_a_version_that_was_just_handed_out_is_spared_for_its_grace_period(
    web: Any, http_server: HTTPServer
) -> None:
    cache = web(grace_seconds=600)
    uri = http_server.put("/a.bin", b"a" * (6 * MB))
    path = Path(cache.local_path(uri))
    http_server.put("/a.bin", b"b" * (7 * MB))

    job = cache.download_media([uri], update=True, wait=False)
    eventually(lambda: len(http_server.requests) == 2)
    job.cancel()
    job.wait()

    assert path.read_bytes() == b"a" * (6 * MB)


def test_a_lease_that_comes_while_it_leaves_waits(
    web: Any, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an update that has just found that no lease keeps the old version
    cache, other = web(), web()
    uri = http_server.put("/a.bin", b"a" * (6 * MB))
    cache.local_path(uri)
    http_server.put("/a.bin", b"b" * (7 * MB))
    asked, go_on = threading.Event(), threading.Event()
    run = removal.Removal.run

    def waiting(*arguments: Any, **keywords: Any) -> Any:
        asked.set()
        assert go_on.wait(30)
        return run(*arguments, **keywords)

    monkeypatch.setattr(removal.Removal, "run", waiting)
    update = threading.Thread(target=cache.download_media, args=([uri],), kwargs={"update": True})
    update.start()
    assert asked.wait(30)

    # when it is leased, then the lease either has it, or it is missing already
    lease = other.lease([uri], ttl=60)
    there = content(other, uri)
    go_on.set()
    update.join(60)

    assert not update.is_alive()
    assert there is None or content(other, uri) is not None
    lease.end()


@pytest.mark.parametrize("is_lost", ["the request", "the answer"])
def test_a_version_whose_commit_is_not_known_to_have_succeeded_stays(
    web: Any, http_server: HTTPServer, is_lost: str
) -> None:
    # given a leased object whose new version is in its place, and then Redis does not answer for long
    cache = web(claim_ttl_seconds=4)
    uri = http_server.put("/a.bin", b"a" * (3 * MB))
    cache.local_path(uri)
    http_server.put("/a.bin", b"b" * (4 * MB))
    claims = cache.engine.open_index().claims
    commit, tries = claims.commit, []

    def failing(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) > 2:
            return commit(*arguments)
        if is_lost == "the answer":
            commit(*arguments)
        raise IndexUnavailableError("gone")

    claims.commit = failing  # type: ignore[method-assign]
    with cache.lease([uri], ttl=60):
        with pytest.raises(IndexUnavailableError):
            cache.engine.open_fetcher().fetch([(0, uri)], lambda _: None, fresh=ALWAYS)
        assert content(cache, uri) == b"b" * (4 * MB)

        # then it stays, and is counted, once its process reaches Redis again
        eventually(lambda: not cache.engine.open_index().claims.all())

        assert content(cache, uri) == b"b" * (4 * MB)
        totals = cache.engine.open_index().entries.totals()
        assert (totals.published, totals.leased, totals.count) == (4 * MB, 4 * MB, 1)
        eventually(lambda: cache.engine.open_index().entries.totals().reserved == 0)
