"""Copies that are older than their maximum age are compared with their sources when next asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.index import Entry
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers import Fault
from tests.servers.embedded import eventually
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

DAY = 86400


def value(cache: MediaCache, uri: str) -> Entry:
    [found] = cache.engine.open_index().entries.values([entry_of(uri)])
    assert found is not None
    return found


def grow_old(cache: MediaCache, uris: list[str], seconds: int = 8 * DAY) -> None:
    """As if copies had been fetched some time ago."""
    index = cache.engine.open_index()
    for uri in uris:
        old = value(cache, uri)
        aged = Entry(old.size, old.etag, old.fetched - seconds, old.uri).format()
        index.connection.command("hset", index.keys.entries, entry_of(uri), aged)


def asked(proxy: Proxy) -> dict[str, int]:
    """How often each object was asked for, in any way; then forgets it."""
    found: dict[str, int] = {}
    for request in proxy.requests:
        name = os.path.basename(request.path)
        found[name] = found.get(name, 0) + 1
    proxy.reset()
    return found


class TestAJob:
    @pytest.fixture
    def uris(self, s3_server: S3Server, s3_bucket: str) -> list[str]:
        return [s3_server.put(s3_bucket, f"{number}.bin", b"a" * 1000) for number in range(6)]

    @pytest.fixture
    def cache(self, make_cache: MakeCache, proxied: Proxy) -> MediaCache:
        return make_cache(max_age="7d")

    def test_asks_once_for_what_is_old_and_not_for_what_is_fresh(
        self, cache: MediaCache, uris: list[str], proxied: Proxy
    ) -> None:
        cache.download_media(uris)
        grow_old(cache, uris[:3])
        proxied.reset()

        status = cache.download_media(uris).status()

        # then each old one was asked for once, and none came again
        assert (status.cached, status.downloaded, status.failed) == (6, 0, 0)
        assert asked(proxied) == {"0.bin": 1, "1.bin": 1, "2.bin": 1}
        # and the next is a maximum age later
        cache.download_media(uris)
        assert asked(proxied) == {}
        assert value(cache, uris[0]).fetched >= value(cache, uris[5]).fetched
        assert cache.engine.open_index().claims.all() == {}

    def test_downloads_again_what_has_changed(
        self, cache: MediaCache, uris: list[str], s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache.download_media(uris)
        grow_old(cache, uris[:2])
        for number in (0, 1, 5):
            s3_server.put(s3_bucket, f"{number}.bin", b"b" * 1100)

        status = cache.download_media(uris).status()

        # then what is fresh is not
        assert (status.cached, status.downloaded, status.bytes) == (4, 2, 2200)
        sizes = [os.path.getsize(path) for path in cache.get_local_paths(uris)]
        assert sizes == [1100, 1100, 1000, 1000, 1000, 1000]

    def test_hands_out_the_copy_where_the_source_cannot_be_reached(
        self,
        make_cache: MakeCache,
        uris: list[str],
        s3_bucket: str,
        proxied: Proxy,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        cache = make_cache(max_age="7d", max_attempts=1)
        cache.download_media(uris)
        grow_old(cache, uris)
        before = value(cache, uris[0])
        for number in range(6):
            proxied.fault(f"/{s3_bucket}/{number}.bin", Fault(status=503), times=9, method=None)

        status = cache.download_media(uris).status()

        assert (status.cached, status.failed) == (6, 0)
        told = [r.getMessage() for r in caplog.records if "are handed out without a check" in r.getMessage()]
        assert len(told) == 1
        assert f"its copy, and others of s3://{s3_bucket}/, are handed out" in told[0]
        # and the next one who asks for them has them checked
        assert value(cache, uris[0]) == before
        proxied.reset()
        cache.download_media(uris)
        assert asked(proxied) == {f"{number}.bin": 1 for number in range(6)}

    def test_fails_for_what_is_gone_and_keeps_its_copy(
        self, cache: MediaCache, uris: list[str], s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache.download_media(uris)
        grow_old(cache, uris[:1])
        s3_server.client.delete_object(Bucket=s3_bucket, Key="0.bin")

        job = cache.download_media(uris)

        assert [failure.uri for failure in job.failures()] == uris[:1]
        assert Path(cache.engine.path_of(uris[0])).read_bytes() == b"a" * 1000

    def test_is_told_a_prefix_of_its_own(
        self, make_cache: MakeCache, uris: list[str], s3_bucket: str, proxied: Proxy
    ) -> None:
        cache = make_cache(
            max_age="7d", max_ages={f"s3://{s3_bucket}/": "30d", f"s3://{s3_bucket}/3.bin": "1d"}
        )
        cache.download_media(uris)
        grow_old(cache, uris)
        proxied.reset()
        cache.download_media(uris)
        assert asked(proxied) == {"3.bin": 1}

    def test_of_the_command_line_takes_an_age(
        self, make_cache: MakeCache, uris: list[str], proxied: Proxy, forebay: Forebay
    ) -> None:
        cache = make_cache()
        cache.download_media(uris)
        grow_old(cache, uris[:2])
        proxied.reset()
        assert forebay("prefetch", *uris, "--json").json["cached"] == 6
        assert asked(proxied) == {}
        assert forebay("prefetch", *uris, "--max-age", "9d", "--json").json["cached"] == 6
        assert asked(proxied) == {}
        assert forebay("prefetch", *uris, "--max-age", "7d", "--json").json["cached"] == 6
        assert asked(proxied) == {"0.bin": 1, "1.bin": 1}


class TestAPath:
    @pytest.fixture
    def uri(self, s3_server: S3Server, s3_bucket: str) -> str:
        return s3_server.put(s3_bucket, "a.bin", b"a" * 1000)

    def old(self, make_cache: MakeCache, uri: str, **settings: Any) -> MediaCache:
        cache = make_cache(max_age="7d", **settings)
        cache.local_path(uri)
        grow_old(cache, [uri])
        cache.close()
        return make_cache(max_age="7d", **settings)

    def test_is_handed_out_at_once_and_the_next_is_that_of_the_new_object(
        self, make_cache: MakeCache, uri: str, s3_server: S3Server, s3_bucket: str, proxied: Proxy
    ) -> None:
        # given an old copy of an object that has changed, and a server that does not answer at first
        cache = self.old(make_cache, uri)
        s3_server.put(s3_bucket, "a.bin", b"b" * 1100)
        proxied.fault(f"/{s3_bucket}/a.bin", Fault(status=503), times=2, method=None)

        with open(cache.local_path(uri), "rb") as file:
            eventually(lambda: os.path.getsize(cache.local_path(uri)) == 1100, 20)
            # and who has the old file open reads the old bytes
            assert file.read() == b"a" * 1000
        assert Path(cache.local_path(uri)).read_bytes() == b"b" * 1100

    def test_is_checked_once(self, make_cache: MakeCache, uri: str, proxied: Proxy) -> None:
        cache = self.old(make_cache, uri)
        before = value(cache, uri).fetched
        proxied.reset()
        for _ in range(100):
            cache.local_path(uri)
        eventually(lambda: value(cache, uri).fetched > before, 20)
        for _ in range(100):
            cache.local_path(uri)
        assert asked(proxied) == {"a.bin": 1}

    def test_asks_nothing_where_it_is_fresh_or_no_age_is_set(
        self, make_cache: MakeCache, uri: str, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        other = s3_server.put(s3_bucket, "b.bin", b"b")
        cache = make_cache()
        cache.download_media([uri, other])
        grow_old(cache, [uri])
        grow_old(cache, [other], 10 * DAY)
        before = value(cache, other).fetched
        proxied.reset()
        # given hits without a maximum age, and then with one that only one of the two has passed
        for one in (cache, make_cache(max_age="9d")):
            one.local_path(uri)
            one.local_path(other)
        assert cache.engine.hit_checks is None
        eventually(lambda: value(cache, other).fetched > before, 20)
        assert asked(proxied) == {"b.bin": 1}
