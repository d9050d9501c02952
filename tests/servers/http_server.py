"""A web server of public URLs: redirects, ranges, conditional requests, and a log of what was asked.

    with http_server() as server:
        url = server.put("/images/a.jpg", b"...")
        server.redirect("/old.jpg", url)

Faults such as 503, resets and truncated bodies come from a `Proxy` in front of it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers.proxy import Proxy, Request


@dataclass(frozen=True)
class Resource:
    """What the server answers for one request target.

    Attributes:
        etag: quotes included; ``None`` for none.
        modified: seconds since the epoch; ``None`` for no Last-Modified.
        content_md5: whether to send Content-MD5.
        ranges: whether Range is honoured; if not, the whole body comes with 200.
        sized: whether Content-Length is sent; if not, the end of the connection ends the body.
        head_status: what a HEAD request is answered with instead of its headers.
        status, location: of a redirect or an error.
        authorization: the only Authorization header that is let in.
        encoding: sent as Content-Encoding, whatever the client accepts.
        cookie: sent as Set-Cookie.
    """

    body: bytes = b""
    etag: str | None = None
    modified: float | None = None
    content_type: str = "application/octet-stream"
    content_md5: bool = False
    ranges: bool = True
    sized: bool = True
    head_status: int | None = None
    status: int = 200
    location: str | None = None
    authorization: str | None = None
    encoding: str | None = None
    cookie: str | None = None


@dataclass
class HTTPServer:
    """A running server.

    Attributes:
        resources: by request target, the query string included, exactly as on the wire.
        requests: every request so far.
    """

    host: str
    port: int
    resources: dict[str, Resource] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def put(self, target: str, body: bytes, **options: object) -> str:
        """Serves ``body`` at ``target``, with an ETag and a Last-Modified unless told otherwise.

        Args:
            target: path and query string, percent-encoded.
            options: attributes of `Resource`.
        """
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        resource = Resource(body=body, etag=etag, modified=float(int(time.time()) - 60))
        self.resources[target] = replace(resource, **options)  # type: ignore[arg-type]
        return self.endpoint + target

    def redirect(self, target: str, location: str, *, status: int = 302, cookie: str | None = None) -> str:
        """Answers ``target`` with a redirect."""
        self.resources[target] = Resource(status=status, location=location, cookie=cookie)
        return self.endpoint + target

    def count(self, target: str, method: str = "GET") -> int:
        return sum(r.target == target and r.method == method for r in self.requests)

    @contextlib.contextmanager
    def proxied(self) -> Iterator[Proxy]:
        """A `Proxy` in front of the server: injects faults."""
        with Proxy(self.address) as proxy:
            yield proxy


@contextlib.contextmanager
def http_server(host: str = "127.0.0.1") -> Iterator[HTTPServer]:
    """Starts a server on a free port of ``host``; another loopback address makes it another host."""
    listener = _Listener((host, 0), _Handler)
    listener.site = HTTPServer(host, listener.server_address[1])
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield listener.site
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    site: HTTPServer

    def handle_error(self, request: object, client_address: object) -> None:
        # Clients that hang up are part of the tests.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        site = self.server.site
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.rfile.read(int(headers.get("content-length", 0)))
        request = self._request = Request(self.command, self.path, self.path.partition("?")[0], headers)
        site.requests.append(request)
        resource = site.resources.get(self.path, Resource(body=b"no such page", status=404))
        if resource.authorization not in (None, headers.get("authorization")):
            resource = Resource(body=b"who are you?", status=401)
        self._answer(resource, headers)

    do_HEAD = do_GET  # noqa: N815
    do_POST = do_GET  # noqa: N815

    def _answer(self, resource: Resource, headers: dict[str, str]) -> None:
        if self.command == "HEAD" and resource.head_status is not None:
            return self._send(resource.head_status, {"Content-Length": "0"}, b"")
        if resource.location is not None:
            answer = {"Location": resource.location, "Content-Length": "0"}
            answer |= {"Set-Cookie": resource.cookie} if resource.cookie else {}
            return self._send(resource.status, answer, b"")
        answer = _describe(resource)
        if resource.status == 200 and _is_current(resource, headers):
            return self._send(304, answer, b"")
        status, body = resource.status, resource.body
        span = _span(headers.get("range"), len(body)) if resource.ranges and status == 200 else None
        if span is not None and headers.get("if-range") in (None, resource.etag):
            if span[0] >= len(body):
                return self._send(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"}, b"")
            answer["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{len(body)}"
            status, body = 206, body[span[0] : span[1]]
        if resource.sized:
            answer["Content-Length"] = str(len(body))
        else:
            answer["Connection"] = "close"
        return self._send(status, answer, body)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        # Before the client can have the answer.
        self._request.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _describe(resource: Resource) -> dict[str, str]:
    headers = {"Content-Type": resource.content_type}
    if resource.etag is not None:
        headers["ETag"] = resource.etag
    if resource.modified is not None:
        headers["Last-Modified"] = formatdate(resource.modified, usegmt=True)
    if resource.content_md5:
        headers["Content-MD5"] = base64.b64encode(hashlib.md5(resource.body).digest()).decode()
    if resource.encoding is not None:
        headers["Content-Encoding"] = resource.encoding
    if resource.ranges:
        headers["Accept-Ranges"] = "bytes"
    return headers


def _is_current(resource: Resource, headers: dict[str, str]) -> bool:
    if "if-none-match" in headers:
        return headers["if-none-match"] in (resource.etag, "*")
    if "if-modified-since" in headers and resource.modified is not None:
        return resource.modified <= parsedate_to_datetime(headers["if-modified-since"]).timestamp()
    return False


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    if header is None or not header.startswith("bytes="):
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, size) if last else size
