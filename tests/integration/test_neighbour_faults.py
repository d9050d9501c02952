"""What goes wrong at a neighbour that says that it has an object costs a request to the cloud."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import pytest

from forebay.neighbours import neighbour_source
from forebay.transport import Limits
from forebay.uri import parse
from tests.groups import BODY, ETAG, Liar, MakeGroup, answering, content, counted, hanging_up, with_turn
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey

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
