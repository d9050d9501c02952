"""The transport on real connections: many at a time, ranges, refusals, odd keys."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from forebay.transport import (
    FULL,
    BytesSink,
    Credentials,
    Exchange,
    FileSink,
    Head,
    Kind,
    PathSink,
    Request,
    Transport,
    TransportError,
    TransportSettings,
)
from forebay.transport.host_window import Window
from forebay.transport.redirects import redirected
from tests.integration.exchanges import Gathering
from tests.servers.exact_s3 import exact_s3
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault
from tests.servers.seaweedfs import S3Server


class TestRequests:
    def test_go_out_as_they_are(self, transport: Transport, http_server: HTTPServer):
        for target in ("/a//../b/./%2F?x=1&y", "/%7Ea", "/a?b?c", "/..", "/x//"):
            http_server.put(target, b"body")

            assert transport.call(Request(http_server.endpoint + target)).body == b"body"
            assert http_server.requests[-1].target == target

    def test_have_any_method_and_body(self, transport: Transport, http_server: HTTPServer):
        url = http_server.put("/x", b"body")

        assert transport.call(Request(url, method="HEAD")).head.size == 4
        assert transport.call(Request(url, method="POST", body=b"x" * 3_000_000)).body == b"body"
        assert http_server.requests[-1].headers["content-length"] == "3000000"
        assert transport.call(Request(url)).body == b"body"
        assert "content-length" not in http_server.requests[-1].headers

    @pytest.mark.parametrize(
        "headers", [[("a", "b\r\nc: d")], [("a\n", "b")], [("a:", "b")], [("a", "\u00e9")], [("a", "\x00")]]
    )
    def test_cannot_be_broken_apart_by_headers(
        self, transport: Transport, http_server: HTTPServer, headers: list[tuple[str, str]]
    ):
        with pytest.raises(TransportError) as failure:
            transport.call(Request(http_server.put("/x", b""), headers=headers))

        assert failure.value.kind is Kind.REQUEST
        assert not http_server.requests

    def test_share_connections(self, http_server: HTTPServer):
        url = http_server.put("/x", b"body")
        with http_server.proxied() as proxy, Transport() as transport:
            url = url.replace(http_server.endpoint, proxy.endpoint)
            for _ in range(20):
                transport.call(Request(url))

            assert len(proxy._connections) == 1

    def test_many_at_a_time_lose_nothing(self, transport: Transport, http_server: HTTPServer, tmp_path: Path):
        urls = [http_server.put(f"/{number}", b"%d" % number * 5000) for number in range(500)]
        gathering = Gathering(len(urls))

        for number, url in enumerate(urls):
            transport.submit(Request(url), PathSink(str(tmp_path / str(number))), gathering)

        assert gathering.wait() == []
        for number in range(len(urls)):
            assert (tmp_path / str(number)).read_bytes() == b"%d" % number * 5000

    def test_of_ranges_fill_one_file(self, transport: Transport, http_server: HTTPServer, tmp_path: Path):
        body = os.urandom(1_000_003)
        url, part = http_server.put("/large", body), 65_536
        starts = range(0, len(body), part)
        gathering = Gathering(len(starts))
        with open(tmp_path / "large", "wb+") as file:
            for start in starts:
                size = min(part, len(body) - start)
                headers = [("Range", f"bytes={start}-{start + size - 1}")]
                sink = FileSink(file.fileno(), offset=start, size=size, ranged=True, holds=10_000)
                transport.submit(Request(url, headers=headers), sink, gathering)

            assert gathering.wait() == []
            assert file.read() == body

    def test_a_server_without_ranges_is_told(
        self, transport: Transport, http_server: HTTPServer, tmp_path: Path
    ):
        url, gathering = http_server.put("/x", b"0123456789", ranges=False), Gathering(1)
        with open(tmp_path / "x", "wb+") as file:
            sink = FileSink(file.fileno(), offset=2, size=3, ranged=True)
            transport.submit(Request(url, headers=[("Range", "bytes=2-4")]), sink, gathering)
            (error,) = gathering.wait()

        assert isinstance(error, TransportError)
        assert error.kind is Kind.RANGE

    @pytest.mark.parametrize("moment", ["begin", "write", "end"])
    def test_a_sink_that_fails_costs_its_own(
        self, transport: Transport, http_server: HTTPServer, moment: str
    ):
        url, gathering = http_server.put("/x", b"body" * 100), Gathering(10)

        class Failing(BytesSink):
            def begin(self, head: Head) -> None:
                self.fail("begin")

            def write(self, chunk: bytes) -> None:
                self.fail("write")

            def end(self) -> None:
                self.fail("end")

            def fail(self, when: str) -> None:
                if when == moment:
                    raise OSError(28, "the disk is full")

        for number in range(10):
            transport.submit(Request(url), Failing(1) if number == 5 else BytesSink(1000), gathering)
        (error,) = gathering.wait()

        assert isinstance(error, OSError)
        assert error.errno == 28

    def test_what_is_done_afterwards_may_fail_or_go_on(
        self, transport: Transport, http_server: HTTPServer, caplog: pytest.LogCaptureFixture
    ):
        url, gathering = http_server.put("/x", b"body"), Gathering(1)

        def done(exchange: Exchange) -> None:
            transport.submit(Request(url), BytesSink(10), gathering)
            with pytest.raises(TransportError):
                transport.call(Request(url))
            raise RuntimeError("a mistake")

        transport.submit(Request(url), BytesSink(10), done)

        assert gathering.wait() == []
        assert transport.call(Request(url)).body == b"body"
        assert "what was to be done after" in caplog.text

    def test_a_mistake_in_the_loop_ends_what_waits(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        # Given a loop that fails over whatever it is to send next
        url, gathering = http_server.put("/x", b"body"), Gathering(3)

        def mistake(*_: object) -> None:
            raise RuntimeError("a mistake")

        with Transport(TransportSettings(threads=1)) as transport:
            with monkeypatch.context() as patch:
                patch.setattr(Window, "started", mistake)
                for _ in range(3):
                    transport.submit(Request(url), BytesSink(10), gathering)
                errors = gathering.wait()

            # Then each of them ends, and the loop goes on
            assert [error.kind for error in errors if isinstance(error, TransportError)] == [
                Kind.INTERNAL
            ] * 3
            assert transport.call(Request(url)).body == b"body"
        assert "a mistake" in caplog.text

    def test_can_be_cancelled(self, transport: Transport, http_server: HTTPServer):
        url, gathering = http_server.put("/x", b"body" * 100), Gathering(1)
        with http_server.proxied() as proxy:
            proxy.fault("/x", Fault(stall_after=10))
            arrived = threading.Event()

            class Sink(BytesSink):
                def write(self, chunk: bytes) -> None:
                    arrived.set()

            exchange = transport.submit(
                Request(url.replace(http_server.endpoint, proxy.endpoint)), Sink(1000), gathering
            )
            assert arrived.wait(30)
            transport.cancel(exchange)
            (error,) = gathering.wait()
            transport.cancel(exchange)

        assert isinstance(error, TransportError)
        assert error.kind is Kind.CANCELLED

    def test_that_nobody_reads_hold_up_no_other(self, transport: Transport, http_server: HTTPServer):
        # given two loops, and more requests than a host first gets at a time, whose sinks take nothing
        url, gathering, paused = http_server.put("/x", b"body"), Gathering(80), threading.Semaphore(0)

        class Full(BytesSink):
            def write(self, chunk: bytes) -> object:
                paused.release()
                return FULL

        exchanges = [transport.submit(Request(url), Full(10), gathering) for _ in range(80)]

        # when each of them pauses, then the next one is sent
        for _ in exchanges:
            assert paused.acquire(timeout=20)
        assert transport.in_flight == 0

        # and so are others
        assert transport.call(Request(url)).body == b"body"
        for exchange in exchanges:
            transport.cancel(exchange)
        assert len(gathering.wait()) == 80

    def test_a_refusing_host_gets_fewer(self, transport: Transport, http_server: HTTPServer):
        url, gathering = http_server.put("/x", b"body"), Gathering(1)
        with http_server.proxied() as proxy:
            proxy.fault("/x", Fault.s3(503, "SlowDown"), times=1)
            transport.submit(
                Request(url.replace(http_server.endpoint, proxy.endpoint)), BytesSink(10), gathering
            )
            (error,) = gathering.wait()
            (ended,) = gathering.ended

            assert isinstance(error, TransportError)
            assert error.transient
            assert ended.outcome is not None
            assert b"<Code>SlowDown</Code>" in ended.outcome.refusal
            assert transport.window(proxy.endpoint) == 16

    def test_redirects_are_followed_one_at_a_time(
        self, transport: Transport, http_server: HTTPServer, other_http_server: HTTPServer
    ):
        url = http_server.redirect("/a", other_http_server.put("/b", b"body"))
        checked: list[str] = []
        request = Request(url, headers=[("Authorization", "secret"), ("x-kept", "1")])

        following = redirected(request, transport.call(request).head, checked.append)
        assert following is not None
        response = transport.call(following)

        assert response.body == b"body"
        assert checked == [other_http_server.endpoint + "/b"]
        assert "authorization" not in other_http_server.requests[-1].headers
        assert other_http_server.requests[-1].headers["x-kept"] == "1"

    def test_passwords_are_those_that_were_set(
        self, transport: Transport, http_server: HTTPServer, clean_environment: Path
    ):
        (clean_environment / ".netrc").write_text("default login u password p\n")
        url = http_server.put("/x", b"body")

        transport.call(Request(url, headers=[("Authorization", "Bearer mine")]))
        assert http_server.requests[-1].headers["authorization"] == "Bearer mine"
        transport.call(Request(url))
        assert "authorization" not in http_server.requests[-1].headers


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "plain",
            "a//b",
            "a b+c%d",
            "q?x=1&y#z",
            "\u00e9\u4e2d",
            "[{|}]^\"<>\\`'()*!$@:;,~",
        ],
    )
    def test_are_signed_as_they_are(self, transport: Transport, s3_server: S3Server, key: str):
        # Given an object whose key no client may alter
        bucket = s3_server.create_bucket()
        url = f"{s3_server.endpoint}/{bucket}/{quote(key, safe='/~')}"
        keys = Credentials(s3_server.access_key, s3_server.secret_key)

        # When it is written and read back
        put = transport.call(Request(url, method="PUT", body=key.encode(), credentials=keys))
        got = transport.call(Request(url, credentials=keys))

        # Then the server has accepted the signatures, and has that very object
        assert (put.status, got.status) == (200, 200), (put.body, got.body)
        assert got.body == key.encode()

    @pytest.mark.parametrize("key", ["a/../b", "./a", "a/..", "..", "a/./b c", "a//../%2e"])
    def test_with_dot_segments_are_sent_as_they_are(self, transport: Transport, key: str):
        with exact_s3() as server:
            url = f"{server.endpoint}/bucket/{quote(key, safe='/')}"
            keys = Credentials("AKID", "secret")

            put = transport.call(Request(url, method="PUT", body=key.encode(), credentials=keys))
            got = transport.call(Request(url, credentials=keys))

        assert (put.status, got.body) == (200, key.encode())
        assert set(server.objects) == {key}

    def test_wrong_ones_are_refused(self, transport: Transport, s3_server: S3Server):
        url = f"{s3_server.endpoint}/{s3_server.create_bucket()}/a"

        assert (
            transport.call(Request(url, credentials=Credentials(s3_server.access_key, "wrong"))).status == 403
        )

    def test_one_handle_signs_for_several(self, transport: Transport, s3_server: S3Server):
        url = f"{s3_server.endpoint}/{s3_server.create_bucket()}/a"
        right, wrong = Credentials(s3_server.access_key, s3_server.secret_key), Credentials("a", "b", "c")

        found = [transport.call(Request(url, credentials=keys)).status for keys in (right, wrong, None) * 5]

        assert found == [404, 403, 403] * 5
