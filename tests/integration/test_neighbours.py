"""Volumes of one group take objects from each other: each leaves the cloud once."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ObjectNotFoundError, SourceNotAllowedError
from forebay.index.groups import GroupKeys, Groups, Server
from forebay.index.keys import Keys
from forebay.neighbours import asking_turns, neighbour_source
from forebay.neighbours.neighbour_source import OBJECTS
from forebay.neighbours.turns import turn_of
from forebay.transport import Limits
from forebay.uri import entry_of, parse
from forebay_worker.serving_neighbours import ServingNeighbours
from tests.caches import MakeCache
from tests.servers.certificates import self_signed
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.workers import worker


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


def test_what_a_neighbour_has_is_taken_from_there(make_group: MakeGroup, http_server: HTTPServer) -> None:
    group = make_group("a", "b")
    url = http_server.put("/x.bin", b"pixels" * 1000)
    assert content(group["a"], url) == b"pixels" * 1000

    assert content(group["b"], url) == b"pixels" * 1000

    assert http_server.count("/x.bin") == 1
    # With the etag of the cloud, so that an update finds it current.
    values = [group[v].engine.open_index().entries.values([entry_of(url)])[0] for v in "ab"]
    assert values[0] is not None
    assert values[1] is not None
    assert values[0].etag == values[1].etag == http_server.resources["/x.bin"].etag


def test_a_copy_that_is_older_than_the_maximum_age_is_not_taken(
    make_group: MakeGroup, http_server: HTTPServer, valkey: Valkey
) -> None:
    # given a neighbour that fetched an object itself, and long ago, which has changed since
    group = make_group("a", "b", of={"b": {"max_age": "7d"}})
    [url] = with_turn(http_server, "a", ["a", "b"], b"old")
    assert content(group["a"], url).startswith(b"old")
    [value] = group["a"].engine.open_index().entries.values([entry_of(url)])
    assert value is not None
    valkey.client.hset(Keys("a").entries, entry_of(url), replace(value, fetched=1).format())
    http_server.put(url.removeprefix(http_server.endpoint), b"new")

    # then a volume that takes none so old has the new one, and the other one what it had
    assert content(group["b"], url) == b"new"
    assert content(group["a"], url).startswith(b"old")


def test_three_volumes_at_the_same_time_download_each_object_once(
    make_group: MakeGroup, http_server: HTTPServer
) -> None:
    group = make_group("a", "b", "c")
    bodies = {f"/{n}.bin": bytes(f"{n}", "ascii") * 500 for n in range(150)}
    urls = [http_server.put(target, body) for target, body in bodies.items()]

    with ThreadPoolExecutor(3) as pool:
        jobs = list(pool.map(lambda volume: group[volume].download_media(urls), "abc"))

    assert [job.status().failed for job in jobs] == [0, 0, 0]
    assert {target: http_server.count(target) for target in bodies} == dict.fromkeys(bodies, 1)
    for volume in "abc":
        assert [content(group[volume], url) for url in urls] == list(bodies.values())


def counted(group: Group, volume: str) -> tuple[float, float, float]:
    """Bytes from the cloud and from neighbours, and how often a neighbour was of no use."""
    counts = group.counts(volume)
    return tuple(counts.get(n, 0.0) for n in ("fetched|cloud", "fetched|neighbour", "retries|neighbour"))  # type: ignore[return-value]


# What goes wrong at a neighbour that says that it has the object


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
LIES = {
    "another etag": answering(BODY, '"wrong"'),
    "no etag": answering(BODY, ""),
    "another size": answering(BODY + b"more", ETAG),
    "a short body": answering(BODY[:100], ETAG, length=len(BODY)),
    "evicted": answering(b"", "", status=404),
    "a wrong key": answering(b"", "", status=401),
    "broken": answering(b"", "", status=500),
    "hangs up": hanging_up,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_neighbour_that_lies_costs_a_request_to_the_cloud(
    make_group: MakeGroup, http_server: HTTPServer, valkey: Valkey, lie: str
) -> None:
    group = make_group("a")
    liar = Liar(valkey, LIES[lie])
    liar.join(group["a"])
    url = http_server.put("/x.bin", BODY, etag=ETAG)
    liar.has(url, len(BODY), ETAG)

    assert content(group["a"], url) == BODY

    assert http_server.count("/x.bin") == 1
    assert counted(group, "a") == (len(BODY), 0, 1)


def test_a_neighbour_that_is_gone_costs_a_request_to_the_cloud(
    make_group: MakeGroup, http_server: HTTPServer, valkey: Valkey
) -> None:
    group = make_group("a", max_attempts=1)
    liar = Liar(valkey, hanging_up)
    liar.join(group["a"])
    liar.listener.server_close()
    url = http_server.put("/x.bin", BODY, etag=ETAG)
    liar.has(url, len(BODY), ETAG)

    assert content(group["a"], url) == BODY

    assert http_server.count("/x.bin") == 1


def test_a_neighbour_that_hangs_up_is_not_asked_again_for_a_while(
    make_group: MakeGroup, http_server: HTTPServer, valkey: Valkey
) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        hanging_up(request)

    group = make_group("a")
    liar = Liar(valkey, answer)
    liar.join(group["a"])
    urls = [http_server.put(f"/{n}.bin", BODY, etag=ETAG) for n in range(5)]
    for url in urls:
        liar.has(url, len(BODY), ETAG)

    assert [content(group["a"], url) for url in urls] == [BODY] * 5

    assert len(asked) == 1


def test_a_neighbour_that_says_nothing_costs_a_request_to_the_cloud(
    make_group: MakeGroup, http_server: HTTPServer, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbour_source, "LIMITS", Limits(idle_seconds=0.3))
    ended = Event()
    group = make_group("a")
    liar = Liar(valkey, lambda request: ended.wait(30) and None)
    liar.join(group["a"])
    url = http_server.put("/x.bin", BODY, etag=ETAG)
    liar.has(url, len(BODY), ETAG)

    assert content(group["a"], url) == BODY

    ended.set()
    assert http_server.count("/x.bin") == 1


def test_wrong_bytes_are_noticed_where_checksums_are_verified(
    make_group: MakeGroup, s3_server: S3Server, s3_bucket: str, s3_environment: object, valkey: Valkey
) -> None:
    group = make_group("a", verify_checksums=True, max_attempts=1)
    uri = s3_server.put(s3_bucket, "x.bin", BODY)
    etag = group["a"].engine.sources.for_uri(parse(uri)).head(parse(uri)).etag
    assert etag is not None
    liar = Liar(valkey, answering(b"wrong" * 200, etag))
    liar.join(group["a"])
    liar.has(uri, len(BODY), etag)

    assert content(group["a"], uri) == BODY

    assert counted(group, "a") == (len(BODY), 0, 1)


def test_what_cannot_be_verified_comes_from_the_cloud_where_checksums_are(
    make_group: MakeGroup, http_server: HTTPServer
) -> None:
    group = make_group("a", "b", verify_checksums=True)
    url = http_server.put("/x.bin", BODY)

    assert [content(group[volume], url) for volume in "ab"] == [BODY, BODY]

    assert http_server.count("/x.bin") == 2


def test_what_was_evicted_in_between_comes_from_the_cloud(
    make_group: MakeGroup, http_server: HTTPServer
) -> None:
    group = make_group("a", "b")
    [url] = with_turn(http_server, "b", ["a", "b"], BODY)
    # The index still has it when it is asked, and the file is gone when the neighbour is.
    Path(group["b"].local_path(url)).unlink()

    assert content(group["a"], url).startswith(BODY)

    assert http_server.count(url.removeprefix(http_server.endpoint)) == 2
    assert counted(group, "a")[1:] == (0, 1)


# Turns


def test_whose_turn_it_is_brings_an_object_for_others(make_group: MakeGroup, http_server: HTTPServer) -> None:
    group = make_group("a", "b")
    [url] = with_turn(http_server, "b", ["a", "b"], BODY)

    assert content(group["a"], url).startswith(BODY)

    assert http_server.count(url.removeprefix(http_server.endpoint)) == 1
    assert counted(group, "a")[0] == 0
    assert counted(group, "b")[1] == 0
    assert counted(group, "a")[1] == counted(group, "b")[0] > 0


def test_an_asked_volume_fetches_from_the_cloud_though_another_has_the_turn(
    make_group: MakeGroup, http_server: HTTPServer
) -> None:
    # given an object whose turn is a's
    group = make_group("a", "b")
    [url] = with_turn(http_server, "a", ["a", "b"], BODY)

    # when b is asked to bring it, by somebody who sees another group
    assert ask(group, "b", [url])["failed"] == []

    # then b does not ask a
    wait_until(lambda: group.counts("b").get("objects|downloaded") == 1)
    assert counted(group, "b")[1] == 0
    assert group.counts("a") == {}


def test_the_asked_volume_keeps_its_own_rules(make_group: MakeGroup, http_server: HTTPServer) -> None:
    group = make_group("a", "b", of={"b": {"allowed_sources": ["s3://"]}})
    [url] = with_turn(http_server, "b", ["a", "b"], BODY)
    assert ask(group, "b", [url, "no uri", "s3://photos/x"])["failed"] == [0, 1]

    assert content(group["a"], url).startswith(BODY)

    assert http_server.count(url.removeprefix(http_server.endpoint)) == 1
    assert counted(group, "a")[1:] == (0, 0)


def test_what_a_volume_may_not_fetch_it_does_not_take_from_a_neighbour(
    make_group: MakeGroup, http_server: HTTPServer
) -> None:
    group = make_group("a", "b", of={"a": {"allowed_sources": ["s3://"]}})
    url = http_server.put("/x.bin", BODY)
    assert content(group["b"], url) == BODY

    with pytest.raises(SourceNotAllowedError):
        group["a"].local_path(url)

    assert group.counts("b").get("served_bytes", 0.0) == 0.0


@pytest.mark.usefixtures("no_roots")
def test_a_file_of_this_machine_is_not_taken_from_a_volume_of_another(
    make_group: MakeGroup, tmp_path: Path
) -> None:
    # given a path that means one file on the first machine, and later another on the second
    nas = tmp_path / "nas"
    nas.mkdir()
    group = make_group("a", "b", local_roots=[str(nas)])
    (nas / "x.bin").write_bytes(b"of the first")
    assert content(group["a"], str(nas / "x.bin")) == b"of the first"
    (nas / "x.bin").write_bytes(b"of the second")

    assert content(group["b"], str(nas / "x.bin")) == b"of the second"


def test_what_the_asked_volume_cannot_have_is_asked_of_the_cloud(
    make_group: MakeGroup, http_server: HTTPServer
) -> None:
    group = make_group("a", "b")
    [url] = with_turn(http_server, "b", ["a", "b"], BODY)
    del http_server.resources[url.removeprefix(http_server.endpoint)]

    with pytest.raises(ObjectNotFoundError):
        group["a"].local_path(url)


TURNS = {
    "does not answer": hanging_up,
    "nonsense": answering(b"[1]", ""),
    "refuses": answering(b"", "", status=401),
    "cannot": answering(b'{"failed": [0], "progress": "1"}', ""),
    "never brings it": answering(b'{"failed": [], "progress": "1"}', ""),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_that_nobody_takes_costs_a_request_to_the_cloud(
    make_group: MakeGroup,
    http_server: HTTPServer,
    valkey: Valkey,
    monkeypatch: pytest.MonkeyPatch,
    turn: str,
) -> None:
    monkeypatch.setattr(asking_turns, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(asking_turns, "AGAIN_SECONDS", 0.1)
    group = make_group("a")
    Liar(valkey, TURNS[turn]).join(group["a"])
    [url] = with_turn(http_server, "liar", ["a", "liar"], BODY)

    assert content(group["a"], url).startswith(BODY)

    assert http_server.count(url.removeprefix(http_server.endpoint)) == 1


# The server


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


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def object_path(uri: str, volume: str = "a") -> str:
    return f"{OBJECTS}/{volume}/" + urllib.request.quote(entry_of(uri), safe="")


def test_the_server_sends_what_is_published_and_nothing_else(
    make_group: MakeGroup, http_server: HTTPServer, tmp_path: Path
) -> None:
    group = make_group("a")
    url = http_server.put("/x.bin", b"0123456789", etag=ETAG)
    path = object_path(url)
    assert call(group, "a", path)[0] == 404
    group["a"].local_path(url)

    # The whole, a range, its end, beyond its end, another version.
    status, headers, body = call(group, "a", path)
    assert (status, headers["ETag"], body) == (200, ETAG, b"0123456789")
    status, headers, body = call(group, "a", path, Range="bytes=2-4", If_Match=ETAG)
    assert (status, headers["Content-Range"], body) == (206, "bytes 2-4/10", b"234")
    assert call(group, "a", path, Range="bytes=8-99")[2] == b"89"
    assert call(group, "a", path, Range="bytes=10-11")[0] == 416
    assert call(group, "a", path, If_Match='"other"')[0] == 412

    # Cut short on the disk since.
    copy = Path(group["a"].local_path(url))
    copy.write_bytes(b"01234")
    assert call(group, "a", path)[0] == 404
    copy.write_bytes(b"0123456789")

    # Without the secret, with another one, of another volume, or what is no entry.
    for secret in ("", "Bearer ", "Bearer x", "Basic x"):
        assert call(group, "a", path, Authorization=secret)[0] == 401
        assert call(group, "a", "/v1/turns/a", data=b"{}", Authorization=secret)[0] == 401
    assert call(group, "a", object_path(url, "b"))[0] == 404
    (tmp_path / "a" / "secret").write_bytes(b"secret")
    for wrong in ("..%2Fsecret", "%2Fetc%2Fpasswd", "media%2F..%2Fsecret", "%00", ""):
        assert call(group, "a", f"{OBJECTS}/a/{wrong}")[0] == 404
    assert call(group, "a", "/")[0] == 404
    for wrong_body in (b"{", b"[]", b'{"uris": 1}', b'{"uris": [1]}'):
        assert call(group, "a", "/v1/turns/a", data=wrong_body)[0] == 400


def test_a_large_object_comes_in_ranges(make_group: MakeGroup, http_server: HTTPServer) -> None:
    group = make_group("a", "b", range_size_bytes=1 << 20)
    body = bytes(range(256)) * (14 << 10)
    [url] = with_turn(http_server, "a", ["a", "b"], body)
    body += url.rpartition("/")[2].removesuffix(".bin").encode()
    assert content(group["a"], url) == body
    asked = len(http_server.requests)

    assert content(group["b"], url) == body

    assert len(http_server.requests) == asked
    assert counted(group, "b") == (0, len(body), 0)
    wait_until(lambda: group.counts("a")["served_bytes"] >= len(body))


def test_neighbours_speak_tls_and_check_whom_they_speak_to(
    make_group: MakeGroup, http_server: HTTPServer, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path / "group.pem")
    other = self_signed(tmp_path / "other.pem")
    tls = {"group_tls_cert": certificate}
    group = make_group("a", "b", "c", of={"a": tls, "b": tls, "c": {"group_tls_cert": other}})
    assert group.servers["a"].server.url.startswith("https://")
    url = http_server.put("/x.bin", BODY)
    [mine] = with_turn(http_server, "a", ["a", "b", "c"], BODY)

    assert content(group["a"], url) == BODY
    before = http_server.count("/x.bin")
    assert content(group["b"], url) == BODY
    assert http_server.count("/x.bin") == before

    # c trusts another certificate: it gets nothing from them, but what it wants.
    assert content(group["a"], mine) == content(group["c"], mine)
    assert counted(group, "c")[1] == 0


def test_the_secret_is_not_sent_without_tls_where_there_should_be_some(
    make_group: MakeGroup, http_server: HTTPServer, tmp_path: Path
) -> None:
    tls = {"group_tls_cert": self_signed(tmp_path / "group.pem")}
    group = make_group("a", "b", of={"b": tls})
    url = http_server.put("/x.bin", BODY)

    assert [content(group[volume], url) for volume in "ab"] == [BODY, BODY]

    assert http_server.count("/x.bin") == 2


def test_the_secret_is_made_once_and_found_nowhere_else(
    make_group: MakeGroup, http_server: HTTPServer, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    group = make_group("a", "b")
    secret = valkey.client.get(GroupKeys("lab").key)
    url = http_server.put("/x.bin", BODY)
    Path(group["b"].local_path(url)).unlink()
    group["a"].local_path(url)

    assert secret == Groups(group["b"].engine.open_index().connection, "lab").key()
    assert len(str(secret)) >= 32
    assert str(secret) not in caplog.text
    keys = [str(key) for key in valkey.client.scan_iter("forebay:group:*")]
    assert keys
    assert all(key.startswith("forebay:group:{lab}:") for key in keys)


def test_a_server_that_has_stopped_is_no_member(make_group: MakeGroup) -> None:
    group = make_group("a", "b")
    groups = Groups(group["a"].engine.open_index().connection, "lab")
    assert sorted(one.volume for one in groups.servers()) == ["a", "b"]

    group.servers["b"].stop()
    groups.announce(Server("dead", "c", "http://127.0.0.1:1"), -1.0)

    assert [one.volume for one in groups.servers()] == ["a"]


def test_a_worker_that_is_killed_costs_its_turns_and_nothing_else(
    make_group: MakeGroup, make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path
) -> None:
    group = make_group("a", "b")
    urls = [http_server.put(f"/{n}.bin", BODY + bytes(f"{n}", "ascii")) for n in range(240)]
    third = make_cache(
        volume="c",
        cache_dir=str(tmp_path / "c"),
        group="lab",
        allowed_sources=[http_server.endpoint + "/"],
        dispatch="fleet",
        message_size=20,
    )

    with worker(third) as process, ThreadPoolExecutor(3) as pool:
        # given a broadcast to three volumes, one of which is killed when it has begun
        job = third.create_job(urls)
        job.start()
        wait_until(lambda: third.engine.open_index().entries.totals().count > 20)
        waiting = [pool.submit(group[volume].download_media, urls) for volume in "ab"]
        process.kill()
        jobs = [one.result() for one in waiting]
        log = process.log.read_text()

    # then the others have everything, and only what it had under way, or to itself, was fetched again
    assert [one.status().failed for one in jobs] == [0, 0]
    bodies = [BODY + bytes(f"{n}", "ascii") for n in range(240)]
    for volume in "ab":
        assert [content(group[volume], url) for url in urls] == bodies
    counts = {url: http_server.count(url.removeprefix(http_server.endpoint)) for url in urls}
    again = {url for url, count in counts.items() if count > 1}
    assert {turn_of(entry_of(url), ["a", "b", "c"]) for url in again} <= {"c"}, log
    assert max(counts.values()) <= 2
