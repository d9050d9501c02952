"""The transport's pure parts: heads of answers, failures, redirects, signatures, sinks."""

from __future__ import annotations

import datetime
import gzip
import os
import pickle
import zlib
from pathlib import Path
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pycurl
import pytest

from forebay.errors import ForebayError
from forebay.transport import (
    FULL,
    BytesSink,
    Credentials,
    FileSink,
    Head,
    Headers,
    Kind,
    PathSink,
    Request,
    TransportError,
)
from forebay.transport.decoding import Decoded
from forebay.transport.heads import head_of, parse_date, retry_after
from forebay.transport.redirects import redirected
from forebay.transport.requests import origin_of
from forebay.transport.signing import sign
from forebay.transport.transport_errors import failure_of, redacted


def head(*lines: str, status: int = 200) -> Head:
    return Head(status, Headers([line.encode("latin-1") + b"\r\n" for line in lines]))


class TestHeads:
    def test_names_have_no_case_and_values_may_be_several(self):
        headers = head("ETag: a", "etag: b", "X-Long: one", "  two", "Empty:").headers

        assert headers.get("etag") == "a, b"
        assert headers.all("etag") == ("a", "b")
        assert headers.get("x-long") == "one two"
        assert headers.get("empty") == ""
        assert headers.get("missing") is None

    @pytest.mark.parametrize(
        ("value", "number"),
        [
            ("5", 5),
            ("0", 0),
            ("\u00b2", None),
            ("-1", None),
            ("+1", None),
            ("1_0", None),
            ("", None),
            ("9" * 5000, None),
            ("9" * 19, None),
            ("1 2", None),
            ("0x1", None),
        ],
    )
    def test_numbers_are_numbers(self, value: str, number: int | None):
        assert head(f"Content-Length: {value}").size == number

    def test_numbers_that_contradict_each_other_are_none(self):
        assert head("Content-Length: 5", "Content-Length: 6").size is None
        assert head("Content-Length: 5", "Content-Length: 5").size == 5

    @pytest.mark.parametrize(
        ("value", "span"),
        [
            ("bytes 0-4/10", (0, 5, 10)),
            ("bytes 5-9/*", (5, 10, None)),
            ("bytes */10", (0, 0, 10)),
            ("bytes 5-4/10", None),
            ("bytes 0-10/10", None),
            ("bytes 0-4", None),
            ("items 0-4/10", None),
            ("bytes \u00b2-4/10", None),
            ("bytes 0-" + "9" * 5000 + "/*", None),
        ],
    )
    def test_ranges_are_ranges(self, value: str, span: object):
        assert head(f"Content-Range: {value}").span == span

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "soon",
            "Thu, 99 Foo 99999999999 99:99:99 GMT",
            "x" * 5000,
            "\u00b2",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 +99999999999999",
        ],
    )
    def test_dates_that_are_none_are_none(self, text: str):
        assert parse_date(text) is None

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("3", 3.0),
            ("99999999999999999999999", 60.0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
            ("Sun, 06 Nov 2094 08:49:37 GMT", 60.0),
            ("-3", None),
            ("\u00b2", None),
            ("later", None),
        ],
    )
    def test_servers_ask_to_be_left_alone(self, value: str, seconds: float | None):
        now = parse_date("Sun, 06 Nov 1994 08:49:30 GMT")

        assert retry_after(head(f"Retry-After: {value}").headers, now=now, max_seconds=60.0) == seconds

    def test_the_last_of_several_heads_counts(self):
        lines = b"HTTP/1.1 103 Early Hints|link: a||HTTP/1.1 206 Partial|HTTP/1.1: x|etag: b||x-trailer: c||"

        found = head_of([line + b"\r\n" for line in lines.split(b"|")[:-1]])

        assert (found.status, found.version) == (206, "1.1")
        assert dict(found.headers) == {"http/1.1": "x", "etag": "b"}

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (b"HTTP/2 200 \r\n", (200, "2")),
            (b"HTTP/1.0 404 No\r\n", (404, "1.0")),
            (b"HTTP/3 503\r\n", (503, "3")),
        ],
    )
    def test_versions(self, line: bytes, expected: tuple[int, str]):
        found = head_of([line, b"\r\n"])

        assert (found.status, found.version) == expected

    def test_nothing_is_no_head(self):
        assert head_of([]).status == 0


class TestFailures:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://user:secret@host/a/b?token=secret#secret", "https://host/a/b"),
            ("https://host", "https://host"),
            ("secret@host/path", "host/path"),
            ("http://host/\x1b[31m\u4e2d\u202e", "http://host/\\x1b[31m\\u4e2d\\u202e"),
            ("http://host/" + "x" * 5000, "http://host/" + "x" * 488 + "..."),
        ],
    )
    def test_secrets_are_not_shown(self, url: str, shown: str):
        assert redacted(url) == shown
        assert str(TransportError(Kind.LOST, url, "lost")) == f"{shown}: lost"

    @pytest.mark.parametrize(
        ("code", "text", "proxy", "connected", "kind"),
        [
            (pycurl.E_COULDNT_RESOLVE_HOST, "", "", False, Kind.RESOLVE),
            (pycurl.E_COULDNT_CONNECT, "", "", False, Kind.CONNECT),
            (pycurl.E_COULDNT_CONNECT, "", "http://proxy", False, Kind.PROXY),
            (pycurl.E_COULDNT_RESOLVE_PROXY, "", "http://proxy", False, Kind.PROXY),
            (pycurl.E_RECV_ERROR, "CONNECT tunnel failed, response 407", "http://proxy", False, Kind.PROXY),
            (pycurl.E_RECV_ERROR, "reset", "http://proxy", True, Kind.LOST),
            (97, "", "socks5://proxy", False, Kind.PROXY),
            (pycurl.E_OPERATION_TIMEDOUT, "", "http://proxy", False, Kind.PROXY),
            (pycurl.E_OPERATION_TIMEDOUT, "", "", False, Kind.TIMEOUT),
            (pycurl.E_PEER_FAILED_VERIFICATION, "", "http://proxy", False, Kind.TLS),
            (pycurl.E_PARTIAL_FILE, "", "", True, Kind.TRUNCATED),
            (12345, "", "", True, Kind.INTERNAL),
        ],
    )
    def test_every_code_has_a_kind(self, code: int, text: str, proxy: str, connected: bool, kind: Kind):
        error = failure_of(code, text, "https://host/x?secret", proxy=proxy, connected=connected)

        assert error.kind is kind
        # What may be the proxy's doing names it, but does not blame it.
        assert ("the proxy " in str(error)) == bool(proxy)
        assert ("through the proxy" in str(error)) == bool(proxy and kind in (Kind.LOST, Kind.TLS))

    def test_a_refusing_proxy_is_named_with_its_answer(self):
        text = "CONNECT tunnel failed, response 407"

        error = failure_of(56, text, "https://host/x", proxy="http://proxy:3128", connected=False)

        assert "the proxy http://proxy:3128 cannot be reached or refuses (it answers 407)" in str(error)

    def test_they_travel_between_processes(self):
        error = pickle.loads(pickle.dumps(TransportError(Kind.TIMEOUT, "http://host/x?y", "late")))

        assert isinstance(error, ForebayError)
        assert (str(error), error.kind, error.transient, error.timed_out) == (
            "http://host/x: late",
            Kind.TIMEOUT,
            True,
            True,
        )

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://host/x",
            "http:///x",
            "http://",
            "s3://b/k",
            "http://u:p@host/",
            "http://host/a b",
            "http://host/\n",
            "http://host/\u00e9",
            "http://ho\\st/",
            "//host/x",
            "",
        ],
    )
    def test_odd_urls_are_refused(self, url: str):
        with pytest.raises(TransportError) as failure:
            origin_of(url)

        assert failure.value.kind is Kind.REQUEST


CREDENTIALS = Credentials("AKID", "secret", "token")
SIGNED = [("Authorization", "x"), ("Cookie", "x"), ("X-Amz-Security-Token", "x"), ("Range", "bytes=0-1")]


class TestRedirects:
    def step(self, url: str, location: str, *, status: int = 302, method: str = "GET") -> Request | None:
        request = Request(url, method=method, headers=SIGNED, credentials=CREDENTIALS, body=b"x")
        return redirected(request, head(f"Location: {location}", status=status), lambda url: None)

    @pytest.mark.parametrize(
        ("url", "location", "expected", "secrets"),
        [
            ("http://host/a/b?q", "/c", "http://host/c", True),
            ("http://host/a/b", "c?d=%2F#e", "http://host/a/c?d=%2F", True),
            ("http://host/a", "//other/c", "http://other/c", False),
            ("http://host/a", "http://host:81/c", "http://host:81/c", False),
            ("http://host/a", "https://host/c", "https://host/c", True),
            ("http://host:80/a", "https://host:443/c", "https://host:443/c", True),
            ("http://host:81/a", "https://host:82/c", "https://host:82/c", False),
            ("http://host/a", "/with blank", "http://host/with%20blank", True),
        ],
    )
    def test_secrets_stay_with_their_host(self, url: str, location: str, expected: str, secrets: bool):
        following = self.step(url, location)

        assert following is not None
        assert following.url == expected
        assert (following.credentials is not None) == secrets
        assert list(following.headers) == (SIGNED if secrets else SIGNED[3:])

    @pytest.mark.parametrize(
        "location", ["http://host/x", "ftp://host/x", "s3://b/k", "http://u:p@host/", "http://["]
    )
    def test_some_are_refused(self, location: str):
        with pytest.raises(TransportError) as failure:
            self.step("https://host/a", location)

        assert failure.value.kind is Kind.REDIRECT

    @pytest.mark.parametrize(("status", "method"), [(303, "GET"), (302, "GET"), (307, "POST"), (308, "POST")])
    def test_methods(self, status: int, method: str):
        following = self.step("http://host/a", "/b", status=status, method="POST")

        assert following is not None
        assert following.method == method
        assert following.body == (b"x" if method == "POST" else b"")

    def test_other_answers_are_none(self):
        assert self.step("http://host/a", "/b", status=200) is None
        assert redirected(Request("http://host/a"), head(status=302), lambda url: None) is None

    def test_each_is_checked_and_there_are_ten_at_most(self):
        checked: list[str] = []

        def check(url: str) -> None:
            checked.append(url)

        request = Request("http://host/")
        for _ in range(10):
            following = redirected(request, head(f"Location: {request.url}x", status=302), check)
            assert following is not None
            request = following
        with pytest.raises(TransportError, match="more than 10 redirects"):
            redirected(request, head("Location: /x", status=302), check)
        assert checked[:2] == ["http://host/x", "http://host/xx"]
        assert len(checked) == 10


class TestSignatures:
    @pytest.mark.parametrize("token", [None, "", "a/token+with=signs"])
    @pytest.mark.parametrize(
        "url",
        [
            "https://bucket.s3.amazonaws.com/a/../b",
            "http://127.0.0.1:9000/bucket/./a%20b%2B/%25/..",
            "http://127.0.0.1:80/bucket//%C3%A9/..?versionId=a%2Fb&x=&list-type=2",
            "https://host:443/a/..?b=2&a=1&a=0",
            "https://host/plain/a_b-c.d~e",
            "https://host/a/~%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%40/..",
        ],
    )
    def test_are_those_of_botocore(self, url: str, token: str | None):
        # Given a moment and a request
        moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
        headers = [("Range", "bytes=0-9"), ("X-Custom", "a  b")]
        request = botocore.awsrequest.AWSRequest("GET", url, headers=dict(headers))
        request.context["client_config"] = mock.Mock(s3={"payload_signing_enabled": True})
        keys = botocore.credentials.Credentials("AKID", "secret", token or None)

        # When botocore and the transport sign it
        with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
            botocore.auth.S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
        credentials = Credentials("AKID", "secret", token, "eu-west-1")
        lines = sign("GET", url, headers, credentials, now=moment.timestamp())
        ours = {name: value for name, _, value in (line.partition(":") for line in lines)}

        # Then both say the same
        assert ours["Authorization"] == request.headers["Authorization"]
        assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
        assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")

    @pytest.mark.parametrize("bad", ["a\n", "q w", "\u00e9", "a\x00"])
    def test_keys_that_are_none_are_refused_without_being_shown(self, bad: str):
        for arguments in ((bad, "s"), ("a", bad), ("a", "s", bad), ("a", "s", "t", bad)):
            with pytest.raises(TransportError, match="credentials' ") as failure:
                Credentials(*arguments)
            assert bad not in str(failure.value)


class TestSinks:
    def test_bytes_are_bounded(self):
        sink = BytesSink(5)
        sink.begin(head())
        sink.write(b"12345")

        with pytest.raises(TransportError, match="larger than the 5 bytes"):
            sink.write(b"6")
        with pytest.raises(TransportError, match="larger than the 5 bytes"):
            BytesSink(5).begin(head("Content-Length: 6"))

    def test_a_range_goes_where_it_belongs(self, tmp_path: Path):
        with open(tmp_path / "file", "wb+") as file:
            sink = FileSink(file.fileno(), offset=3, size=4, ranged=True, holds=3)
            sink.begin(head("Content-Range: bytes 3-6/10", status=206))
            for byte in b"abcd":
                sink.write(bytes([byte]))
            sink.end()

            assert file.read() == b"\x00\x00\x00abcd"

    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            (["Content-Range: bytes 0-3/10"], 206),
            (["Content-Range: bytes 3-7/10"], 206),
            ([], 206),
            (["Content-Length: 4"], 200),
        ],
    )
    def test_another_range_is_refused(self, lines: list[str], status: int):
        with pytest.raises(TransportError) as failure:
            FileSink(0, offset=3, size=4, ranged=True).begin(head(*lines, status=status))

        assert failure.value.kind is Kind.RANGE

    def test_a_file_that_is_too_short_is_an_error(self, tmp_path: Path):
        path = str(tmp_path / "file")
        sink = PathSink(path, size=3)
        sink.begin(head())
        sink.write(b"ab")

        with pytest.raises(TransportError) as failure:
            sink.end()
        sink.abandon()

        assert failure.value.kind is Kind.TRUNCATED
        assert not os.path.exists(path)

    def test_a_small_file_is_one_write(self, tmp_path: Path):
        sink = PathSink(str(tmp_path / "file"))
        sink.begin(head())

        with mock.patch("os.pwritev", wraps=os.pwritev) as write:
            sink.write(b"ab")
            sink.write(b"cd")
            sink.end()

        assert write.call_count == 1
        assert (tmp_path / "file").read_bytes() == b"abcd"

    def test_a_large_file_is_written_in_pieces(self, tmp_path: Path):
        sink = PathSink(str(tmp_path / "file"), holds=100_000)
        sink.begin(head())

        with mock.patch("os.pwritev", wraps=os.pwritev) as write:
            for _ in range(64):
                sink.write(b"x" * 16_384)
            sink.end()

        assert write.call_count == 11
        assert (tmp_path / "file").stat().st_size == 64 * 16_384

    def test_more_than_is_allowed_is_refused_though_it_was_not_announced(self, tmp_path: Path):
        sink = PathSink(str(tmp_path / "file"), max_bytes=3)
        sink.begin(head())
        sink.write(b"ab")
        sink.write(b"cd")

        with pytest.raises(TransportError) as failure:
            sink.end()

        assert failure.value.kind is Kind.TOO_LARGE
        assert (tmp_path / "file").stat().st_size == 0

    def test_tiny_chunks_do_not_pile_up(self, tmp_path: Path):
        sink = PathSink(str(tmp_path / "file"))
        sink.begin(head())
        for _ in range(5000):
            sink.write(b"x")
        sink.end()

        assert (tmp_path / "file").read_bytes() == b"x" * 5000


class TestDecoding:
    BODY = bytes(range(256)) * 20_000

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
    @pytest.mark.parametrize("size", [1, 1000, 1 << 20])
    def test_gives_the_bytes_once_however_full_the_sink_is(self, encoding: str, size: int):
        # Given a sink that is too full for every other piece
        taken, turns = bytearray(), iter(range(1 << 30))

        class Full(BytesSink):
            def write(self, chunk: bytes) -> object:
                if next(turns) % 2 == 0:
                    return FULL
                taken.extend(chunk)
                return None

        packed = zlib.compress(self.BODY) if encoding == "deflate" else gzip.compress(self.BODY)
        sink = Decoded(Full(1), encoding)

        for start in range(0, len(packed), size):
            while sink.write(packed[start : start + size]) is FULL:
                pass
        sink.end()

        assert bytes(taken) == self.BODY

    @pytest.mark.parametrize(
        "packed",
        [gzip.compress(b"hello")[:-1], gzip.compress(b"hello") + b"x", b"hello"],
        ids=["short", "long", "none"],
    )
    def test_takes_nothing_else_for_a_body(self, packed: bytes):
        sink = Decoded(BytesSink(100), "gzip")

        def take() -> None:
            sink.write(packed)
            sink.end()

        with pytest.raises(TransportError, match="not encoded as its Content-Encoding says"):
            take()
