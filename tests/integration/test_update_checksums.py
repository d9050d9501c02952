"""An update compares checksums: what was written anew with the same bytes is not downloaded again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.checks.audit import audit, estimate_prefetch
from forebay.fetch.kept_copy import KeptCopy
from forebay.fetch.work import Item
from forebay.index import Entry, StoredFile
from forebay.manifests.listing import Listing
from forebay.uri import entry_of, parse
from tests.caches import MakeCache
from tests.servers import Fault
from tests.servers.azurite import AzureServer
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

MB = 1 << 20


@dataclass
class Bucket:
    """A bucket on a real server, behind a proxy.

    Attributes:
        put: writes an object and gives its URI.
        put_anew: writes an object with an etag that it has not had before, whatever its bytes are.
        path: what the proxy sees of a key.
    """

    proxy: Proxy
    put: Callable[[str, bytes], str]
    put_anew: Callable[[str, bytes], object]
    path: Callable[[str], str]

    def sent(self) -> int:
        """Bytes of objects that have come by."""
        return sum(request.sent for request in self.proxy.requests if request.method == "GET")


def in_parts(server: S3Server, bucket: str, key: str, body: bytes) -> str:
    """Writes an object as a multipart upload: its etag is no MD5."""
    started = server.client.create_multipart_upload(Bucket=bucket, Key=key)
    names = {"Bucket": bucket, "Key": key, "UploadId": started["UploadId"]}
    part = server.client.upload_part(**names, PartNumber=1, Body=body)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    server.client.complete_multipart_upload(**names, MultipartUpload=parts)
    return f"s3://{bucket}/{key}"


@pytest.fixture(params=["s3", "gcs", "azure"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    server: Any
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        name = server.create_bucket()
        # The etag of the first is that of a multipart upload, and the etag of the other is its MD5.
        put, put_anew = partial(in_parts, server, name), partial(server.put, name)
    elif request.param == "gcs":
        server = request.getfixturevalue("gcs_server")
        name = server.create_bucket()
        put = put_anew = partial(server.put, name)
    else:
        server = request.getfixturevalue("azurite_server")
        name = server.create_container()
        put = put_anew = partial(server.put, name)
    root = f"/{server.account}/{name}" if isinstance(server, AzureServer) else f"/{name}"
    with server.proxied() as proxy:
        for variable, value in server.environment(proxy.endpoint).items():
            monkeypatch.setenv(variable, value)
        yield Bucket(proxy, put, put_anew, lambda key: f"{root}/{key}")


@pytest.fixture
def cache(make_cache: MakeCache) -> MediaCache:
    return make_cache(allowed_sources=["s3://", "gs://", "az://"], range_size_bytes=MB)


def cached(cache: MediaCache, uri: str) -> Entry:
    [entry] = cache.engine.open_index().entries.values([entry_of(uri)])
    assert entry is not None
    return entry


def give_other_etag(cache: MediaCache, uri: str) -> None:
    """As if the copy were of a former generation: fake-gcs-server makes etags of the bytes alone."""
    connection, keys = cache.engine.open_index().connection, cache.engine.open_index().keys
    old = cached(cache, uri)
    value = Entry(old.size, '"of-a-former-generation"', old.fetched).format()
    connection.command("hset", keys.entries, entry_of(uri), value)


@pytest.mark.parametrize("size", [100_000, 3 * MB], ids=["whole", "in ranges"])
def test_equal_bytes_under_a_new_etag_are_not_downloaded(
    cache: MediaCache, bucket: Bucket, size: int
) -> None:
    # given a cached object that is then written anew with the same bytes
    body = os.urandom(size)
    uri = bucket.put("a.bin", body)
    path = cache.local_path(uri)
    give_other_etag(cache, uri)
    before, node = cached(cache, uri), os.stat(path).st_ino
    bucket.put_anew("a.bin", body)
    sent = bucket.sent()

    # when it is updated
    status = cache.download_media([uri], update=True).status()

    # then no byte of it came, the copy stays, and its etag is the new one
    assert (status.downloaded, status.cached, status.failed, status.bytes) == (0, 1, 0, 0)
    assert bucket.sent() == sent
    assert os.stat(cache.local_path(uri)).st_ino == node
    assert cached(cache, uri).etag != before.etag
    assert cached(cache, uri).size == size
    assert cached(cache, uri).fetched >= before.fetched
    assert cache.engine.open_index().claims.all() == {}
    totals = cache.engine.open_index().entries.totals()
    assert (totals.published, totals.reserved, totals.count) == (size, 0, 1)

    # and the next update finds the etag, without looking into the file
    with open(path, "r+b") as file:
        file.write(b"damage")
    assert cache.download_media([uri], update=True).status().cached == 1
    assert bucket.sent() == sent


@pytest.mark.parametrize("size", [100_000, 3 * MB], ids=["whole", "in ranges"])
@pytest.mark.parametrize("grown", [0, 1], ids=["of the same size", "larger"])
def test_other_bytes_are_downloaded(cache: MediaCache, bucket: Bucket, size: int, grown: int) -> None:
    uri = bucket.put("a.bin", b"a" * size)
    cache.local_path(uri)
    bucket.put_anew("a.bin", b"b" * (size + grown))
    sent = bucket.sent()

    status = cache.download_media([uri], update=True).status()

    assert (status.downloaded, status.cached, status.bytes) == (1, 0, size + grown)
    # An object in ranges is asked for as a whole first, which is then given up.
    assert bucket.sent() - sent >= size + grown
    assert Path(cache.local_path(uri)).read_bytes() == b"b" * (size + grown)
    assert cache.stats()["current_size"] == size + grown


def test_a_damaged_copy_is_downloaded_again(cache: MediaCache, bucket: Bucket) -> None:
    # given a copy that has lost its bytes, but not its size, and an object with a new etag
    uri = bucket.put("a.bin", b"a" * 1000)
    path = Path(cache.local_path(uri))
    give_other_etag(cache, uri)
    with path.open("r+b") as file:
        file.write(b"\0" * 1000)
    bucket.put_anew("a.bin", b"a" * 1000)

    assert cache.download_media([uri], update=True).status().downloaded == 1
    assert Path(cache.local_path(uri)).read_bytes() == b"a" * 1000


def test_a_copy_whose_etag_redis_has_lost_is_recognized(cache: MediaCache, bucket: Bucket) -> None:
    # given a copy of which the index knows nothing but that it is there, and not from when it is
    uri = bucket.put("a.bin", b"a" * 1000)
    path = cache.local_path(uri)
    cache.engine.open_index().connection.command("flushall")
    cache.close()
    os.utime(path, (1, 1))
    sent = bucket.sent()

    status = cache.download_media([uri], update=True).status()

    # then its bytes tell, where the source has a checksum: not of S3's multipart uploads
    multipart = bucket.proxy.requests[-1].path.startswith("/bucket-") and uri.startswith("s3:")
    assert (status.downloaded, status.cached) == ((1, 0) if multipart else (0, 1))
    assert bucket.sent() - sent == (1000 if multipart else 0)


def test_a_server_that_answers_no_head_is_asked_for_the_object(cache: MediaCache, bucket: Bucket) -> None:
    uri = bucket.put("a.bin", b"a" * 1000)
    cache.local_path(uri)
    bucket.put_anew("a.bin", b"b" * 1000)
    bucket.proxy.fault(bucket.path("a.bin"), Fault(status=403), method="HEAD")

    status = cache.download_media([uri], update=True).status()

    assert (status.downloaded, status.failed) == (1, 0)


def test_what_is_gone_fails_as_it_did(cache: MediaCache, bucket: Bucket) -> None:
    uri = bucket.put("a.bin", b"a" * 1000)
    cache.local_path(uri)
    bucket.proxy.fault(bucket.path("a.bin"), Fault(status=404), method=None)

    job = cache.download_media([uri], update=True)

    assert job.status().failed == 1
    assert Path(cache.local_path(uri)).read_bytes() == b"a" * 1000


def test_a_fleet_of_objects_is_asked_once_each(cache: MediaCache, bucket: Bucket) -> None:
    # given many objects, of which a part was written anew, some of it with other bytes
    bodies = {f"{number:03}.bin": os.urandom(2000) for number in range(60)}
    uris = [bucket.put(key, body) for key, body in bodies.items()]
    cache.download_media(uris)
    for key in list(bodies)[:20]:
        bucket.put_anew(key, bodies[key])
    for key in list(bodies)[20:30]:
        bucket.put_anew(key, os.urandom(2000))
    sent = bucket.sent()

    status = cache.download_media(uris, update=True).status()

    assert (status.downloaded, status.cached, status.failed) == (10, 50, 0)
    assert bucket.sent() - sent == 10 * 2000
    assert cache.stats()["current_size"] == 60 * 2000


def test_only_the_owner_of_the_claim_renews_what_it_has_looked_at(cache: MediaCache) -> None:
    # given an entry that this session has claimed
    index, session = cache.engine.open_index(), cache.engine.open_session()
    old, new = Entry(5, '"old"').format(), Entry(5, '"new"').format()
    index.entries.adopt([StoredFile("s3/b/a", 5, 1.0, old)])
    [(token, _)] = session.claim(["s3/b/a"], always=True)

    # then neither another's token renews it, nor another value, nor what is gone
    assert index.entries.renew([("s3/b/a", "another.1", old, new)]) == 0
    assert index.entries.renew([("s3/b/a", token, new, new)]) == 0
    assert index.entries.renew([("s3/b/gone", token, old, new)]) == 0
    assert index.entries.values(["s3/b/a"]) == [Entry(5, '"old"')]

    assert index.entries.renew([("s3/b/a", token, old, new)]) == 1
    assert index.entries.values(["s3/b/a"]) == [Entry(5, '"new"')]


def test_what_an_earlier_claim_has_found_out_is_forgotten(cache: MediaCache) -> None:
    item = Item(parse("s3://b/a"), "s3/b/a", 0, old=Entry(5, '"v2"').format(), renewed="5|v1|0")

    KeptCopy(item, cache.engine.files)

    assert item.renewed == ""


def test_a_copy_that_vanishes_between_two_attempts_is_downloaded_once(
    cache: MediaCache, bucket: Bucket
) -> None:
    # given an update whose first question gets no answer, and a copy that is removed by hand meanwhile
    uri = bucket.put("a.bin", b"a" * 1000)
    path = Path(cache.local_path(uri))
    bucket.proxy.fault(bucket.path("a.bin"), Fault(hang_up=True), times=2, method="HEAD")
    locate, calls = cache.engine.files.locate, []

    def vanish(entry: str) -> str | None:
        calls.append(entry)
        if len(calls) == 2:
            path.unlink()
        return locate(entry)

    sent = bucket.sent()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cache.engine.files, "locate", vanish)
        status = cache.download_media([uri], update=True).status()

    assert (status.downloaded, status.bytes) == (1, 1000)
    assert bucket.sent() - sent == 1000
    assert path.read_bytes() == b"a" * 1000


class TestOnS3:
    @pytest.fixture
    def proxy(self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            yield proxy

    def test_an_audit_sees_that_the_bytes_are_the_same(
        self, cache: MediaCache, proxy: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        same = in_parts(s3_server, s3_bucket, "same.bin", b"a" * 1000)
        other = in_parts(s3_server, s3_bucket, "other.bin", b"a" * 1000)
        cache.download_media([same, other])
        s3_server.put(s3_bucket, "same.bin", b"a" * 1000)
        s3_server.put(s3_bucket, "other.bin", b"b" * 1000)

        estimate = estimate_prefetch(cache, Listing([same, other]), update=True)
        states = [result.state for result in audit(cache, Listing([same, other]), remote=True)]

        assert (estimate.cached, estimate.missing) == (1, 1)
        assert states == ["cached", "stale"]
