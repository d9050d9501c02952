"""An HTTP proxy in front of a real server: counts requests and breaks them on order.

It forwards byte for byte, the Host header included, so that signatures made for the proxy's address
stay valid. One client connection is one thread and one connection to the server.

    with Proxy(server.address) as proxy:
        proxy.fault("/bucket/key", Fault(status=503), times=2)
        ...
        assert proxy.count("GET", "/bucket/key") == 3
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from typing_extensions import Self

_CHUNK = 1 << 16


@dataclass
class Request:
    """One request that came by.

    Attributes:
        target: the request target exactly as it was on the wire.
        path: the target without its query string, percent-decoded.
        headers: with names in lower case.
        status: of the answer; 0 while there is none, or when the connection was cut before one.
        sent: bytes of the answer's body that were passed on.
        arrived: when it came, in seconds of ``time.monotonic``.
        given_up: whether the client hung up while its answer was delayed.
    """

    method: str
    target: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    arrived: float = field(default_factory=time.monotonic)
    given_up: bool = False

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True)
class Fault:
    """What to do to a request instead of answering it properly. The parts combine.

    Attributes:
        delay: seconds before anything is answered.
        status: answer with this status, and do not ask the server at all.
        body, headers: of that answer.
        truncate_after: close the connection, properly, after so many bytes of the body.
        reset_after: reset the connection (RST) after so many bytes of the body.
        stall_after: after so many bytes of the body send nothing more, until the client gives up.
        hang_up: close the connection without any answer.
    """

    delay: float = 0.0
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    truncate_after: int | None = None
    reset_after: int | None = None
    stall_after: int | None = None
    hang_up: bool = False

    @classmethod
    def s3(cls, status: int, code: str, message: str = "injected") -> Fault:
        """An error as S3 servers write it, for instance ``Fault.s3(503, "SlowDown")``."""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return cls(status=status, body=body.encode(), headers={"Content-Type": "application/xml"})


def _readable(connection: socket.socket, seconds: float) -> bool:
    """Whether something arrives in time; unlike select(2), also on descriptors above 1,023."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


class Proxy:
    """Forwards to ``upstream`` and listens on a free port of 127.0.0.1 until it is closed."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.host, self.port = self._listener.getsockname()
        self.endpoint = f"http://{self.host}:{self.port}"
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._faults: list[_Planned] = []
        self._closed = threading.Event()
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    # What tests use

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of arrival."""
        with self._lock:
            return list(self._requests)

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """How many requests came with this method and percent-decoded path."""
        return sum(
            (method is None or r.method == method) and (path is None or r.path == path) for r in self.requests
        )

    def counts(self, method: str = "GET") -> dict[str, int]:
        """How often each path was requested."""
        counts: dict[str, int] = {}
        for request in self.requests:
            if request.method == method:
                counts[request.path] = counts.get(request.path, 0) + 1
        return counts

    def fault(
        self, path: str | None, fault: Fault, *, times: int | None = None, method: str | None = "GET"
    ) -> None:
        """Breaks the next ``times`` requests (or all) of ``path``, percent-decoded (or of every path)."""
        with self._lock:
            self._faults.append(_Planned(path, method, fault, times))

    def reset(self) -> None:
        """Forgets the requests and the faults."""
        with self._lock:
            self._requests.clear()
            self._faults.clear()

    def close(self) -> None:
        self._closed.set()
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # How it works

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._connections.add(client)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with (
                client,
                socket.create_connection(self.upstream) as server,
                contextlib.suppress(_EndedError, OSError),
            ):
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                to_client, to_server = _Stream(client), _Stream(server)
                while self._exchange(to_client, to_server):
                    pass
        finally:
            with self._lock:
                self._connections.discard(client)

    def _exchange(self, client: _Stream, server: _Stream) -> bool:
        """Passes one request and its answer; returns whether the connection can serve another."""
        head = client.read_head()
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        headers = _headers(head)
        request = Request(method, target, unquote(urlsplit(target).path), headers)
        fault = self._admit(request)
        if headers.get("expect", "").lower() == "100-continue":
            client.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault.delay:
            self._closed.wait(fault.delay)
            request.given_up = client.has_ended
        if fault.hang_up:
            return False
        if fault.status is not None:
            for _ in _body(client, headers):
                pass
            request.status = fault.status
            client.socket.sendall(_answer(fault, method))
            return True
        server.socket.sendall(head)
        for piece in _body(client, headers):
            server.socket.sendall(piece)
        return self._return(client, server, request, fault)

    def _return(self, client: _Stream, server: _Stream, request: Request, fault: Fault) -> bool:
        head = server.read_head()
        while head.startswith((b"HTTP/1.1 100", b"HTTP/1.0 100")):
            head = server.read_head()
        headers = _headers(head)
        request.status = int(head.split(b" ", 2)[1])
        client.socket.sendall(head)
        if request.method == "HEAD" or request.status in (204, 304):
            return True
        until = min(
            (n for n in (fault.truncate_after, fault.reset_after, fault.stall_after) if n is not None),
            default=None,
        )
        for piece in _body(server, headers, to_end=True):
            if until is not None and request.sent + len(piece) >= until:
                client.socket.sendall(piece[: until - request.sent])
                request.sent = until
                self._break(client.socket, fault)
                return False
            # Counted first, so that whoever has an answer finds it counted.
            request.sent += len(piece)
            client.socket.sendall(piece)
        return "content-length" in headers or "transfer-encoding" in headers

    def _break(self, client: socket.socket, fault: Fault) -> None:
        if fault.stall_after is not None:
            # The client gives up by closing its end, which makes the socket readable.
            while not self._closed.is_set() and not _readable(client, 0.2):
                pass
        elif fault.reset_after is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _admit(self, request: Request) -> Fault:
        with self._lock:
            self._requests.append(request)
            for planned in self._faults:
                if planned.takes(request):
                    return planned.fault
        return Fault()


@dataclass
class _Planned:
    path: str | None
    method: str | None
    fault: Fault
    times: int | None

    def takes(self, request: Request) -> bool:
        if (
            self.times == 0
            or self.path not in (None, request.path)
            or self.method not in (None, request.method)
        ):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class _EndedError(Exception):
    """The other side closed its connection."""


class _Stream:
    """A socket with what was read beyond what was wanted."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._ahead = b""

    def read_head(self) -> bytes:
        while (end := self._ahead.find(b"\r\n\r\n")) < 0:
            self._ahead += self._receive()
        head, self._ahead = self._ahead[: end + 4], self._ahead[end + 4 :]
        return head

    def read_line(self) -> bytes:
        while (end := self._ahead.find(b"\r\n")) < 0:
            self._ahead += self._receive()
        line, self._ahead = self._ahead[: end + 2], self._ahead[end + 2 :]
        return line

    def read_some(self, limit: int) -> bytes:
        piece = self._ahead or self._receive()
        piece, self._ahead = piece[:limit], piece[limit:]
        return piece

    @property
    def has_ended(self) -> bool:
        """Whether the other side has closed its connection, and nothing is left to read."""
        if self._ahead or not _readable(self.socket, 0.0):
            return False
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _receive(self) -> bytes:
        piece = self.socket.recv(_CHUNK)
        if not piece:
            raise _EndedError
        return piece


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {
        name.lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }


def _body(stream: _Stream, headers: dict[str, str], *, to_end: bool = False) -> Iterator[bytes]:
    """The pieces of a message's body as they are on the wire, the frames of chunks included."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while True:
            line = stream.read_line()
            yield line
            size = int(line.split(b";")[0], 16)
            yield from _exactly(stream, size + 2)
            if size == 0:
                return
    elif "content-length" in headers:
        yield from _exactly(stream, int(headers["content-length"]))
    elif to_end:
        with contextlib.suppress(_EndedError):
            while True:
                yield stream.read_some(_CHUNK)


def _exactly(stream: _Stream, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read_some(size)
        size -= len(piece)
        yield piece


def _answer(fault: Fault, method: str) -> bytes:
    lines = [f"HTTP/1.1 {fault.status} Injected", f"Content-Length: {len(fault.body)}"]
    lines += [f"{name}: {value}" for name, value in fault.headers.items()]
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1") + (b"" if method == "HEAD" else fault.body)
