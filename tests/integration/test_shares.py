"""What the processes of a volume share of each second: never more than there is, and by their demand."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.config.timetable import Timetable
from forebay.index import Index, SessionLostError
from forebay.index.connection import Connection
from forebay.index.shares import ALL
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey
from tests.servers.workers import worker


@pytest.fixture
def index(valkey: Valkey) -> Index:
    index = Index(Connection(valkey.url), "shared")
    valkey.client.hset(index.keys.meta, "run_id", "run")
    return index


def begin(index: Index, *sessions: str, ttl: float = 60.0) -> None:
    for session in sessions:
        index.sessions.begin(session, ttl, "run")


def renew(index: Index, session: str, demand: float, limit: float = 100.0) -> float:
    return index.shares.renew(session, "bytes", limit, demand).granted


class TestArithmetic:
    def test_one_has_all(self, index: Index) -> None:
        begin(index, "a")

        assert renew(index, "a", ALL) == 100.0
        # also of what it does not ask for
        assert renew(index, "a", 1.0) == 100.0

    def test_what_another_has_is_granted_once_it_was_given_up(self, index: Index) -> None:
        begin(index, "a", "b")
        renew(index, "a", ALL)

        share = index.shares.renew("b", "bytes", 100.0, ALL)
        assert (share.granted, share.fair) == (0.0, 50.0)
        assert renew(index, "a", ALL) == 50.0
        assert renew(index, "b", ALL) == 50.0

    def test_small_demands_are_met_and_the_others_get_the_same(self, index: Index) -> None:
        begin(index, *"abcd")
        demands = {"a": 10.0, "b": ALL, "c": 20.0, "d": 1000.0}

        for _ in range(2):
            parts = {session: renew(index, session, demand) for session, demand in demands.items()}

        assert parts == {"a": 10.0, "b": 35.0, "c": 20.0, "d": 35.0}

    def test_what_nobody_asks_for_is_divided(self, index: Index) -> None:
        begin(index, *"ab")
        for _ in range(2):
            parts = [renew(index, "a", 10.0), renew(index, "b", 50.0)]

        assert parts == [30.0, 70.0]

    def test_together_they_never_have_more(self, index: Index) -> None:
        sessions = "abcde"
        begin(index, *sessions)
        parts = dict.fromkeys(sessions, 0.0)
        demands = (ALL, 3.0, 0.0, 40.0, ALL, 90.0, 0.01)

        for step in range(60):
            session = sessions[step * 7 % 5]
            parts[session] = renew(index, session, demands[step % 7])
            assert sum(parts.values()) <= 100.001

    def test_a_part_that_was_given_back_is_free(self, index: Index) -> None:
        begin(index, "a", "b")
        renew(index, "a", ALL)

        assert renew(index, "a", 0.0) == 0.0
        assert renew(index, "b", ALL) == 100.0

    def test_a_part_ends_with_its_session(self, index: Index) -> None:
        begin(index, "a", "b")
        renew(index, "a", ALL)
        index.sessions.reap("a")

        assert renew(index, "b", ALL) == 100.0
        with pytest.raises(SessionLostError):
            renew(index, "a", ALL)

    def test_a_part_ends_when_its_session_expires(self, index: Index) -> None:
        begin(index, "a", ttl=0.0)
        begin(index, "b")
        renew(index, "a", ALL)

        assert renew(index, "b", ALL) == 100.0

    def test_the_lowest_limit_holds(self, index: Index) -> None:
        begin(index, "a", "b")
        renew(index, "a", ALL, limit=10.0)

        assert renew(index, "b", ALL, limit=100.0) == 0.0
        assert renew(index, "a", ALL, limit=10.0) == 5.0
        assert renew(index, "b", ALL, limit=100.0) == 5.0

    def test_one_thing_does_not_count_for_another(self, index: Index) -> None:
        begin(index, "a", "b")
        renew(index, "a", ALL)

        assert index.shares.renew("b", "requests|https://host", 5.0, ALL).granted == 5.0
        assert index.shares.renew("a", "requests|https://host", 5.0, ALL).granted == 0.0


class Rate:
    """The limit of a volume, which a test changes."""

    def __init__(self, value: int | None) -> None:
        self.value = value


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch) -> Rate:
    rate = Rate(4096)
    monkeypatch.setattr(Timetable, "rate", lambda table: rate.value)
    return rate


def put(server: HTTPServer, name: str, *, size: int = 200_000, number: int = 10) -> list[str]:
    return [server.put(f"/{name}/{one}.bin", os.urandom(size)) for one in range(number)]


def granted(cache: MediaCache, *, by_session: bool = True) -> dict[str, float]:
    """What each session has, or what of each thing is granted, as the index knows it."""
    index = cache.engine.open_index()
    found = index.connection.command("hgetall", index.keys.shares)
    place = 2 if by_session else 0
    return {name.partition("|")[place]: float(value.rpartition("|")[2]) for name, value in found.items()}


def test_processes_share_and_give_back(rate: Rate, make_cache: MakeCache, http_server: HTTPServer) -> None:
    # given two processes of one volume, of which one has all
    settings = {"volume_bwlimit": "4KB", "allowed_sources": [http_server.endpoint + "/"]}
    first, second = make_cache(**settings), make_cache(**settings)
    jobs = [first.download_media(put(http_server, "a"), wait=False)]
    eventually(lambda: list(granted(first).values()) == [4096.0])

    # when the other one downloads, too
    jobs.append(second.download_media(put(http_server, "b"), wait=False))

    # then each gets half
    eventually(lambda: list(granted(first).values()) == [2048.0, 2048.0])

    # and when the limit allows what they want, all arrives, and they give back what they have
    rate.value = 1 << 30
    for job in jobs:
        done = job.wait()
        assert (done.downloaded, done.failed) == (10, 0)
    eventually(lambda: granted(first) == {})


def test_processes_share_the_requests_to_a_host(make_cache: MakeCache, http_server: HTTPServer) -> None:
    # given two processes of one volume, of which one sends all requests that a host may get
    limits = {"127.0.0.1": 4.0, "elsewhere.example.com": 1.0}
    settings = {"volume_request_limits": limits, "allowed_sources": [http_server.endpoint + "/"]}
    first, second = make_cache(**settings), make_cache(**settings)
    jobs = [first.download_media(put(http_server, "a", size=1, number=200), wait=False)]
    eventually(lambda: list(granted(first).values()) == [4.0])

    # when the other one downloads from there, too
    jobs.append(second.download_media(put(http_server, "b", size=1, number=200), wait=False))

    # then each sends half of them
    eventually(lambda: list(granted(first).values()) == [2.0, 2.0])
    eventually(lambda: all(job.status().downloaded for job in jobs))
    for job in jobs:
        job.cancel()
    eventually(lambda: granted(first) == {})


def test_one_limit_of_a_volume_is_none_of_another(
    rate: Rate, make_cache: MakeCache, http_server: HTTPServer
) -> None:
    # given a limit of bytes that is not met, and one of requests that is
    rate.value = 1 << 30
    cache = make_cache(
        volume_bwlimit="1GB",
        volume_request_limits={"127.0.0.1": 10.0},
        allowed_sources=[http_server.endpoint + "/"],
    )
    job = cache.download_media(put(http_server, "a", size=1, number=30), wait=False)

    eventually(lambda: sorted(granted(cache, by_session=False)) == ["bytes", http_server.endpoint])
    assert job.wait().downloaded == 30


def test_what_the_limit_holds_back_comes_when_it_ends(
    rate: Rate, make_cache: MakeCache, http_server: HTTPServer
) -> None:
    cache = make_cache(volume_bwlimit="4KB", allowed_sources=[http_server.endpoint + "/"])
    job = cache.download_media(put(http_server, "a"), wait=False)
    eventually(lambda: granted(cache))
    rate.value = None

    assert job.wait().downloaded == 10
    assert granted(cache) == {}


def test_a_closed_cache_gives_its_part_back(
    rate: Rate, make_cache: MakeCache, http_server: HTTPServer
) -> None:
    settings = {"volume_bwlimit": "4KB", "allowed_sources": [http_server.endpoint + "/"]}
    cache, other = make_cache(**settings), make_cache(**settings)
    cache.download_media(put(http_server, "a"), wait=False)
    eventually(lambda: granted(other))

    cache.close()

    assert granted(other) == {}


def test_a_worker_has_its_part_until_it_is_gone(make_cache: MakeCache, http_server: HTTPServer) -> None:
    # given a worker that has all
    settings = {"volume_bwlimit": "100KB", "allowed_sources": [http_server.endpoint + "/"]}
    fleet, here = make_cache(dispatch="fleet", num_workers=2, **settings), make_cache(**settings)
    with worker(fleet) as running:
        fleet.download_media(put(http_server, "a", number=200), wait=False)
        eventually(lambda: list(granted(fleet).values()) == [102400.0])
        assert here.local_path(http_server.put("/small", b"body"))
        eventually(lambda: len(granted(fleet)) == 1)

        # when it dies
        running.kill()

    # then others get all, once its session has ended
    uris = put(http_server, "b", number=20)
    job = here.download_media(uris, wait=False)
    eventually(lambda: list(granted(here).values()) == [102400.0], timeout_seconds=60)
    job.cancel()


def test_an_emptied_redis_ends_no_download(
    valkey: Valkey, make_cache: MakeCache, http_server: HTTPServer
) -> None:
    cache = make_cache(
        volume_bwlimit="100KB", claim_ttl_seconds=2.0, allowed_sources=[http_server.endpoint + "/"]
    )
    uri = http_server.put("/large", os.urandom(300_000))
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(cache.local_path(uri)))
    thread.start()
    eventually(lambda: granted(cache))

    valkey.client.flushall()

    thread.join(60)
    assert Path(done[0]).stat().st_size == 300_000
