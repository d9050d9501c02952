"""What every source does, on its real server and over the one reader of all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator

import pytest
import requests

from forebay.errors import (
    AccessDeniedError,
    NotModifiedError,
    ObjectChangedError,
    ObjectNotFoundError,
    SourceError,
    TransientSourceError,
)
from tests.integration.sites import BUCKETS, REMOTE, SITES, Site, bytes_of
from tests.servers import Fault


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each kind of source in turn; a test may name fewer with ``parametrize(..., indirect=True)``."""
    with SITES[request.param](request) as one:
        yield one


def only(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", names, indirect=True)


class TestReading:
    @pytest.mark.parametrize("size", [0, 1, 100_000, 9_000_001])
    def test_gives_the_bytes_and_says_their_size(self, site: Site, size: int):
        body = os.urandom(size)
        uri = site.put("folder/object.bin", body)

        with site.source.open(uri) as opened:
            pieces = [bytes(piece) for piece in opened]

        assert b"".join(pieces) == body
        assert opened.info.size == size
        assert opened.info.etag
        assert opened.info.modified is not None
        assert all(pieces), "there are no empty pieces"

    def test_head_says_the_same_as_open(self, site: Site):
        uri = site.put("object.bin", b"hello")

        with site.source.open(uri) as opened:
            head = site.source.head(uri)

        assert (head.uri, head.size, head.etag) == (uri.raw, 5, opened.info.etag)
        assert head.modified == opened.info.modified

    @pytest.mark.parametrize(
        "key",
        [
            "with space.jpg",
            "plus+and&amp;.jpg",
            "per%cent.jpg",
            "per%20cent.jpg",
            "hash#mark.jpg",
            "question?mark.jpg",
            "ünïcødé/日本/😀.jpg",
            "quotes'\"<>.jpg",
            "~tilde*star(paren)!.jpg",
            "...dots/..a/b...jpg",
            "/".join(["k" * 200] * 5) + "/" + "k" * 19,
        ],
        ids=lambda key: key[:12],
    )
    def test_finds_the_very_key_that_was_asked_for(self, site: Site, key: str):
        uri = site.put(key, key.encode())

        assert bytes_of(site.source, uri) == key.encode()
        assert site.source.head(uri).size == len(key.encode())
        assert bytes(site.source.read_range(uri, 0, 3)) == key.encode()[:3]

    @only([name for name in SITES if name != "local"])
    def test_a_key_may_be_a_prefix_of_another(self, site: Site):
        first, second = site.put("a", b"first"), site.put("a/b", b"second")

        assert bytes_of(site.source, first) == b"first"
        assert bytes_of(site.source, second) == b"second"

    def test_what_is_left_unread_harms_nobody(self, site: Site):
        uri = site.put("large.bin", b"x" * 20_000_000)

        for _ in range(3):
            with site.source.open(uri) as opened:
                assert next(iter(opened))[:1] == b"x"
            opened.close()

        assert len(bytes_of(site.source, uri)) == 20_000_000


class TestRanges:
    def test_gives_the_bytes_from_start_up_to_end(self, site: Site):
        uri = site.put("digits", b"0123456789")
        etag = site.source.head(uri).etag

        assert bytes(site.source.read_range(uri, 0, 10, etag=etag)) == b"0123456789"
        assert bytes(site.source.read_range(uri, 3, 5, etag=etag)) == b"34"
        assert bytes(site.source.read_range(uri, 3, 5)) == b"34"
        assert bytes(site.source.read_range(uri, 8, 100)) == b"89"
        assert bytes(site.source.read_range(uri, 5, 5)) == b""

    def test_gives_nothing_beyond_the_end(self, site: Site):
        uri = site.put("digits", b"0123456789")
        # Azurite answers 206 at the very end, where Azure answers 416 as from there on.
        start = 11 if site.name == "azure" else 10

        assert bytes(site.source.read_range(uri, start, 20)) == b""

    def test_gives_the_first_bytes_together_with_what_head_tells(self, site: Site):
        uri = site.put("digits", b"0123456789")
        before = len(site.proxy.requests) if site.proxy else 0

        beginning = site.source.read_start(uri, 4)

        head = site.source.head(uri)
        assert bytes(beginning.data) == b"0123"
        assert (beginning.info.size, beginning.info.etag) == (10, head.etag)
        assert beginning.info.modified == head.modified
        assert beginning.info.ranges
        if site.proxy is not None:
            requests = [r for r in site.proxy.requests[before:] if r.path == site.path("digits")]
            assert [r.method for r in requests] == ["GET", "HEAD"]
            assert requests[0].sent == 4

    @pytest.mark.parametrize("body", [b"", b"012"])
    def test_gives_no_more_first_bytes_than_there_are(self, site: Site, body: bytes):
        uri = site.put("short", body)

        beginning = site.source.read_start(uri, 1000)

        assert bytes(beginning.data) == body
        assert beginning.info.size == len(body)

    def test_notices_that_the_object_changed(self, site: Site):
        uri = site.put("object", b"before")
        etag = site.source.head(uri).etag
        site.put("object", b"after it")

        with pytest.raises(ObjectChangedError, match="changed while it was being read"):
            site.source.read_range(uri, 0, 3, etag=etag)

    @only(["s3", "gcs", "http"])
    def test_reads_an_object_of_more_than_200_mb_in_parts(self, site: Site):
        size, part = 201_000_000, 16 << 20
        block = os.urandom(1 << 20)
        body = (block * (size // len(block) + 1))[:size]
        uri = site.put("large.bin", body)
        etag = site.source.head(uri).etag

        digest, received = hashlib.md5(), 0
        for start in range(0, size, part):
            data = site.source.read_range(uri, start, min(start + part, size), etag=etag)
            digest.update(data)
            received += len(data)
        site.delete("large.bin")

        assert received == size
        assert digest.digest() == hashlib.md5(body).digest()


class TestConditions:
    def test_an_object_with_the_same_etag_is_not_sent_again(self, site: Site):
        uri = site.put("object", b"hello")
        etag = site.source.head(uri).etag

        with pytest.raises(NotModifiedError):
            site.source.open(uri, if_none_match=etag)

    def test_an_object_with_another_etag_is_sent(self, site: Site):
        uri = site.put("object", b"hello")
        etag = site.source.head(uri).etag
        site.put("object", b"changed")

        with site.source.open(uri, if_none_match=etag) as opened:
            assert b"".join(opened) == b"changed"

    @only([name for name in SITES if not name.startswith("gcs")])  # the emulator knows no conditions
    def test_an_object_not_modified_since_is_not_sent_again(self, site: Site):
        uri = site.put("object", b"hello")
        modified = site.source.head(uri).modified
        assert modified is not None

        with pytest.raises(NotModifiedError):
            site.source.open(uri, if_modified_since=modified)
        with site.source.open(uri, if_modified_since=modified - 3600) as opened:
            assert b"".join(opened) == b"hello"


class TestMissing:
    def test_an_object_that_is_not_there(self, site: Site):
        uri = site.uri("nothing/here.jpg")

        for ask in (
            site.source.open,
            site.source.head,
            lambda uri: site.source.read_range(uri, 0, 9),
            lambda uri: site.source.read_start(uri, 9),
        ):
            with pytest.raises(ObjectNotFoundError, match="no such") as caught:
                ask(uri)
            assert uri.redacted in str(caught.value)
            assert not caught.value.transient

    @only([*BUCKETS, "local"])
    def test_a_bucket_that_is_not_there(self, site: Site):
        assert site.absent_bucket is not None

        with pytest.raises(ObjectNotFoundError):
            site.source.open(site.absent_bucket)

    @only(BUCKETS)
    def test_a_key_that_is_no_utf8(self, site: Site):
        uri = site.uri("b\udcff")

        for ask in (site.source.open, site.source.head):
            with pytest.raises(SourceError):
                ask(uri)
        with contextlib.suppress(SourceError):
            assert list(site.source.list(uri)) == []

    def test_an_object_that_was_removed(self, site: Site):
        uri = site.put("object", b"hello")
        site.delete("object")

        with pytest.raises(ObjectNotFoundError):
            site.source.open(uri)


class TestListing:
    @only([*BUCKETS, "local"])
    def test_names_every_key_that_begins_with_the_prefix(self, site: Site):
        keys = ["a.jpg", "ab/c.jpg", "ab/d e+f%20.jpg", "ab/é.jpg", "abc.jpg", "b.jpg"]
        for key in keys:
            site.put(key, key.encode())

        def listed(prefix: str) -> list[str]:
            start = len(site.uri("").raw)
            return [info.uri[start:] for info in site.source.list(site.uri(prefix))]

        assert listed("") == keys
        assert listed("a") == keys[:5]
        assert listed("ab") == keys[1:5]
        assert listed("ab/") == keys[1:4]
        assert listed("ab/c.jpg") == ["ab/c.jpg"]
        assert listed("nothing") == []

    @only([*BUCKETS, "local"])
    def test_says_of_each_what_head_says(self, site: Site):
        uri = site.put("folder/a.jpg", b"hello")

        (info,) = site.source.list(site.uri("folder/"))
        head = site.source.head(uri)

        assert (info.uri, info.size) == (uri.raw, 5)
        assert info.modified == pytest.approx(head.modified, abs=1)
        assert info.etag in (None, head.etag), "an etag that is listed can be compared"

    @only(BUCKETS)
    def test_goes_on_beyond_the_first_page(self, site: Site):
        for number in range(1100):
            site.put(f"many/{number:04}", b"")

        assert len(list(site.source.list(site.uri("many/")))) == 1100

    @only(BUCKETS)
    def test_lists_the_empty_objects_that_stand_for_folders(self, site: Site):
        site.put("folder/", b"")
        site.put("folder/a.jpg", b"a")

        assert [info.uri for info in site.source.list(site.uri("folder"))] == [
            site.uri("folder/").raw,
            site.uri("folder/a.jpg").raw,
        ]

    @only(BUCKETS)
    def test_of_a_bucket_that_is_not_there(self, site: Site):
        assert site.absent_bucket is not None

        with pytest.raises(ObjectNotFoundError):
            list(site.source.list(site.absent_bucket))

    @only(["http"])
    def test_of_a_web_server_is_refused(self, site: Site):
        with pytest.raises(SourceError, match="cannot be listed"):
            site.source.list(site.uri("folder/"))


class TestSigning:
    @only(REMOTE)
    def test_anyone_can_read_the_signed_url(self, site: Site):
        uri = site.put("folder/a b+c.jpg", b"hello")

        assert requests.get(site.source.sign(uri, expires_seconds=60), timeout=10).content == b"hello"


# Every fault hits the first request only: the second attempt, which is the caller's to make, succeeds.
TRANSIENT = {
    "503 SlowDown": Fault.s3(503, "SlowDown"),
    "500": Fault(status=500, body=b"oops"),
    "502 from a gateway": Fault(status=502, body=b"<html>Bad Gateway</html>"),
    "429": Fault(status=429),
    "408": Fault(status=408),
    "no answer at all": Fault(hang_up=True),
    "reset within the body": Fault(reset_after=70_000),
    "reset before the body": Fault(reset_after=0),
    "truncated body": Fault(truncate_after=70_000),
    "no body": Fault(truncate_after=0),
}


class TestFaults:
    @only(REMOTE)
    @pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
    def test_is_transient_and_costs_one_request(self, site: Site, fault: Fault):
        assert site.proxy is not None
        uri = site.put("object", os.urandom(200_000))
        # The redirect of the http site has left a connection, and libcurl itself asks again where such a one
        # is closed without a byte: the server may just have given it up.
        times = 2 if fault.hang_up and site.name == "http" else 1
        site.proxy.fault(site.path("object"), fault, times=times)

        with pytest.raises(TransientSourceError) as caught:
            bytes_of(site.source, uri)

        assert caught.value.transient
        assert str(caught.value).startswith(uri.redacted)
        assert len(str(caught.value)) < len(uri.redacted) + 150, "the server's answer is not quoted"
        assert site.proxy.count("GET", site.path("object")) == times, "nobody below tries again"
        assert len(bytes_of(site.source, uri)) == 200_000

    @only(REMOTE)
    def test_a_large_body_that_ends_early(self, site: Site):
        assert site.proxy is not None
        uri = site.put("large", os.urandom(10_000_000))

        for fault in (Fault(truncate_after=9_000_000), Fault(reset_after=9_000_000)):
            site.proxy.fault(site.path("large"), fault, times=1)
            with pytest.raises(TransientSourceError), site.source.open(uri) as opened:
                for _ in opened:
                    pass

    @only(REMOTE)
    def test_a_part_that_ends_early(self, site: Site):
        assert site.proxy is not None
        uri = site.put("object", b"0123456789" * 1000)
        site.proxy.fault(site.path("object"), Fault(truncate_after=10), times=1)

        with pytest.raises(TransientSourceError):
            site.source.read_range(uri, 0, 5000)

    @only(REMOTE)
    def test_a_beginning_that_ends_early(self, site: Site):
        assert site.proxy is not None
        uri = site.put("object", b"0123456789" * 1000)
        site.proxy.fault(site.path("object"), Fault(truncate_after=10), times=1)

        with pytest.raises(TransientSourceError):
            site.source.read_start(uri, 5000)

    @only(REMOTE)
    @pytest.mark.parametrize("fault", [Fault(stall_after=1000), Fault(delay=30)], ids=["body", "answer"])
    def test_a_server_that_stalls_is_given_up_after_the_read_time_out(self, site: Site, fault: Fault):
        assert site.proxy is not None
        uri = site.put("object", b"x" * 100_000)
        site.proxy.fault(site.path("object"), fault, times=1)
        source = site.another(read_timeout_seconds=0.5)

        with pytest.raises(TransientSourceError, match="timed out"):
            bytes_of(source, uri)

    @only(REMOTE)
    def test_a_server_that_is_not_there(self, site: Site):
        assert site.proxy is not None
        uri = site.put("object", b"hello")
        site.proxy.close()

        with pytest.raises(TransientSourceError, match="connect"):
            site.source.open(uri)

    @only(REMOTE)
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refusal_is_not_transient(self, site: Site, status: int):
        assert site.proxy is not None
        uri = site.put("object", b"hello")
        site.proxy.fault(site.path("object"), Fault.s3(status, "AccessDenied", "secret text"), times=1)

        with pytest.raises(AccessDeniedError, match=rf"{status} \w+.* with .*(credentials|key)") as caught:
            site.source.open(uri)
        assert not caught.value.transient
        assert "secret text" not in str(caught.value)

    @only(REMOTE)
    def test_any_other_refusal_is_a_source_error(self, site: Site):
        assert site.proxy is not None
        uri = site.put("object", b"hello")
        site.proxy.fault(site.path("object"), Fault.s3(400, "InvalidRequest"), times=1)

        with pytest.raises(SourceError, match="400 Bad Request") as caught:
            site.source.open(uri)
        assert type(caught.value) is SourceError
