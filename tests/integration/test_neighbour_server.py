"""The server by which a volume gives objects to its neighbours, and who may ask it."""

from __future__ import annotations

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forebay.index.groups import GroupKeys, Groups, Server
from forebay.neighbours.neighbour_source import OBJECTS
from forebay.neighbours.turns import turn_of
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.groups import BODY, ETAG, MakeGroup, call, content, counted, with_turn
from tests.servers.certificates import self_signed
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey
from tests.servers.workers import worker


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
    eventually(lambda: group.counts("a")["served_bytes"] >= len(body))


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
        eventually(lambda: third.engine.open_index().entries.totals().count > 20)
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
