"""Serves this volume's objects to the other volumes of its group, over HTTP.

* ``GET /v1/objects/VOLUME/ENTRY`` sends an entry, or a range of it; of what is still arriving, what is there,
  and the rest as it comes.
* ``POST /v1/turns/VOLUME`` names objects that this volume is to bring, and tells which of them it cannot, and
  which can be read while they arrive.

Each request shows the group's secret. Nothing else is served: no name of a file is ever taken from a request.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import socket
import socketserver
import ssl
import sys
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes

from forebay.cache import MediaCache
from forebay.errors import ForebayError
from forebay.neighbours.asking_turns import MOST, TURNS
from forebay.neighbours.neighbour_source import OBJECTS
from forebay_worker.bringing import Bringing
from forebay_worker.offers import Offer, offer

log = logging.getLogger(__name__)

# Of a body that names objects: each URI has some thousand characters at most, and mostly a hundred.
_MAX_BODY = 4 << 20
_IDLE_SECONDS = 60.0
# So many requests wait for what still arrives at most, about: they take a thread each, and a place in flight
# from what else the neighbour wants.
_MOST_FOLLOWING = 64
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{1,15})")


class NeighbourServer(ThreadingHTTPServer):
    """The server of one worker.

    Args:
        cache: the volume's.
        host, port: to listen at; port 0 for one that is free.
        secret: the group's.
        tls: the certificate to show; ``None`` for plain HTTP.

    Attributes:
        following: the requests that read an object while it arrives.

    Raises:
        OSError: the address cannot be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self, cache: MediaCache, host: str, port: int, secret: str, tls: ssl.SSLContext | None
    ) -> None:
        self.cache = cache
        self.secret = secret.encode()
        self.tls = tls
        self.bringing = Bringing(cache)
        self.following: set[object] = set()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Without the look-up of its own name, which takes seconds where no name server knows it.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        # Who hangs up has its reasons. Whatever else is wrong with one request is that request's alone.
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.warning("a request of a neighbour failed: %s", error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: NeighbourServer

    def setup(self) -> None:
        if self.server.tls is not None:
            # Here, and not where connections are accepted: a handshake waits for the other side.
            self.request.settimeout(_IDLE_SECONDS)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:
            # The server closes the socket that it knows, and this one has taken its place.
            self.request.close()

    def version_string(self) -> str:
        return "forebay"

    def log_message(self, format: str, *arguments: object) -> None:
        # A request's line may have the signature of a URL in it.
        pass

    def do_GET(self) -> None:
        self._answered(self._send_object)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._answered(self._take_turns)

    def _answered(self, work: Callable[[], None]) -> None:
        if not self._is_known():
            self.close_connection = True
            self._refuse(401)
            return
        try:
            work()
        except ForebayError as error:
            log.warning("a neighbour is told to look elsewhere: %s", error)
            self.close_connection = True
            self._refuse(500)

    def _is_known(self) -> bool:
        given = (self.headers.get("Authorization") or "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, b"Bearer " + self.server.secret)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _rest(self, prefix: str) -> str | None:
        """What follows the volume's name in the path; ``None`` where that is not this one's."""
        start = f"{prefix}/{self.server.cache.config.volume}"
        return self.path[len(start) :] if self.path.startswith(start) else None

    def _send_object(self) -> None:
        rest = self._rest(OBJECTS)
        found = None
        if rest is not None and rest.startswith("/"):
            found = offer(self.server.cache, os.fsdecode(unquote_to_bytes(rest[1:])))
        if found is None:
            self._refuse(404)
            return
        with found.file:
            self._send_file(found)

    def _send_file(self, found: Offer) -> None:
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != found.etag:
            self._refuse(412)
            return
        start, end = 0, found.size
        match = _RANGE.fullmatch(self.headers.get("Range") or "")
        if match is not None:
            start, end = int(match[1]), min(int(match[2]) + 1, found.size)
            if start >= end:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{found.size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(200 if match is None else 206)
        if match is not None:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{found.size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        if found.etag:
            self.send_header("ETag", found.etag)
        if found.modified is not None and found.modified >= 0:
            self.send_header("Last-Modified", formatdate(found.modified, usegmt=True))
        self.end_headers()
        if self.command == "HEAD" or end == start:
            return
        if self._send_bytes(found, start, end) != end:
            # The file is shorter than it was, or does not arrive: the other side notices by the end of the
            # connection.
            self.close_connection = True

    def _send_bytes(self, found: Offer, start: int, end: int) -> int:
        """Sends a part of a file as far as it comes; returns up to where."""
        done, server = start, self.server
        if found.arrival is not None:
            server.following.add(self)
        try:
            while done < end:
                there = end if found.arrival is None else found.arrival.wait(done, end)
                sent = self.connection.sendfile(found.file, done, there - done) if there > done else 0
                server.cache.engine.counters.served(sent)
                done += sent
                if not sent:
                    break
        finally:
            server.following.discard(self)
        return done

    def _take_turns(self) -> None:
        length = self.headers.get("Content-Length") or ""
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self.close_connection = True
            self._refuse(413)
            return
        body = self.rfile.read(int(length))
        if self._rest(TURNS) != "":
            self._refuse(404)
            return
        uris = _uris(body)
        if uris is None:
            self._refuse(400)
            return
        bringing = self.server.bringing
        has_room = len(self.server.following) < _MOST_FOLLOWING
        failed, arriving = bringing.bring(uris, tells_arriving=has_room)
        told = {"failed": failed, "arriving": arriving, "progress": bringing.progress()}
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _uris(body: bytes) -> list[str] | None:
    """The URIs that a body names; ``None`` where it cannot be read."""
    try:
        found = json.loads(body)
        uris = found["uris"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(uris, list) or len(uris) > MOST or not all(isinstance(uri, str) for uri in uris):
        return None
    return uris
