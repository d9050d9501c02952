"""The transport against servers that are slow, broken or hostile: each costs its own exchange only."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from forebay.transport import (
    BytesSink,
    Kind,
    Limits,
    Request,
    Route,
    Transport,
    TransportError,
    TransportSettings,
)

BODY = bytes(range(256)) * 40
MOST = 64 << 10
QUICK = Limits(connect_seconds=5, idle_seconds=30, min_rate=1000, min_rate_seconds=1.0, total_seconds=30)
IDLE = replace(QUICK, idle_seconds=1.0, min_rate=0)
BRIEF = replace(QUICK, min_rate=0, total_seconds=1.0)

Script = Callable[[socket.socket, threading.Event], object]


def sends(*pieces: bytes, then: Script | None = None) -> Script:
    """Sends pieces one after the other, and closes the connection."""

    def script(client: socket.socket, ended: threading.Event) -> None:
        for piece in pieces:
            client.sendall(piece)
        if then is not None:
            then(client, ended)

    return script


def for_ever(piece: bytes, *, pause: float = 0.0) -> Script:
    def script(client: socket.socket, ended: threading.Event) -> None:
        while not ended.wait(pause):
            client.sendall(piece)

    return script


def waits(client: socket.socket, ended: threading.Event) -> None:
    ended.wait()


def resets(client: socket.socket, ended: threading.Event) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def bytewise(data: bytes) -> Script:
    """Sends each byte in a packet of its own."""
    return sends(*(data[n : n + 1] for n in range(len(data))))


def head(*lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("utf-8")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[str]:
    """A server that reads a request and then does what a script says; gives its URL."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while b"\r\n\r\n" not in received:
                piece = client.recv(65536)
                if not piece:
                    return
                received += piece
            script(client, ended)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/bucket/key?secret=1"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@dataclass(frozen=True)
class Case:
    """A server, and what must come of a request to it: a body, or a kind of failure."""

    name: str
    script: Script
    gives: bytes | Kind
    limits: Limits = QUICK
    route: Route = field(default_factory=Route)
    status: int = 200
    encoding: str = ""


FULL = head(f"Content-Length: {len(BODY)}")
PACKED = gzip.compress(BODY)
CASES = [
    Case("plain", sends(FULL, BODY), BODY),
    Case(
        "closes after each answer",
        sends(head("Connection: close", f"Content-Length: {len(BODY)}"), BODY),
        BODY,
    ),
    Case("one byte a packet", bytewise(FULL + BODY[:600] + BODY[600:]), BODY),
    Case("HTTP/1.0", sends(head(status="HTTP/1.0 200 OK"), BODY), BODY),
    Case("no length at all", sends(head("Connection: close"), BODY), BODY),
    Case("chunked", sends(head("Transfer-Encoding: chunked"), chunked(BODY), b"0\r\n\r\n"), BODY),
    Case(
        "chunked with trailers",
        sends(head("Transfer-Encoding: chunked"), chunked(BODY), b"0\r\nx-checksum: 1\r\n\r\n"),
        BODY,
    ),
    Case("empty", sends(head("Content-Length: 0")), b""),
    Case("nothing but a head", sends(head(status="HTTP/1.1 204 No Content")), b"", status=204),
    Case(
        "interim answers",
        sends(head(status="HTTP/1.1 100 Continue"), head(status="HTTP/1.1 103 Early Hints"), FULL, BODY),
        BODY,
    ),
    Case("more than announced", sends(FULL, BODY, b"and more"), BODY),
    Case(
        "packed though not asked for",
        sends(head("Content-Encoding: gzip", f"Content-Length: {len(PACKED)}"), PACKED),
        PACKED,
        encoding="gzip",
    ),
    Case(
        "packed as asked for",
        sends(head("Content-Encoding: gzip", f"Content-Length: {len(PACKED)}"), PACKED),
        BODY,
        route=Route(decode=True),
        encoding="gzip",
    ),
    Case(
        "not packed as it says",
        sends(head("Content-Encoding: gzip", f"Content-Length: {len(BODY)}"), BODY),
        Kind.ENCODING,
        route=Route(decode=True),
        encoding="gzip",
    ),
    Case(
        "odd headers",
        sends(
            head(
                "ETag: \u00e9\u4e2d",
                "Last-Modified: Thu, 99 Foo 99999999999 99:99:99 GMT",
                "x-amz-meta: \x07",
                f"Content-Length: {len(BODY)}",
            ),
            BODY,
        ),
        BODY,
    ),
    Case("closes without an answer", sends(), Kind.LOST),
    Case("resets", sends(then=resets), Kind.LOST),
    Case("resets in the head", sends(FULL[:20], then=resets), Kind.LOST),
    Case("ends in the head", sends(FULL[:20]), Kind.LOST),
    Case("truncates", sends(FULL, BODY[:-1]), Kind.TRUNCATED),
    Case("resets in the body", sends(FULL, BODY[:1000], then=resets), Kind.LOST),
    Case("truncates a chunk", sends(head("Transfer-Encoding: chunked"), chunked(BODY)[:-10]), Kind.TRUNCATED),
    Case(
        "ends without the last chunk",
        sends(head("Transfer-Encoding: chunked"), chunked(BODY)),
        Kind.TRUNCATED,
    ),
    Case("a chunk of no size", sends(head("Transfer-Encoding: chunked"), b"zz\r\n", BODY), Kind.TRUNCATED),
    Case("Content-Length: two", sends(head("Content-Length: \u00b2"), BODY), Kind.PROTOCOL),
    Case("Content-Length: negative", sends(head("Content-Length: -5"), BODY), Kind.PROTOCOL),
    Case("Content-Length: 5,000 digits", sends(head("Content-Length: " + "9" * 5000), BODY), Kind.PROTOCOL),
    Case(
        "two lengths", sends(head("Content-Length: 5", f"Content-Length: {len(BODY)}"), BODY), Kind.PROTOCOL
    ),
    Case("no HTTP", sends(b"220 mail.example.com ESMTP\r\n\r\n", BODY), Kind.PROTOCOL),
    Case("a status of no number", sends(b"HTTP/1.1 abc\r\n\r\n", BODY), Kind.PROTOCOL),
    Case("an endless body", sends(head(), then=for_ever(b"x" * 65536)), Kind.TOO_LARGE),
    Case(
        "an endless chunked body",
        sends(head("Transfer-Encoding: chunked"), then=for_ever(chunked(b"x" * 4096))),
        Kind.TOO_LARGE,
    ),
    Case("10 TB", sends(head("Content-Length: 10000000000000"), then=for_ever(b"x")), Kind.TOO_LARGE),
    Case(
        "endless headers",
        sends(b"HTTP/1.1 200 OK\r\n", then=for_ever(b"x: " + b"y" * 4096 + b"\r\n")),
        Kind.TOO_LARGE,
    ),
    Case("an endless header", sends(b"HTTP/1.1 200 OK\r\nx: ", then=for_ever(b"y" * 65536)), Kind.TOO_LARGE),
    Case("endless interim answers", for_ever(head(status="HTTP/1.1 103 Early Hints") * 100), Kind.TOO_LARGE),
    Case("never answers", waits, Kind.TIMEOUT, IDLE),
    Case("stops in the head", sends(FULL[:20], then=waits), Kind.TIMEOUT, IDLE),
    Case("stops in the body", sends(FULL, BODY[:1000], then=waits), Kind.TIMEOUT, IDLE),
    Case(
        "drips the body", sends(head("Content-Length: 60000"), then=for_ever(b"x", pause=0.05)), Kind.TOO_SLOW
    ),
    Case(
        "drips headers", sends(b"HTTP/1.1 200 OK\r\n", then=for_ever(b"a:b\r\n", pause=0.05)), Kind.TOO_SLOW
    ),
    Case(
        "drips one header", sends(b"HTTP/1.1 200 OK\r\nx: ", then=for_ever(b"y", pause=0.05)), Kind.TOO_SLOW
    ),
    Case("drips past the overall bound", sends(head(), then=for_ever(b"x", pause=0.02)), Kind.TIMEOUT, BRIEF),
    Case(
        "redirects",
        sends(head("Location: /elsewhere", "Content-Length: 0", status="HTTP/1.1 302 Found")),
        Kind.REFUSED,
        status=302,
    ),
    Case(
        "an error",
        sends(head("Content-Length: 5", status="HTTP/1.1 404 Not Found"), b"oh no"),
        Kind.REFUSED,
        status=404,
    ),
    Case(
        "an error that breaks off",
        sends(head("Content-Length: 500", status="HTTP/1.1 503 Busy"), b"oh no", then=resets),
        Kind.REFUSED,
        status=503,
    ),
    Case(
        "an error without end",
        sends(head(status="HTTP/1.1 500 Oh"), then=for_ever(b"x" * 65536)),
        Kind.REFUSED,
        status=500,
    ),
    Case(
        "an error that drips",
        sends(head(status="HTTP/1.1 500 Oh"), then=for_ever(b"x", pause=0.05)),
        Kind.REFUSED,
        status=500,
    ),
]


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    with Transport(TransportSettings(threads=2, max_refusal_bytes=4096)) as transport:
        yield transport


class Ended(threading.Event):
    def __call__(self, exchange: object) -> None:
        self.set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_server_costs_its_own_exchange_only(transport: Transport, case: Case):
    # Given a server, and another one that answers as it should
    with scripted(case.script) as url, scripted(sends(FULL, BODY)) as good:
        sink, ended, neighbour = BytesSink(MOST), Ended(), Ended()

        # When both are asked at the same time
        exchange = transport.submit(Request(url, limits=case.limits, route=case.route), sink, ended)
        other = transport.submit(Request(good), BytesSink(MOST), neighbour)
        assert ended.wait(60)
        assert neighbour.wait(60)

    # Then each has what it deserves
    outcome = exchange.outcome
    assert outcome is not None
    assert other.outcome is not None
    assert other.outcome.error is None
    if isinstance(case.gives, Kind):
        assert isinstance(outcome.error, TransportError), outcome
        assert outcome.error.kind is case.gives, outcome.error
        assert "secret" not in str(outcome.error)
        assert "127.0.0.1" in str(outcome.error)
        if case.gives is Kind.REFUSED:
            assert outcome.head is not None
            assert outcome.head.status == case.status
            assert len(outcome.refusal) <= 4096
    else:
        assert outcome.error is None
        assert outcome.head is not None
        assert (bytes(sink.data), outcome.head.status) == (case.gives, case.status)
        assert outcome.head.encoding == case.encoding
        # Whatever stands in the headers, to read them raises nothing.
        assert [outcome.head.size, outcome.head.span, outcome.head.headers.time("last-modified")]
        assert all(outcome.head.headers.all(name) for name in outcome.head.headers)


class TestGuard:
    """The address that is connected to decides, whatever the name was resolved to before."""

    def ask(self, transport: Transport, url: str, refused: Sequence[str]) -> tuple[Kind | None, list[str]]:
        asked: list[str] = []

        def guard(address: str) -> bool:
            asked.append(address)
            return address not in refused

        try:
            transport.call(Request(url, route=Route(guard=guard)))
        except TransportError as error:
            return error.kind, asked
        return None, asked

    def test_an_address_is_refused_before_anything_is_sent(self, transport: Transport):
        with scripted(sends(FULL, BODY)) as url:
            kind, asked = self.ask(transport, url, ["127.0.0.1"])

        assert kind is Kind.REFUSED_ADDRESS
        assert asked == ["127.0.0.1"]

    def test_a_name_is_no_way_round(self, transport: Transport):
        with scripted(sends(FULL, BODY)) as url:
            kind, _ = self.ask(transport, url.replace("127.0.0.1", "localhost"), ["127.0.0.1", "::1"])

        assert kind is Kind.REFUSED_ADDRESS

    def test_a_connection_that_stands_already_is_none_either(self):
        # Given a connection that a request without a guard has opened and left
        with scripted(sends(FULL, BODY, then=waits)) as url, Transport() as transport:
            assert transport.call(Request(url)).status == 200

            kind, _ = self.ask(transport, url, ["127.0.0.1"])

        assert kind is Kind.REFUSED_ADDRESS

    def test_an_admitted_address_is_connected_to(self, transport: Transport):
        with scripted(sends(FULL, BODY)) as url:
            kind, asked = self.ask(transport, url, [])

        assert kind is None
        assert set(asked) == {"127.0.0.1"}

    def test_a_guard_that_fails_admits_nothing(self, transport: Transport):
        def guard(address: str) -> bool:
            raise RuntimeError

        with scripted(sends(FULL, BODY)) as url, pytest.raises(TransportError) as failure:
            transport.call(Request(url, route=Route(guard=guard)))

        assert failure.value.kind is Kind.REFUSED_ADDRESS
