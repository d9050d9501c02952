"""Volumes of one group take objects from each other: each leaves the cloud once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.errors import ObjectNotFoundError, SourceNotAllowedError
from forebay.index.keys import Keys
from forebay.neighbours import asking_turns
from forebay.uri import entry_of
from tests.groups import BODY, Liar, MakeGroup, answering, ask, content, counted, hanging_up, with_turn
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey


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
    eventually(lambda: group.counts("b").get("objects|downloaded") == 1)
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
    "does not say what arrives": answering(b'{"failed": [], "progress": "1", "arriving": 5}', ""),
    "another object arrives": answering(b'{"failed": [], "progress": "1", "arriving": [[7, 5, "x", 1]]}', ""),
    "endlessly much arrives": answering(
        b'{"failed": [], "progress": "1", "arriving": [[0, 1e999, "", 1]]}', ""
    ),
    # It answers the request for the object with the same.
    "less than nothing arrives": answering(
        b'{"failed": [], "progress": "1", "arriving": [[0, -5, "x", 1]]}', ""
    ),
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
