"""The transport on real connections: many at a time, TLS, proxies, forks, signals, odd keys."""

from __future__ import annotations

import contextlib
import getpass
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
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
    Route,
    Transport,
    TransportError,
    TransportSettings,
)
from forebay.transport.host_window import Window
from forebay.transport.loop import Loop
from forebay.transport.proxies import proxies_from
from forebay.transport.redirects import redirected
from forebay.transport.tls import TLS, VARIABLES, tls_from
from tests.servers import nginx
from tests.servers.exact_s3 import exact_s3
from tests.servers.http_server import HTTPServer
from tests.servers.process import free_ports, running
from tests.servers.proxy import Fault
from tests.servers.seaweedfs import S3Server

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def transport() -> Iterator[Transport]:
    with Transport(TransportSettings(threads=2)) as transport:
        yield transport


class Gathering:
    """Waits until so many exchanges have ended."""

    def __init__(self, count: int) -> None:
        self.ended: list[Exchange] = []
        self._count, self._all = count, threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        self.ended.append(exchange)
        if len(self.ended) == self._count:
            self._all.set()

    def wait(self) -> list[BaseException]:
        """The errors, once all have ended."""
        assert self._all.wait(120)
        return [one.outcome.error for one in self.ended if one.outcome and one.outcome.error]


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in the same file."""
    directory = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    both = directory / "both.pem"
    both.write_bytes((directory / "cert.pem").read_bytes() + (directory / "key.pem").read_bytes())
    return both


@contextlib.contextmanager
def tls_server(certificate: Path, *, clients: bool = False) -> Iterator[str]:
    """Answers every request with "secure"; gives its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecure")

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


class TestTLS:
    @pytest.fixture(autouse=True)
    def no_bundles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in VARIABLES:
            monkeypatch.delenv(variable, raising=False)

    def test_an_unknown_server_is_refused_with_a_remedy(self, transport: Transport, certificate: Path):
        with tls_server(certificate) as url, pytest.raises(TransportError, match="AWS_CA_BUNDLE") as failure:
            transport.call(Request(url, route=Route(tls=tls_from(os.environ))))

        assert failure.value.kind is Kind.TLS
        assert not failure.value.transient

    @pytest.mark.parametrize("variable", VARIABLES[:-1])
    def test_a_bundle_may_be_the_servers_own_certificate(
        self, transport: Transport, certificate: Path, variable: str
    ):
        route = Route(tls=tls_from({variable: str(certificate)}))
        with tls_server(certificate) as url:
            assert transport.call(Request(url, route=route)).body == b"secure"

    def test_a_bundle_is_all_that_is_trusted(
        self, transport: Transport, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ):
        # libcurl and OpenSSL do not read the environment behind our back.
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with tls_server(certificate) as url, pytest.raises(TransportError):
            transport.call(Request(url, route=Route(tls=tls_from({}))))

    def test_verification_can_be_switched_off(self, transport: Transport, certificate: Path):
        with tls_server(certificate) as url:
            assert transport.call(Request(url, route=Route(tls=TLS(verify=False)))).body == b"secure"
            # And that is good for this route only, not for connections that it has left.
            with pytest.raises(TransportError):
                transport.call(Request(url, route=Route(tls=tls_from({}))))

    def test_a_client_shows_its_certificate(self, transport: Transport, certificate: Path):
        with tls_server(certificate, clients=True) as url:
            tls = tls_from({}, verify=str(certificate), cert=str(certificate))

            assert transport.call(Request(url, route=Route(tls=tls))).body == b"secure"
            with pytest.raises(TransportError):
                transport.call(Request(url, route=Route(tls=TLS(str(certificate)))))


class TestProxies:
    def test_lead_to_the_server(self, transport: Transport, http_server: HTTPServer):
        # A proxy for http:// is asked for whole URLs; any web server will do.
        http_server.put("http://elsewhere.invalid/x", b"by proxy")
        proxy = proxies_from({"http_proxy": http_server.endpoint}).for_url("http://elsewhere.invalid/x")

        response = transport.call(Request("http://elsewhere.invalid/x", route=Route(proxy=proxy)))

        assert response.body == b"by proxy"

    @pytest.mark.parametrize("kind", ["http", "https", "socks4", "socks4a", "socks5", "socks5h"])
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_that_are_dead_are_named(self, transport: Transport, kind: str, scheme: str):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        url = f"{scheme}://127.0.0.1/x?secret"
        proxy = proxies_from({"ALL_PROXY": f"{kind}://user:hidden@127.0.0.1:{port}"}).for_url(url)

        with pytest.raises(TransportError) as failure:
            transport.call(Request(url, route=Route(proxy=proxy)))

        assert failure.value.kind is Kind.PROXY
        assert f"the proxy {kind}://127.0.0.1:{port} cannot be reached" in str(failure.value)
        assert "hidden" not in str(failure.value)

    def test_that_refuse_are_named(self, transport: Transport, http_server: HTTPServer):
        url = "https://elsewhere.invalid/x"
        proxy = proxies_from({"ALL_PROXY": http_server.endpoint}).for_url(url)

        with pytest.raises(TransportError, match=r"the proxy http://127\.0\.0\.1:\d+ .* \(it answers \d+\)"):
            transport.call(Request(url, route=Route(proxy=proxy)))

    def test_that_want_a_password_are_named(self, transport: Transport, http_server: HTTPServer):
        url = "http://elsewhere.invalid/x"
        http_server.put(url, b"who are you?", status=407)
        proxy = proxies_from({"ALL_PROXY": http_server.endpoint}).for_url(url)

        with pytest.raises(TransportError, match=r"the proxy http://127\.0\.0\.1:\d+ .* \(it answers 407\)"):
            transport.call(Request(url, route=Route(proxy=proxy)))

    def test_of_the_environment_are_not_used_behind_our_back(
        self, transport: Transport, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        for variable in ("http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, "http://127.0.0.1:1")

        assert transport.call(Request(http_server.put("/x", b"direct"))).body == b"direct"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::1]"])
    def test_are_not_asked_for_private_addresses(
        self, transport: Transport, http_server: HTTPServer, host: str
    ):
        proxy = proxies_from({"ALL_PROXY": http_server.endpoint}).for_url("http://x")
        route = Route(proxy=proxy, guard=lambda address: address not in ("127.0.0.1", "::1"))

        with pytest.raises(TransportError) as failure:
            transport.call(Request(f"http://{host}/x", route=route))

        assert failure.value.kind is Kind.REFUSED_ADDRESS
        assert not http_server.requests


class TestProcess:
    def test_a_loop_that_fails_begins_anew(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        # Given a transport with a mistake in its loop that shows once
        url, mistakes = http_server.put("/x", b"body"), [RuntimeError("a mistake")]
        finish = Loop._finish

        def fails_once(loop: Loop) -> None:
            if mistakes:
                raise mistakes.pop()
            finish(loop)

        monkeypatch.setattr(Loop, "_finish", fails_once)
        with Transport() as transport:
            # When it is used, then that request fails and the next one does not
            with pytest.raises(TransportError) as failure:
                transport.call(Request(url))

            assert failure.value.kind is Kind.INTERNAL
            assert transport.call(Request(url)).body == b"body"
        assert "event loop failed" in caplog.text

    def test_too_few_descriptors_are_an_error(self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch):
        def no_poller() -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr("forebay.transport.loop.Poller", no_poller)
        with Transport() as transport, pytest.raises(TransportError, match="Too many open files"):
            transport.call(Request(http_server.put("/x", b"body")))

    def test_nothing_leaks_over_10000_requests(self, http_server: HTTPServer):
        # Given a transport that has been used
        good, bad = http_server.put("/x", b"body"), http_server.endpoint + "/missing"
        with Transport(TransportSettings(max_requests=32)) as transport:
            transport.call(Request(good))
            before, threads = descriptors(), threading.active_count()

            # When it sends many requests, some of which fail
            gathering = Gathering(10_000)
            for number in range(10_000):
                transport.submit(Request(bad if number % 10 == 0 else good), BytesSink(10), gathering)
            errors = gathering.wait()

            # Then there are no more descriptors than connections, on both ends, and no more threads
            assert len(errors) == 1000
            assert descriptors() <= before + 2 * 32
            assert transport.in_flight == 0
        assert threading.active_count() < threads + 64

    def test_closing_gives_everything_back(self, http_server: HTTPServer):
        url = http_server.put("/x", b"body")
        before = descriptors()
        for _ in range(20):
            transport = Transport(TransportSettings(threads=2))
            transport.call(Request(url))
            transport.close()
            transport.close()

        # The server closes its ends when it sees fit.
        assert descriptors() <= before + 20 + 2
        with pytest.raises(TransportError, match="closed"):
            transport.call(Request(url))

    def test_closing_ends_what_is_under_way(self, http_server: HTTPServer):
        url = http_server.put("/x", b"body" * 100)
        with http_server.proxied() as proxy:
            proxy.fault("/x", Fault(stall_after=10), times=None)
            url = url.replace(http_server.endpoint, proxy.endpoint)
            transport, gathering = Transport(TransportSettings(first_requests=2)), Gathering(10)
            for _ in range(10):
                transport.submit(Request(url), BytesSink(1000), gathering)
            transport.close()

            assert {error.kind for error in gathering.wait() if isinstance(error, TransportError)} == {
                Kind.CLOSED
            }

    def test_descriptors_above_1023_work(self, http_server: HTTPServer):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 3000:
            pytest.skip("this process may not have as many open files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
        with contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(open("/dev/null"))
            transport = stack.enter_context(Transport())

            assert transport.call(Request(http_server.put("/x", b"body"))).body == b"body"

    def test_an_interrupt_ends_the_wait_and_nothing_else(self, transport: Transport, http_server: HTTPServer):
        url = http_server.put("/x", b"body" * 100)
        with http_server.proxied() as proxy:
            proxy.fault("/x", Fault(stall_after=10), times=1)

            class Interrupting(threading.Thread):
                def run(self) -> None:
                    while not transport.in_flight:
                        pass
                    os.kill(os.getpid(), signal.SIGINT)

            Interrupting(daemon=True).start()
            with pytest.raises(KeyboardInterrupt):
                transport.call(Request(url.replace(http_server.endpoint, proxy.endpoint)))

        assert transport.call(Request(url)).body == b"body" * 100


STORY = """
import multiprocessing, os, sys, threading
from forebay.transport import BytesSink, Request, Transport, TransportSettings
url, objects = sys.argv[1], 50
transport = Transport(TransportSettings(threads=2))

def read_all(transport=transport):
    ended, bodies = threading.Event(), []
    def done(exchange):
        bodies.append(bytes(exchange.sink.data))
        if len(bodies) == objects:
            ended.set()
    for _ in range(objects):
        transport.submit(Request(url), BytesSink(1000), done)
    assert ended.wait(40)
    assert bodies == [b"body" * 100] * objects
    assert transport.call(Request(url)).body == b"body" * 100

def in_children(kind, work):
    context = multiprocessing.get_context(kind)
    children = [context.Process(target=work) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
"""

STORIES = {
    "forked after use": "read_all(); in_children('fork', read_all); read_all()",
    "forked before use": "in_children('fork', read_all); read_all()",
    "forked in a forked child": """
read_all()
in_children('fork', lambda: in_children('fork', read_all))
read_all()
""",
    "forked while busy": """
busy = [threading.Thread(target=read_all) for _ in range(4)]
for one in busy: one.start()
in_children('fork', read_all)
for one in busy: one.join()
""",
    "forked during the first use": """
for _ in range(20):
    fresh = Transport()
    first = threading.Thread(target=lambda: fresh.call(Request(url)))
    first.start()
    child = os.fork()
    if child == 0:
        assert fresh.call(Request(url)).status == 200
        os._exit(0)
    first.join()
    assert os.waitpid(child, 0)[1] == 0
""",
    "a forked child that ends properly": """
read_all()
child = os.fork()
if child == 0:
    read_all()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
read_all()
""",
    "a forked child that closes": """
read_all()
child = os.fork()
if child == 0:
    transport.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
read_all()
""",
    "an exit in the middle": """
for _ in range(50):
    transport.submit(Request(url), BytesSink(1000), lambda exchange: None)
""",
}


@pytest.mark.parametrize("story", STORIES, ids=lambda name: name.replace(" ", "-"))
def test_forks(http_server: HTTPServer, story: str):
    # Each story needs an interpreter of its own.
    url = http_server.put("/x", b"body" * 100)

    run_story(STORY + STORIES[story], url)


@pytest.mark.parametrize("kind", ["spawn", "forkserver"])
def test_other_ways_to_start_children(http_server: HTTPServer, tmp_path: Path, kind: str):
    url = http_server.put("/x", b"body" * 100)
    program = tmp_path / "story.py"
    work = f"read_all(); in_children({kind!r}, read_all)"
    program.write_text(f"{STORY}\nif __name__ == '__main__':\n    {work}\n")

    run_story("", url, program=program)


def run_story(code: str, url: str, *, program: Path | None = None) -> None:
    command = [sys.executable, str(program), url] if program else [sys.executable, "-c", code, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(nginx.find() is None, reason="nginx is not installed")
def test_http_2(transport: Transport, certificate: Path, tmp_path: Path):
    # Given a server of HTTP/2
    (port,) = free_ports()
    (tmp_path / "x").write_bytes(b"body" * 50_000)
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; user {getpass.getuser()}; error_log stderr; pid {tmp_path}/pid; events {{ }}\n"
        f"http {{ access_log off; {nginx.temporary_paths(tmp_path)}\n"
        f"server {{ listen 127.0.0.1:{port} ssl http2; root {tmp_path};\n"
        f"ssl_certificate {certificate}; ssl_certificate_key {certificate}; }} }}\n"
    )
    route = Route(tls=TLS(str(certificate)), http2=True)
    url = f"https://127.0.0.1:{port}/x"

    def serves() -> bool:
        with socket.create_connection(("127.0.0.1", port)):
            return True

    command = [nginx.find() or "", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", "stderr"]
    with running(command, log=tmp_path / "log", ready=serves):
        # When many requests are sent at a time
        gathering = Gathering(100)
        for number in range(100):
            target = url if number % 10 else url + "-missing"
            transport.submit(Request(target, route=route), BytesSink(1_000_000), gathering)
        errors = gathering.wait()

    # Then all are answered over HTTP/2
    assert len(errors) == 10
    heads = [one.outcome.head for one in gathering.ended if one.outcome]
    assert {(one.status, one.version) for one in heads if one} == {(200, "2"), (404, "2")}
