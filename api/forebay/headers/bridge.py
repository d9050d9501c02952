"""Serves a remote object to another program of this machine, at a secret local URL."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from forebay.headers.ranges import RemoteBytes

_PIECE_BYTES = 16 << 10
_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


class Bridge:
    """A local URL at which one object can be read.

    Attributes:
        url: of the object; its last part ends as the object's name does.
        proxy: the URL of a proxy through which only the object can be reached.
        error: the error that reading the object raised, if any.
    """

    def __init__(self, remote: RemoteBytes, name: str, server: _BridgeServer) -> None:
        extension = _EXTENSION.search(name)
        self.remote = remote
        self.path = f"/{secrets.token_urlsafe(32)}/media{extension[0] if extension else ''}"
        self.proxy = f"http://127.0.0.1:{server.server_address[1]}"
        self.url = self.proxy + self.path
        self.error: Exception | None = None


@contextlib.contextmanager
def bridge(remote: RemoteBytes, name: str) -> Iterator[Bridge]:
    """Serves an object on 127.0.0.1, by GET and HEAD of one secret path, until the context ends.

    Args:
        name: the object's name; the URL ends with its extension.
    """
    with _BridgeServer(("127.0.0.1", 0), _BridgeHandler) as server:
        server.bridge = Bridge(remote, name, server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.bridge
        finally:
            server.shutdown()
            thread.join()


class _BridgeServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    bridge: Bridge

    def handle_error(self, request: object, client_address: object) -> None:
        """Does nothing: a reader that closes the connection has read enough."""


class _BridgeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _BridgeServer

    def do_GET(self) -> None:
        bridge = self.server.bridge
        # A proxy is asked with the whole URL.
        parts = urlsplit(self.path)
        if parts.netloc not in ("", urlsplit(bridge.url).netloc) or not secrets.compare_digest(
            parts.path.encode(), bridge.path.encode()
        ):
            self.send_error(404)
            return
        start, end = self._span(bridge.remote.size)
        if start >= end:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{bridge.remote.size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{bridge.remote.size}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self._send(start, end)

    do_HEAD = do_GET  # noqa: N815

    def _span(self, size: int) -> tuple[int, int]:
        span = _RANGE.match(self.headers.get("Range", "bytes=0-"))
        if span is None:
            return 0, size
        return int(span[1]), min(int(span[2]) + 1, size) if span[2] else size

    def _send(self, start: int, end: int) -> None:
        bridge = self.server.bridge
        # Bytes that are still in buffers when the reader seeks elsewhere were fetched in vain.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE_BYTES)
        self.close_connection = True
        while start < end:
            try:
                piece = bridge.remote.read_at(start, min(_PIECE_BYTES, end - start))
            except Exception as error:
                bridge.error = error
                return
            if not piece:
                return
            self.wfile.write(piece)
            start += len(piece)

    def log_message(self, format: str, *args: object) -> None:
        pass
