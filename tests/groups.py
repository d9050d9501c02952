"""Groups of volumes that take objects from each other, and a neighbour that lies."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.index.groups import Groups, Server
from forebay.neighbours.turns import turn_of
from forebay.uri import entry_of
from forebay_worker.serving_neighbours import ServingNeighbours
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey


@dataclass
class Group:
    """Caches of several volumes of one group, each with a server as its worker has one."""

    caches: dict[str, MediaCache]
    servers: dict[str, ServingNeighbours] = field(default_factory=dict)

    def __getitem__(self, volume: str) -> MediaCache:
        return self.caches[volume]

    def counts(self, volume: str) -> dict[str, float]:
        """What this volume's process has counted, without sources."""
        totals: dict[str, float] = {}
        for (name, _), amount in self[volume].engine.counters.counts().items():
            totals[name] = totals.get(name, 0.0) + amount
        return totals


MakeGroup = Callable[..., Group]


@pytest.fixture
def make_group(make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path) -> Iterator[MakeGroup]:
    """Makes a group of volumes; settings are arguments, and those of one volume are by its name."""
    servers: list[ServingNeighbours] = []

    def make(*volumes: str, of: dict[str, dict[str, Any]] | None = None, **settings: Any) -> Group:
        defaults: dict[str, Any] = {"group": "lab", "allowed_sources": ["s3://", http_server.endpoint + "/"]}
        group = Group({})
        for volume in volumes:
            own = {"volume": volume, "cache_dir": str(tmp_path / volume)} | (of or {}).get(volume, {})
            cache = group.caches[volume] = make_cache(**(defaults | settings | own))
            server = group.servers[volume] = ServingNeighbours(cache)
            server.start()
            servers.append(server)
        return group

    yield make
    for server in servers:
        server.stop()


def with_turn(web: HTTPServer, volume: str, volumes: list[str], body: bytes, count: int = 1) -> list[str]:
    """URLs of objects whose turn is a volume's."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        target = f"/{volume}/{number}.bin"
        if turn_of(entry_of(web.endpoint + target), volumes) == volume:
            found.append(web.put(target, body + bytes(f"{number}", "ascii")))
        number += 1
    return found


def content(cache: MediaCache, uri: str) -> bytes:
    return Path(cache.local_path(uri)).read_bytes()


def counted(group: Group, volume: str) -> tuple[float, float, float]:
    """Bytes from the cloud and from neighbours, and how often a neighbour was of no use."""
    counts = group.counts(volume)
    return tuple(counts.get(n, 0.0) for n in ("fetched|cloud", "fetched|neighbour", "retries|neighbour"))  # type: ignore[return-value]


Answer = Callable[[BaseHTTPRequestHandler], None]


class Liar:
    """A neighbour that is registered as any other, and answers as a test has it."""

    def __init__(self, valkey: Valkey, answer: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *arguments: object) -> None: ...

        self._valkey = valkey
        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_address[1]}"
        Thread(target=self.listener.serve_forever, daemon=True).start()

    def join(self, cache: MediaCache) -> None:
        """Registers it as the volume ``liar`` of the group of a cache."""
        groups = Groups(cache.engine.open_index().connection, "lab")
        groups.announce(Server("liar-1", "liar", self.url), 600.0)

    def has(self, uri: str, size: int, etag: str) -> None:
        """Writes into its index that it has an object."""
        self._valkey.client.hset("forebay:{liar}:entries", entry_of(uri), f"{size}|{etag}|1700000000")


def answering(body: bytes, etag: str, *, status: int = 200, length: int | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        if etag:
            request.send_header("ETag", etag)
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = True

    return answer


def hanging_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


BODY, ETAG = b"right" * 200, '"right"'


def call(group: Group, volume: str, path: str, *, data: bytes | None = None, **headers: str) -> Any:
    """Sends a request to a volume's server, with the group's secret unless told otherwise."""
    secret = Groups(group[volume].engine.open_index().connection, "lab").key()
    given = {"Authorization": f"Bearer {secret}"} | {n.replace("_", "-"): v for n, v in headers.items()}
    request = urllib.request.Request(group.servers[volume].server.url + path, data, given)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def ask(group: Group, volume: str, uris: list[str]) -> Any:
    status, _, body = call(group, volume, f"/v1/turns/{volume}", data=json.dumps({"uris": uris}).encode())
    assert status == 200
    return json.loads(body)
