"""A large object is read from a neighbour while it is still arriving there."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from forebay.neighbours import neighbour_source
from forebay.neighbours.turns import turn_of
from forebay.transport import Limits
from forebay.uri import entry_of
from forebay_worker import neighbour_server
from tests.groups import Group, MakeGroup, ask, content, counted
from tests.servers.certificates import self_signed
from tests.servers.embedded import eventually

BODY = bytes(range(256)) * (40 << 10)
PART = 1 << 20


class Cloud:
    """Sends the first half of each range at once, and the rest when it may.

    Attributes:
        may_end: set to send the rest.
        breaks: so many answers of each range end in the middle instead.
        asked: how often each range was asked for.
    """

    def __init__(self) -> None:
        self.may_end, self.breaks = Event(), 0
        self.asked: Counter[str] = Counter()
        self.headers = {"ETag": '"1"', "Accept-Ranges": "bytes"}
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                wanted = self.headers.get("Range") or ""
                cloud.asked[wanted] += 1
                is_broken = wanted != "" and cloud.asked[wanted] <= cloud.breaks
                match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
                start, end = (int(match[1]), int(match[2]) + 1) if match else (0, len(BODY))
                self.send_response(206 if match else 200)
                for name, value in cloud.headers.items():
                    self.send_header(name, value)
                if match:
                    self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(BODY)}")
                self.send_header("Content-Length", str(end - start))
                self.end_headers()
                middle = (start + end) // 2
                self.wfile.write(BODY[start:middle])
                cloud.may_end.wait(60)
                if is_broken:
                    self.close_connection = True
                else:
                    self.wfile.write(BODY[middle:end])

            def log_message(self, *arguments: object) -> None: ...

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.listener.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.endpoint = f"http://127.0.0.1:{self.listener.server_address[1]}"
        Thread(target=self.listener.serve_forever, daemon=True).start()

    def url(self, turn: str, volumes: list[str]) -> str:
        """The URL of an object whose turn is a volume's."""
        urls = (f"{self.endpoint}/{number}.bin" for number in range(1000))
        return next(url for url in urls if turn_of(entry_of(url), volumes) == turn)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.may_end.set()
    made.listener.shutdown()
    made.listener.server_close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as made:
        yield made


def served(group: Group, volume: str) -> float:
    return group.counts(volume).get("served_bytes", 0.0)


def settings(cloud: Cloud) -> dict[str, object]:
    return {"range_size_bytes": PART, "allowed_sources": [cloud.endpoint + "/"]}


@pytest.mark.parametrize("is_secured", [False, True], ids=["HTTP", "TLS"])
def test_two_neighbours_read_what_has_arrived_of_an_object(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor, tmp_path: Path, is_secured: bool
) -> None:
    # Given an object of which b has half of each range that is in flight, and no more for now
    tls = {"group_tls_cert": self_signed(tmp_path / "group.pem")} if is_secured else {}
    group = make_group("a", "b", "c", **settings(cloud), **tls)
    url = cloud.url("b", ["a", "b", "c"])

    # When a and c want it
    paths = [pool.submit(content, group[volume], url) for volume in "ac"]

    # Then both get what is there, before it is complete
    eventually(lambda: served(group, "b") >= PART)
    assert group["b"].engine.open_index().entries.values([entry_of(url)]) == [None]
    assert not any(path.done() for path in paths)
    # From b alone: what comes from a neighbour is not read on, so that none waits in a circle
    arriving = {volume: group[volume].engine.open_fetcher().arrivals for volume in "abc"}
    assert {volume for volume in "abc" if arriving[volume].get(entry_of(url))} == {"b"}

    # And all of it when it is, at the cost of one download
    cloud.may_end.set()
    assert [path.result(60) for path in paths] == [BODY, BODY]
    assert set(cloud.asked.values()) == {1}
    assert [counted(group, volume) for volume in "ac"] == [(0, len(BODY), 0)] * 2
    assert content(group["b"], url) == BODY


def test_what_its_own_job_downloads_is_read_as_well(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor
) -> None:
    group = make_group("a", "b", **settings(cloud))
    url = cloud.url("b", ["a", "b"])
    job = pool.submit(content, group["b"], url)
    eventually(lambda: len(cloud.asked) > 1)

    path = pool.submit(content, group["a"], url)

    eventually(lambda: served(group, "b") >= PART)
    assert not job.done()
    cloud.may_end.set()
    assert path.result(60) == job.result(60) == BODY
    assert set(cloud.asked.values()) == {1}


def test_nobody_has_all_of_an_object_whose_checksum_turns_out_to_be_wrong(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor
) -> None:
    # Given a volume that verifies checksums, a cloud that gives a wrong one, and a neighbour that does not
    of = {"b": {"verify_checksums": True, "max_attempts": 1}}
    group = make_group("a", "b", of=of, **settings(cloud))
    url = cloud.url("b", ["a", "b"])
    wrong = hashlib.md5(b"wrong").hexdigest()
    cloud.headers["Content-MD5"] = base64.b64encode(bytes.fromhex(wrong)).decode()

    # When the neighbour reads what arrives there, and it comes to its end
    path = pool.submit(content, group["a"], url)
    eventually(lambda: served(group, "b") >= PART)
    cloud.may_end.set()

    # Then what it has in the end came from the cloud
    assert path.result(60) == BODY
    assert counted(group, "a")[:2] == (len(BODY), 0)
    assert group["b"].engine.open_index().entries.values([entry_of(url)]) == [None]


def test_ranges_that_fail_and_are_sent_again_are_read_on(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor
) -> None:
    # Given a cloud that breaks the first answer to each range
    cloud.breaks = 1
    group = make_group("a", "b", **settings(cloud))
    url = cloud.url("b", ["a", "b"])
    path = pool.submit(content, group["a"], url)
    eventually(lambda: served(group, "b") >= PART)

    cloud.may_end.set()

    # Then the neighbour of the one that asks again notices nothing
    assert path.result(60) == BODY
    assert set(cloud.asked.values()) == {1, 2}
    assert counted(group, "a") == (0, len(BODY), 0)


def test_a_download_that_fails_for_good_costs_a_request_to_the_cloud(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor
) -> None:
    # Given a neighbour that tries once, and whose download breaks
    cloud.breaks = 1
    group = make_group("a", "b", of={"b": {"max_attempts": 1}}, **settings(cloud))
    url = cloud.url("b", ["a", "b"])
    path = pool.submit(content, group["a"], url)
    eventually(lambda: served(group, "b") >= PART)

    cloud.may_end.set()

    assert path.result(60) == BODY
    assert counted(group, "a")[:2] == (len(BODY), 0)
    # Nothing is left of it.
    assert group["b"].engine.open_fetcher().arrivals.get(entry_of(url)) is None
    assert [list(group[volume].engine.files.temporaries()) for volume in "ab"] == [[], []]


def test_an_object_that_stops_arriving_is_waited_for(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that nothing more arrives for longer than a neighbour keeps its requests open
    monkeypatch.setattr(neighbour_source, "ARRIVING_LIMITS", Limits(idle_seconds=0.3))
    group = make_group("a", "b", **settings(cloud))
    url = cloud.url("b", ["a", "b"])
    path = pool.submit(content, group["a"], url)
    eventually(lambda: group.counts("a").get("retries|neighbour", 0) or served(group, "b") >= PART)
    eventually(lambda: not list(group["a"].engine.files.temporaries()))

    cloud.may_end.set()

    # Then it still leaves the cloud once, and the neighbour is trusted with the rest
    assert path.result(60) == BODY
    assert set(cloud.asked.values()) == {1}
    # It was not tried again while it arrived
    assert counted(group, "a") == (0, len(BODY), 1)


def test_only_so_many_requests_wait_for_what_arrives(
    make_group: MakeGroup, cloud: Cloud, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an object that arrives, and that two neighbours may read
    group = make_group("a", "b", "c", **settings(cloud))
    url = cloud.url("b", ["a", "b", "c"])
    path = pool.submit(content, group["a"], url)
    eventually(lambda: group.servers["b"]._server.following)
    eventually(lambda: ask(group, "b", [url])["arriving"])

    # When no more requests may wait
    monkeypatch.setattr(neighbour_server, "_MOST_FOLLOWING", len(group.servers["b"]._server.following))

    # Then no further neighbour is told of it, and those that read it go on
    assert ask(group, "b", [url])["arriving"] == []
    cloud.may_end.set()
    assert path.result(60) == BODY
    eventually(lambda: not group.servers["b"]._server.following)
