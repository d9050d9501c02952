"""Writing, copying and deleting remote objects, over every way there is to each kind of store."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import (
    AccessDeniedError,
    ObjectNotFoundError,
    SourceError,
    SourceNotAllowedError,
    TransientSourceError,
)
from forebay.remote import Remote
from forebay.sources.s3 import s3_writer
from forebay.sources.sources import Sources
from forebay.uri import MediaURI, parse
from tests.caches import MakeCache
from tests.integration.sites import SITES, Site, bytes_of, config
from tests.servers import Fault
from tests.servers.exact_s3 import ExactS3Server, exact_s3
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server

WRITABLE = ["s3", "minio", "gcs", "azure"]


@pytest.fixture(params=WRITABLE)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each way to write, in turn."""
    with SITES[request.param](request) as one:
        yield one


def write(site: Site, key: str, body: bytes) -> MediaURI:
    assert site.writer is not None
    uri = site.uri(key)
    info = site.writer.put(uri, io.BytesIO(body), len(body))
    assert (info.uri, info.size) == (uri.raw, len(body))
    return uri


class TestPut:
    @pytest.mark.parametrize("size", [0, 1, 100_000, 20_000_000])
    def test_the_bytes_arrive(self, site: Site, size: int):
        body = os.urandom(size)

        uri = write(site, "folder/object.bin", body)

        assert bytes_of(site.source, uri) == body

    def test_says_what_a_reader_is_told(self, site: Site):
        assert site.writer is not None
        uri = site.uri("a.bin")

        info = site.writer.put(uri, io.BytesIO(b"hello"), 5)

        head = site.source.head(uri)
        assert (info.etag, info.modified) == (head.etag, head.modified)

    def test_the_extension_gives_the_content_type(self, site: Site):
        jpeg, unknown = write(site, "a.jpg", b"x"), write(site, "a.whatever", b"x")

        assert site.source.head(jpeg).content_type in ("image/jpeg", None)
        with site.source.open(jpeg) as opened:
            assert opened.info.content_type == "image/jpeg"
        with site.source.open(unknown) as opened:
            assert opened.info.content_type == "application/octet-stream"

    def test_an_object_is_replaced(self, site: Site):
        write(site, "a", b"before")

        uri = write(site, "a", b"after it")

        assert bytes_of(site.source, uri) == b"after it"

    @pytest.mark.parametrize(
        "key", ["with space+plus%20.jpg", "ünï/日本.jpg", "hash#mark?.jpg", "~*(x)!.jpg"]
    )
    def test_the_key_is_the_very_one_that_was_given(self, site: Site, key: str):
        uri = write(site, key, b"hello")

        assert [info.uri for info in site.source.list(site.uri(""))] == [uri.raw]

    # SeaweedFS makes the bucket.
    @pytest.mark.parametrize("site", ["gcs", "azure"], indirect=True)
    def test_to_a_bucket_that_is_not_there(self, site: Site):
        assert site.writer is not None and site.absent_bucket is not None

        with pytest.raises(SourceError) as caught:
            site.writer.put(site.absent_bucket, io.BytesIO(b"hello"), 5)

        assert isinstance(caught.value, ObjectNotFoundError | AccessDeniedError)
        assert site.absent_bucket.bucket in str(caught.value)

    def test_a_server_that_is_too_busy_is_worth_another_attempt(self, site: Site):
        assert site.proxy is not None and site.writer is not None
        # Google's library also looks at the bucket, once and in the background.
        method = "POST" if site.name.startswith("gcs") else "PUT"
        site.proxy.fault(None, Fault.s3(503, "SlowDown"), times=1, method=method)

        with pytest.raises(TransientSourceError, match="503"):
            site.writer.put(site.uri("a"), io.BytesIO(b"hello"), 5)

        assert site.proxy.count(method) == 1, "nobody below tries again"
        assert bytes_of(site.source, write(site, "a", b"hello")) == b"hello"

    def test_a_refusal_says_that_it_was_about_writing(self, site: Site):
        assert site.proxy is not None and site.writer is not None
        site.proxy.fault(None, Fault.s3(403, "AccessDenied", "secret text"), method=None)

        with pytest.raises(AccessDeniedError, match="may write it") as caught:
            site.writer.put(site.uri("a"), io.BytesIO(b"hello"), 5)

        assert "secret text" not in str(caught.value)

    def test_a_refusal_says_that_it_was_about_deleting(self, site: Site):
        assert site.proxy is not None and site.writer is not None
        uri = write(site, "a", b"hello")
        site.proxy.fault(None, Fault.s3(403, "AccessDenied"), method="DELETE")

        with pytest.raises(AccessDeniedError) as caught:
            site.writer.delete(uri)

        assert "may delete it" in str(caught.value)


class TestCopy:
    def test_an_original_that_is_refused_is_not_said_to_need_writing(self, site: Site):
        assert site.proxy is not None and site.writer is not None
        original = site.put("a", b"hello")
        site.proxy.fault(site.path("a"), Fault.s3(403, "AccessDenied"), method="HEAD")

        with pytest.raises(AccessDeniedError) as caught:
            site.writer.copy(original, site.uri("b"))

        assert str(caught.value).startswith(f"{original}: access denied")
        assert "write" not in str(caught.value)

    @pytest.mark.parametrize("size", [0, 100_000])
    def test_the_bytes_do_not_come_by_here(self, site: Site, size: int):
        assert site.proxy is not None and site.writer is not None
        original = site.put("a.jpg", os.urandom(size))

        info = site.writer.copy(original, site.uri("b/c d+é.jpg"))

        # Azurite gets the original by its URL, which leads through the proxy.
        ours = [r for r in site.proxy.requests if not r.headers.get("user-agent", "").startswith("axios/")]
        assert sum(request.sent for request in ours) < 5_000
        assert info.size == size
        assert bytes_of(site.source, site.uri("b/c d+é.jpg")) == bytes_of(site.source, original)

    def test_of_nothing_is_an_error_that_names_it(self, site: Site):
        assert site.writer is not None

        with pytest.raises(ObjectNotFoundError, match="missing"):
            site.writer.copy(site.uri("missing"), site.uri("b"))


class TestDelete:
    def test_the_object_is_gone_and_its_siblings_are_not(self, site: Site):
        assert site.writer is not None
        for key in ("a", "a/b", "ab"):
            site.put(key, b"x")

        site.writer.delete(site.uri("a"))

        assert [info.uri for info in site.source.list(site.uri(""))] == [
            site.uri("a/b").raw,
            site.uri("ab").raw,
        ]

    def test_of_what_is_not_there_does_nothing(self, site: Site):
        assert site.writer is not None

        site.writer.delete(site.uri("missing"))


class TestListing:
    def test_stops_at_folders(self, site: Site):
        for key in ("a.jpg", "b/c.jpg", "b/d/e.jpg", "f/g.jpg"):
            site.put(key, b"x")

        def level(prefix: str) -> list[str]:
            found = site.source.list(site.uri(prefix), recursive=False)
            return sorted(info.uri.removeprefix(site.uri("").raw) for info in found)

        assert level("") == ["a.jpg", "b/", "f/"]
        assert level("b/") == ["b/c.jpg", "b/d/"]
        assert level("nothing/") == []


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExactS3Server]:
    with exact_s3() as server:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        yield server


class TestDamage:
    """A server that stores something else than what it was sent."""

    def test_other_bytes_are_noticed_by_their_checksum(self, exact: ExactS3Server):
        exact.damage = lambda body: b"J" + body[1:]

        with pytest.raises(TransientSourceError, match=r"s3://bucket/a: was written, but its MD5 is \w{32}"):
            s3_writer(config()).put(parse("s3://bucket/a"), io.BytesIO(b"hello"), 5)

    def test_missing_bytes_are_noticed_by_their_size(self, exact: ExactS3Server):
        exact.damage = lambda body: body[:-1]

        with pytest.raises(TransientSourceError, match="was written, but it has 4 bytes instead of 5"):
            s3_writer(config()).put(parse("s3://bucket/a"), io.BytesIO(b"hello"), 5)


class TestLargeObjects:
    def test_parts_that_fail_are_sent_again_by_themselves(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a server that refuses the second and third request with something to send
        body = os.urandom(40_000_000)
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            proxy.fault(f"/{s3_bucket}/large.bin", Fault.s3(503, "SlowDown"), times=2, method="PUT")

            # When three parts are written
            s3_writer(config()).put(parse(f"s3://{s3_bucket}/large.bin"), io.BytesIO(body), len(body))

            # Then two of them are sent twice
            assert proxy.count("PUT") == 5
        assert s3_server.client.get_object(Bucket=s3_bucket, Key="large.bin")["Body"].read() == body

    def test_what_cannot_be_completed_leaves_no_parts_behind(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        body = os.urandom(40_000_000)
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            proxy.fault(f"/{s3_bucket}/large.bin", Fault.s3(403, "AccessDenied"), times=1, method="PUT")

            with pytest.raises(AccessDeniedError):
                s3_writer(config()).put(parse(f"s3://{s3_bucket}/large.bin"), io.BytesIO(body), len(body))

        assert "Uploads" not in s3_server.client.list_multipart_uploads(Bucket=s3_bucket)


FORKED = """
import io, multiprocessing, sys
from forebay.config import MediaCacheConfig
from forebay.sources.sources import Sources
from forebay.uri import parse

sources = Sources(MediaCacheConfig(allowed_sources=["s3://", "gs://", "az://"]))

def write(name):
    uri = parse(f"{sys.argv[1]}/{name}")
    sources.writer_for(uri).put(uri, io.BytesIO(name.encode()), len(name))

write("parent")
child = multiprocessing.get_context("fork").Process(target=write, args=["child"])
child.start()
child.join(60)
sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_forked_child_writes_too(scheme: str, request: pytest.FixtureRequest):
    # Given a parent that has written, which forks
    kind = {"s3": "s3", "gs": "gcs", "az": "azurite"}[scheme]
    request.getfixturevalue(f"{kind}_environment")
    bucket = request.getfixturevalue(f"{kind}_{'container' if scheme == 'az' else 'bucket'}")

    # When the child writes (in an interpreter of its own)
    command = [sys.executable, "-c", FORKED, f"{scheme}://{bucket}"]
    subprocess.run(command, check=True, timeout=120)

    # Then both have
    source = Sources(MediaCacheConfig()).for_uri(parse(f"{scheme}://{bucket}/"))
    found = [info.uri.rpartition("/")[2] for info in source.list(parse(f"{scheme}://{bucket}/"))]
    assert found == ["child", "parent"]


class TestTheCacheFollows:
    @pytest.fixture
    def remote(self, cache: MediaCache, s3_environment: dict[str, str]) -> Remote:
        return Remote(cache)

    def test_what_is_overwritten_is_not_served_stale(self, cache: MediaCache, remote: Remote, s3_bucket: str):
        uri = f"s3://{s3_bucket}/a.txt"
        remote.put(uri, b"before")
        assert Path(cache.local_path(uri)).read_bytes() == b"before"

        remote.put(uri, b"after it")

        assert Path(cache.local_path(uri)).read_bytes() == b"after it"

    def test_nor_is_what_is_copied_over_or_deleted(self, cache: MediaCache, remote: Remote, s3_bucket: str):
        first, second = f"s3://{s3_bucket}/1.txt", f"s3://{s3_bucket}/2.txt"
        for uri in (first, second):
            remote.put(uri, uri.encode(), keep=True)

        remote.copy(first, second)
        assert Path(cache.local_path(second)).read_bytes() == first.encode()

        remote.delete(second)
        with pytest.raises(ObjectNotFoundError):
            cache.local_path(second)

    def test_nor_when_a_lease_keeps_it(self, cache: MediaCache, remote: Remote, s3_bucket: str):
        uri = f"s3://{s3_bucket}/a.txt"
        remote.put(uri, b"before", keep=True)

        with cache.lease([uri], ttl=60):
            remote.put(uri, b"after it")
            assert Path(cache.local_path(uri)).read_bytes() == b"after it"

    def test_nor_what_was_being_downloaded_meanwhile(
        self, s3_server: S3Server, s3_bucket: str, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a download of the old object that has begun and does not get on
        uri = s3_server.put(s3_bucket, "a.bin", b"old" * 100_000)
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            proxy.fault(f"/{s3_bucket}/a.bin", Fault(stall_after=1000), times=1)
            cache = make_cache(read_timeout_seconds=2.0, max_attempts=1)
            failures: list[Exception] = []

            def download() -> None:
                try:
                    cache.local_path(uri)
                except SourceError as error:
                    failures.append(error)

            thread = threading.Thread(target=download)
            thread.start()
            while not any(request.sent for request in proxy.requests):
                pass

            # When the object is overwritten
            Remote(cache).put(uri, b"new")
            thread.join()

            # Then the download has ended before that was done, and nothing of it is served
            assert Path(cache.local_path(uri)).read_bytes() == b"new"

    def test_what_is_kept_needs_no_download(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            uri = f"s3://{s3_bucket}/a.bin"

            Remote(cache).put(uri, b"hello", keep=True)

            assert Path(cache.local_path(uri)).read_bytes() == b"hello"
            assert proxy.count("GET") == 0
            assert cache.stats()["current_size"] == 5
            # and it is as good as a download: an update finds it current
            job = cache.download_media([uri], update=True)
            assert job.status().downloaded == 0

    def test_what_is_kept_takes_the_place_of_the_old_copy(
        self, cache: MediaCache, remote: Remote, s3_bucket: str
    ):
        uri = f"s3://{s3_bucket}/a.bin"
        remote.put(uri, b"before", keep=True)

        remote.put(uri, b"after it", keep=True)

        assert Path(cache.local_path(uri)).read_bytes() == b"after it"
        assert cache.stats()["current_size"] == 8

    def test_what_does_not_fit_is_written_all_the_same(
        self,
        make_cache: MakeCache,
        s3_environment: dict[str, str],
        s3_bucket: str,
        caplog: pytest.LogCaptureFixture,
    ):
        cache = make_cache(cache_size_bytes=1000)
        uri = f"s3://{s3_bucket}/a.bin"

        Remote(cache).put(uri, b"x" * 2000, keep=True)

        assert Remote(cache).head(uri).size == 2000
        assert f"{uri} was written, but is not in the cache" in caplog.text

    def test_a_busy_server_is_asked_again(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            remote, uri = Remote(cache), f"s3://{s3_bucket}/a.bin"
            proxy.fault(None, Fault.s3(503, "SlowDown"), times=1, method="PUT")
            proxy.fault(None, Fault.s3(503, "SlowDown"), times=1, method="DELETE")

            remote.put(uri, b"hello")
            assert remote.exists(uri)
            remote.delete(uri)

            assert not remote.exists(uri)
            assert (proxy.count("PUT"), proxy.count("DELETE")) == (2, 2)

    def test_damage_that_lasts_is_an_error(self, exact: ExactS3Server, make_cache: MakeCache):
        exact.damage = bytes.upper

        with pytest.raises(SourceError, match="was written, but its MD5 is"):
            Remote(make_cache(max_attempts=2)).put("s3://bucket/a", b"hello")

        assert len([target for target in exact.targets if "/a" in target]) >= 4, "it was tried twice"

    def test_between_stores_the_bytes_come_through_the_cache(
        self,
        cache: MediaCache,
        remote: Remote,
        s3_bucket: str,
        gcs_bucket: str,
        gcs_environment: dict[str, str],
    ):
        source, target = f"s3://{s3_bucket}/a.jpg", f"gs://{gcs_bucket}/b.jpg"
        remote.put(source, b"hello")

        remote.copy(source, target)

        assert Path(cache.local_path(target)).read_bytes() == b"hello"
        assert remote.exists(source)

    def test_to_delete_what_is_not_there_is_an_error(self, remote: Remote, s3_bucket: str):
        with pytest.raises(ObjectNotFoundError, match="missing: no such object"):
            remote.delete(f"s3://{s3_bucket}/missing")

        remote.delete(f"s3://{s3_bucket}/missing", missing_ok=True)


class TestWhatMayNotBeWritten:
    def test_urls(self, make_cache: MakeCache, http_server: HTTPServer):
        url = http_server.put("/a.jpg", b"hello")
        remote = Remote(make_cache(allowed_sources=[http_server.endpoint + "/"]))

        for change in (
            lambda: remote.put(url, b"bye"),
            lambda: remote.delete(url),
            lambda: remote.copy(url, url + "2"),
        ):
            with pytest.raises(SourceError, match=r"/a.jpg2?: http\(s\) URLs can only be read"):
                change()
        assert requests.get(url, timeout=10).content == b"hello"

    def test_what_is_not_allowed(self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str):
        uri = s3_server.put(s3_bucket, "a", b"hello")
        remote = Remote(make_cache(allowed_sources=["s3://another-bucket"]))

        for change in (
            lambda: remote.put(uri, b"bye"),
            lambda: remote.delete(uri),
            lambda: remote.copy("s3://another-bucket/a", uri),
            lambda: remote.copy(uri, "s3://another-bucket/a"),
        ):
            with pytest.raises(SourceNotAllowedError, match="not in the setting allowed_sources"):
                change()
        assert s3_server.client.get_object(Bucket=s3_bucket, Key="a")["Body"].read() == b"hello"


def test_google_is_asked_for_a_token_that_may_write_only_by_writers(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
):
    from forebay.sources import gcs_access

    scopes: list[tuple[str, ...]] = []

    def found(auth: object, path: str, wanted: tuple[str, ...]) -> tuple[None, None]:
        scopes.append(wanted)
        return None, None

    monkeypatch.setattr(gcs_access, "_from_file", found)
    settings = MediaCacheConfig(google_application_credentials="key.json")

    gcs_access.gcs_access(settings)
    gcs_access.gcs_access(settings, write=True)

    assert [scope.rpartition(".")[2] for (scope,) in scopes] == ["read_only", "read_write"]
