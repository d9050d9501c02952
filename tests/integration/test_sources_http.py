"""What is particular to web servers: redirects, private addresses, passwords, and servers' whims."""

from __future__ import annotations

import base64
import gzip
import threading
from typing import Any

import pycurl
import pytest

from forebay.errors import (
    AccessDeniedError,
    ConfigError,
    NotModifiedError,
    ObjectChangedError,
    ObjectNotFoundError,
    SourceError,
    SourceNotAllowedError,
    TransientSourceError,
    UriError,
)
from forebay.sources.base import Source
from forebay.sources.sources import Sources
from forebay.transport import handles
from forebay.uri import MediaURI, parse
from tests.integration.sites import bytes_of, config
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer


def source_for(
    uri: MediaURI, *allowed: HTTPServer | str, connect_timeout_seconds: float = 5.0, **options: Any
) -> Source:
    """The source of ``uri`` where ``allowed_sources`` are the default and these besides."""
    prefixes = ["s3://", "gs://", "https://", "http://"]
    prefixes += [one if isinstance(one, str) else one.endpoint + "/" for one in allowed]
    settings = config(
        allowed_sources=prefixes,
        connect_timeout_seconds=connect_timeout_seconds,
        extra_client_kwargs={"http": options},
    )
    return Sources(settings).for_uri(uri)


def open_url(url: str) -> None:
    uri = parse(url)
    source_for(uri).open(uri).close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_are_followed(self, http_server: HTTPServer, status: int):
        http_server.put("/there.jpg?size=large", b"hello")
        uri = parse(http_server.redirect("/here.jpg", "/there.jpg?size=large", status=status))
        source = source_for(uri, http_server)

        assert bytes_of(source, uri) == b"hello"
        assert source.head(uri).size == 5
        assert bytes(source.read_range(uri, 1, 3)) == b"el"

    def test_are_followed_to_another_host_that_is_allowed(
        self, http_server: HTTPServer, other_http_server: HTTPServer
    ):
        uri = parse(http_server.redirect("/here", other_http_server.put("/there", b"hello")))

        assert bytes_of(source_for(uri, http_server, other_http_server), uri) == b"hello"

    def test_to_a_private_address_are_refused(self, http_server: HTTPServer, other_http_server: HTTPServer):
        uri = parse(http_server.redirect("/here", other_http_server.put("/there", b"hello")))
        source = source_for(uri, http_server)

        for ask in (source.open, source.head, lambda uri: source.read_range(uri, 0, 1)):
            with pytest.raises(SourceNotAllowedError, match=r"private address 127\.0\.0\.2; if it should"):
                ask(uri)
        assert not other_http_server.requests

    def test_out_of_the_allowed_sources_are_refused(self, http_server: HTTPServer):
        uri = parse(http_server.redirect("/here", "https://elsewhere.example.com/there"))
        source = Sources(config(allowed_sources=[http_server.endpoint])).for_uri(uri)

        with pytest.raises(SourceNotAllowedError, match=r"redirects to https://elsewhere.*allowed_sources"):
            source.open(uri)

    def test_out_of_an_allowed_folder_are_refused(self, http_server: HTTPServer):
        http_server.put("/private", b"hello")
        uri = parse(http_server.redirect("/pub/here", "/private"))
        source = Sources(config(allowed_sources=[http_server.endpoint + "/pub/"])).for_uri(uri)

        with pytest.raises(SourceNotAllowedError):
            source.open(uri)

    @pytest.mark.parametrize(
        "location",
        ["s3://bucket/key", "gs://bucket/key", "file:///etc/passwd", "ftp://host/x", "http://[::1"],
    )
    def test_to_anything_else_are_an_error(self, http_server: HTTPServer, location: str):
        uri = parse(http_server.redirect("/here", location))

        with pytest.raises(SourceError, match=r"no http|not valid"):
            source_for(uri, http_server).open(uri)

    def test_that_go_round_in_circles_are_given_up(self, http_server: HTTPServer):
        uri = parse(http_server.redirect("/a", "/b"))
        http_server.redirect("/b", "/a")

        with pytest.raises(SourceError, match="more than 10 redirects"):
            source_for(uri, http_server).open(uri)
        assert len(http_server.requests) == 11

    def test_may_set_cookies_that_last_until_the_object_is_reached(
        self, http_server: HTTPServer, other_http_server: HTTPServer
    ):
        http_server.put("/there", b"hello")
        other_http_server.redirect("/away", http_server.endpoint + "/there")
        uri = parse(http_server.redirect("/here", other_http_server.endpoint + "/away", cookie="seen=1"))
        source = source_for(uri, http_server, other_http_server)

        for _ in range(2):
            assert bytes_of(source, uri) == b"hello"
            first, last = http_server.requests[-2:]
            assert "cookie" not in first.headers
            assert last.headers["cookie"] == "seen=1"
            assert "cookie" not in other_http_server.requests[-1].headers


class TestPasswords:
    def test_of_the_url_are_shown_to_its_host(self, http_server: HTTPServer):
        http_server.put("/x", b"hello", authorization=basic("me@home", "pass word"))
        host = http_server.endpoint.removeprefix("http://")
        uri = parse(f"http://me%40home:pass%20word@{host}/x")

        assert bytes_of(source_for(uri, http_server), uri) == b"hello"

    def test_stay_with_their_host(self, http_server: HTTPServer, other_http_server: HTTPServer):
        # Given credentials in the URL and in the settings, and a redirect to another host and back
        http_server.put("/home", b"hello")
        other_http_server.redirect("/away", http_server.endpoint + "/home")
        http_server.redirect("/x", other_http_server.endpoint + "/away")
        uri = parse(http_server.endpoint.replace("://", "://me:secret@") + "/x")
        headers = {"X-Api-Key": "secret", "Cookie": "session=secret"}

        assert bytes_of(source_for(uri, http_server, other_http_server, headers=headers), uri) == b"hello"

        first, last = http_server.requests
        (between,) = other_http_server.requests
        assert first.headers["authorization"] == basic("me", "secret")
        assert first.headers["x-api-key"] == "secret"
        for request in (between, last):
            assert not {"authorization", "x-api-key", "cookie"} & set(request.headers)

    def test_stay_when_the_redirect_stays_with_the_host(self, http_server: HTTPServer):
        http_server.put("/there", b"hello", authorization=basic("me", "secret"))
        http_server.redirect("/here", "/there")
        uri = parse(http_server.endpoint.replace("://", "://me:secret@") + "/here")

        assert bytes_of(source_for(uri, http_server), uri) == b"hello"

    def test_and_signatures_are_not_in_errors(self, http_server: HTTPServer):
        uri = parse(http_server.endpoint.replace("://", "://me:secret1@") + "/x?sig=secret2")
        http_server.put("/x?sig=secret2", b"", status=403)

        with pytest.raises(AccessDeniedError, match="with the URL's own credentials") as caught:
            source_for(uri, http_server).open(uri)
        assert "secret" not in str(caught.value)

    def test_may_come_from_the_settings(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello", authorization=basic("me", "secret")))

        with pytest.raises(AccessDeniedError, match="with no credentials"):
            source_for(uri, http_server).open(uri)
        assert bytes_of(source_for(uri, http_server, auth=["me", "secret"]), uri) == b"hello"


class TestPrivateAddresses:
    """A worker sees networks that whoever wrote the dataset must not reach through it."""

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "0.0.0.0",
            "0",
            "localhost",
            "localhost.",
            "LOCALHOST",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "good.example.com@127.0.0.1",
        ],
    )
    def test_are_refused_in_every_spelling(self, http_server: HTTPServer, host: str):
        http_server.put("/x", b"hello")
        uri = parse(f"http://{host}:{http_server.port}/x")

        with pytest.raises(SourceNotAllowedError, match="private address"):
            source_for(uri).open(uri)
        assert not http_server.requests

    @pytest.mark.parametrize(
        "uri",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/x",
            "http://192.168.1.1/x",
            "http://[::1]/x",
            "http://[fe80::1]/x",
            "https://[fd00::1]/x",
        ],
    )
    def test_are_refused_whatever_kind_they_are_of(self, uri: str):
        with pytest.raises(SourceNotAllowedError, match="private address"):
            source_for(parse(uri)).open(parse(uri))

    def test_are_refused_where_a_name_leads_to_them(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        resolve(monkeypatch, f"innocent.example.com:{http_server.port}:127.0.0.1")
        uri = parse(f"http://innocent.example.com:{http_server.port}/x")

        with pytest.raises(SourceNotAllowedError, match=r"private address 127\.0\.0\.1"):
            source_for(uri).open(uri)
        assert not http_server.requests

    def test_are_not_reached_by_a_name_that_changes_its_mind(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a name that is public when it is looked up first, and private ever after
        uri = parse(f"http://rebinding.example.com:{http_server.port}/x")
        http_server.put("/x", b"hello")
        resolve(monkeypatch, f"rebinding.example.com:{http_server.port}:192.31.196.1")
        with pytest.raises(TransientSourceError):
            source_for(uri, connect_timeout_seconds=0.2).open(uri)
        resolve(monkeypatch, f"rebinding.example.com:{http_server.port}:127.0.0.1")

        # Then the address that is connected to is the one that is checked
        with pytest.raises(SourceNotAllowedError):
            source_for(uri).open(uri)
        assert not http_server.requests

    def test_are_not_reached_over_a_connection_that_was_allowed(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a connection to a private address that was opened for a folder in which it is allowed
        resolve(monkeypatch, f"half.example.com:{http_server.port}:127.0.0.1")
        root = f"http://half.example.com:{http_server.port}"
        for path in ("/pub/x", "/private/x"):
            http_server.put(path, b"hello")
        source = source_for(parse(f"{root}/pub/x"), f"{root}/pub/")
        assert bytes_of(source, parse(f"{root}/pub/x")) == b"hello"

        with pytest.raises(SourceNotAllowedError):
            source.open(parse(f"{root}/private/x"))

    def test_are_allowed_to_the_host_that_a_prefix_names(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello"))

        assert bytes_of(source_for(uri, f"http://127.0.0.1:{http_server.port}"), uri) == b"hello"
        with pytest.raises(SourceNotAllowedError):
            source_for(uri, f"http://127.0.0.1:{http_server.port + 1}").open(uri)

    def test_are_allowed_to_what_lies_below_the_prefix_only(self, http_server: HTTPServer):
        public = parse(http_server.put("/pub/x", b"hello"))
        private = parse(http_server.put("/private/x", b"hello"))
        source = source_for(public, http_server.endpoint + "/pub/")

        assert bytes_of(source, public) == b"hello"
        for uri in (private, parse(http_server.endpoint + "/pub/../private/x")):
            with pytest.raises(SourceNotAllowedError):
                source.open(uri)

    def test_are_refused_before_a_proxy_is_asked(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a proxy, which is itself at a private address, and looks up names instead of us
        monkeypatch.setenv("HTTP_PROXY", http_server.endpoint)
        http_server.put("http://public.example.com/x", b"hello")
        uri = parse("http://public.example.com/x")

        assert bytes_of(source_for(uri), uri) == b"hello"
        with pytest.raises(SourceNotAllowedError):
            source_for(uri).open(parse("http://169.254.169.254/x"))


def resolve(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Makes a name (``host:port:address``) resolve to an address, for transports that begin now."""

    def prepare(curl: Any, *arguments: Any) -> None:
        handles.prepare(curl, *arguments)
        curl.setopt(pycurl.RESOLVE, [name])

    monkeypatch.setattr("forebay.transport.slot.prepare", prepare)


class TestWhims:
    @pytest.mark.parametrize("status", [400, 403, 405, 501])
    def test_a_server_that_refuses_head_is_asked_for_one_byte(self, http_server: HTTPServer, status: int):
        uri = parse(http_server.put("/x", b"hello", head_status=status))

        assert source_for(uri, http_server).head(uri).size == 5
        assert http_server.requests[-1].range == "bytes=0-0"

    def test_a_server_that_refuses_head_of_an_empty_object(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"", head_status=405))

        assert source_for(uri, http_server).head(uri).size == 0

    def test_what_refuses_head_and_get_is_refused(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"", status=403))

        with pytest.raises(AccessDeniedError):
            source_for(uri, http_server).head(uri)

    def test_a_server_that_knows_no_ranges_sends_more_than_is_taken(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", bytes(range(256)) * 10_000, ranges=False))
        source = source_for(uri, http_server)
        head = source.head(uri)

        assert not head.ranges
        assert bytes(source.read_range(uri, 255, 258, etag=head.etag)) == b"\xff\x00\x01"
        assert bytes(source.read_range(uri, 2_559_999, 2_600_000)) == b"\xff"

    def test_an_object_that_changes_while_its_parts_are_read(self, http_server: HTTPServer):
        for options in ({}, {"ranges": False}):
            uri = parse(http_server.put("/x", b"before", **options))
            source = source_for(uri, http_server)
            etag = source.head(uri).etag
            http_server.put("/x", b"after!", **options)

            with pytest.raises(ObjectChangedError):
                source.read_range(uri, 0, 3, etag=etag)

    def test_a_server_that_does_not_say_the_size(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello", sized=False))

        with source_for(uri, http_server).open(uri) as opened:
            assert (opened.info.size, opened.info.ranges) == (None, False)
            assert b"".join(opened) == b"hello"

    @pytest.mark.parametrize("sized", [True, False])
    def test_the_first_bytes_of_a_server_without_ranges(self, http_server: HTTPServer, sized: bool):
        uri = parse(http_server.put("/x", b"hello", ranges=False, sized=sized))
        source = source_for(uri, http_server)

        beginning = source.read_start(uri, 3)
        assert bytes(beginning.data) == b"hel"
        assert (beginning.info.size, beginning.info.ranges) == (5 if sized else None, False)

        beginning = source.read_start(uri, 6)
        assert bytes(beginning.data) == b"hello"
        assert beginning.info.size == 5, "that was all of it"

    def test_a_server_without_etags_goes_by_the_time(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello", etag=None))
        source = source_for(uri, http_server)
        head = source.head(uri)

        assert head.etag is None
        assert bytes(source.read_range(uri, 0, 2)) == b"he"
        with pytest.raises(NotModifiedError):
            source.open(uri, if_modified_since=head.modified)

    def test_a_weak_etag_is_compared_and_not_sent_with_ranges(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello", etag='W/"1"'))
        source = source_for(uri, http_server)

        assert bytes(source.read_range(uri, 0, 2, etag='W/"1"')) == b"he"
        assert "if-range" not in http_server.requests[-1].headers
        with pytest.raises(NotModifiedError):
            source.open(uri, if_none_match='W/"1"')
        with pytest.raises(ObjectChangedError):
            source.read_range(uri, 0, 2, etag='W/"2"')

    def test_a_server_that_compresses_unasked_is_undone(self, http_server: HTTPServer):
        packed = gzip.compress(b"hello" * 1000)
        uri = parse(http_server.put("/x", packed, encoding="gzip", content_md5=True))

        with source_for(uri, http_server).open(uri) as opened:
            assert (opened.info.size, opened.info.md5) == (None, None), "both are those of the packed bytes"
            assert b"".join(opened) == b"hello" * 1000
        assert http_server.requests[0].headers["accept-encoding"] == "identity"

    def test_a_server_that_only_claims_to_compress(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello", encoding="gzip"))

        with pytest.raises(SourceError, match="not encoded as its Content-Encoding says"):
            bytes_of(source_for(uri, http_server), uri)

    def test_checksums_and_media_types_are_read(self, http_server: HTTPServer):
        uri = parse(http_server.put("/x", b"hello", content_md5=True, content_type="image/jpeg"))

        with source_for(uri, http_server).open(uri) as opened:
            assert opened.info.md5 == "5d41402abc4b2a76b9719d911017c592"
            assert opened.info.content_type == "image/jpeg"

    @pytest.mark.parametrize("status", [404, 410])
    def test_gone_is_not_found(self, http_server: HTTPServer, status: int):
        uri = parse(http_server.put("/x", b"", status=status))

        with pytest.raises(ObjectNotFoundError):
            source_for(uri, http_server).open(uri)

    def test_a_host_that_does_not_exist_may_exist_later(self):
        uri = parse("http://no-such-host.invalid/x")

        with pytest.raises(TransientSourceError, match="name cannot be resolved"):
            source_for(uri).open(uri)

    @pytest.mark.parametrize("host", ["ho st", "host\\@evil", "ho%73t"])
    def test_a_host_of_forbidden_characters(self, host: str):
        with pytest.raises((UriError, SourceError)) as caught:
            open_url(f"http://{host}/x")
        assert not isinstance(caught.value, TransientSourceError)


def test_queries_are_kept_as_they_are(http_server: HTTPServer):
    target = "/x.jpg?b=2&a=1&a=%2F+%20&empty="
    uri = parse(http_server.put(target, b"hello"))

    assert bytes_of(source_for(uri, http_server), uri) == b"hello"


def test_a_url_is_its_own_signature(http_server: HTTPServer):
    uri = parse(http_server.put("/x?sig=1", b"hello"))

    assert source_for(uri, http_server).sign(uri) == uri.raw


def test_an_unknown_option_is_a_configuration_error(http_server: HTTPServer):
    uri = parse(http_server.put("/x", b"hello"))

    with pytest.raises(ConfigError, match="'http' has no 'nonsense'; known are auth"):
        source_for(uri, http_server, nonsense=True)


class TestStreams:
    def test_are_given_up_without_a_lock(self, http_server: HTTPServer):
        # given a stream that is under way
        uri = parse(http_server.put("/large", b"x" * (16 << 20)))
        sources = Sources(config(allowed_sources=[http_server.endpoint + "/"]))
        stream = sources.for_uri(uri).open(uri)
        transport = sources.open_transport()
        assert transport._running is not None

        # when it is forgotten, and the garbage collector finds it in a thread that is at the requests
        with transport._running.traffic._lock:
            closing = threading.Thread(target=stream.close)
            closing.start()
            closing.join(10)
            waits = closing.is_alive()

        # then that thread does not wait for itself, and the server is told
        assert not waits
        eventually(lambda: not any(loop._active for loop in transport._running._loops))
