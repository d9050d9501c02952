"""An S3 server that keeps every key exactly as it is sent.

SeaweedFS stores objects in a file system and so refuses keys such as ``a/../b`` or folds ``a//b`` into
``a/b``; Amazon does neither. This one exists to see which key a client really asks for. It checks no
credentials and holds objects in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

_PAGE = 1000
_MODIFIED = "Mon, 02 Feb 2026 12:00:00 GMT"


@dataclass
class ExactS3Server:
    """A running server.

    Attributes:
        objects: the bytes of each key, of whatever bucket is asked for.
        targets: the request targets so far, exactly as on the wire.
        damage: what becomes of an object that is written, instead of nothing.
    """

    port: int
    scheme: str = "http"
    objects: dict[str, bytes] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    damage: Callable[[bytes], bytes] = lambda body: body

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextlib.contextmanager
def exact_s3(*, certificate: str | None = None) -> Iterator[ExactS3Server]:
    """Starts a server on a free port of 127.0.0.1.

    Args:
        certificate: a PEM file with a key and its certificate, for TLS.
    """
    listener = _Listener(("127.0.0.1", 0), _Handler)
    listener.site = ExactS3Server(listener.server_address[1])
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        listener.site.scheme = "https"
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
    site: ExactS3Server

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that distrust the certificate hang up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        site = self.server.site
        site.targets.append(self.path)
        path, _, query = self.path.partition("?")
        _, _, key = path[1:].partition("/")
        if not key:
            self._send(
                200, _listing(site.objects, parse_qs(query)).encode(), {"Content-Type": "application/xml"}
            )
            return
        body = site.objects.get(unquote(key))
        if body is None:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"})
            return
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Last-Modified": _MODIFIED}
        if "range" in self.headers:
            first, last = (int(n) for n in self.headers["range"].removeprefix("bytes=").split("-"))
            part = body[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
            self._send(206, part, headers)
            return
        self._send(200, body, headers)

    def do_PUT(self) -> None:
        site = self.server.site
        site.targets.append(self.path)
        _, _, key = self.path.partition("?")[0][1:].partition("/")
        body = site.damage(self.rfile.read(int(self.headers["content-length"])))
        site.objects[unquote(key)] = body
        self._send(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    do_HEAD = do_GET  # noqa: N815

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _listing(objects: dict[str, bytes], query: dict[str, list[str]]) -> str:
    prefix = query.get("prefix", [""])[0]
    after = query.get("continuation-token", [""])[0]
    # S3 sorts by bytes; NUL in a token would not survive XML.
    keys = sorted((key for key in objects if key.startswith(prefix)), key=str.encode)
    start = int(after) if after else 0
    page, more = keys[start : start + _PAGE], len(keys) > start + _PAGE
    parts = [f"<IsTruncated>{str(more).lower()}</IsTruncated><EncodingType>url</EncodingType>"]
    parts += [f"<NextContinuationToken>{start + _PAGE}</NextContinuationToken>"] * more
    for key in page:
        etag = hashlib.md5(objects[key]).hexdigest()
        parts.append(
            f"<Contents><Key>{escape(quote(key))}</Key><LastModified>2026-02-02T12:00:00.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{len(objects[key])}</Size></Contents>"
        )
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<?xml version="1.0"?><ListBucketResult xmlns="{space}">{"".join(parts)}</ListBucketResult>'
