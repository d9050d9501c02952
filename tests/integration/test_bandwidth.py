"""A bound on what comes each second: nothing comes beyond it, and nothing is lost by it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from forebay.config import MediaCacheConfig
from forebay.config import timetable as timetables
from forebay.transport import BytesSink, Exchange, Limits, PathSink, Request, Transport, TransportSettings
from forebay.transport.slot import Slot
from tests.caches import MakeCache
from tests.integration.exchanges import Gathering
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer

# At this rate, what the tests fetch would take hours.
SLOW = 1024


class Rate:
    """Bytes a second that a test changes."""

    def __init__(self, value: int | None) -> None:
        self.value = value

    def __call__(self) -> int | None:
        return self.value


@pytest.fixture
def rate() -> Rate:
    return Rate(SLOW)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_comes_waits_and_arrives_whole(
    threads: int, rate: Rate, http_server: HTTPServer, tmp_path: Path
) -> None:
    bodies = [os.urandom(500_000) for _ in range(8)]
    urls = [http_server.put(f"/{number}", body) for number, body in enumerate(bodies)]
    gathering = Gathering(len(urls))
    with Transport(TransportSettings(threads=threads, rate=rate)) as transport:
        for number, url in enumerate(urls):
            transport.submit(Request(url), PathSink(str(tmp_path / str(number))), gathering)
        # while another transport fetches them all
        others = Gathering(len(urls))
        with Transport() as free:
            for url in urls:
                free.submit(Request(url), BytesSink(1 << 20), others)
            assert others.wait() == []
        assert gathering.ended == []
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000_000

        # when there is no limit any more
        rate.value = None

        assert gathering.wait() == []
    assert [(tmp_path / str(number)).read_bytes() for number in range(len(urls))] == bodies


def test_what_waits_for_us_does_not_count_as_silent(
    rate: Rate, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a request that is given up when nothing comes for 2 s, and an event loop that looks for such
    looks: list[float] = []
    is_late = Slot.is_late

    def noted(slot: Slot, now: float) -> bool:
        if slot.is_held:
            looks.append(now)
        return is_late(slot, now)

    monkeypatch.setattr(Slot, "is_late", noted)
    url, gathering = http_server.put("/x", b"x" * 500_000), Gathering(1)
    with Transport(TransportSettings(limits=Limits(idle_seconds=2.0), rate=rate)) as transport:
        transport.submit(Request(url), BytesSink(1 << 20), gathering)

        # when the bytes have waited for longer
        eventually(lambda: gathering.ended or (looks and looks[-1] - looks[0] > 3.0))
        rate.value = None

        # then it has arrived nevertheless
        assert gathering.wait() == []


def test_what_waits_can_be_cancelled(rate: Rate, http_server: HTTPServer) -> None:
    url, ended = http_server.put("/x", b"x" * 5_000_000), threading.Event()

    def done(exchange: Exchange) -> None:
        ended.set()

    with Transport(TransportSettings(rate=rate)) as transport:
        first = transport.submit(Request(url), BytesSink(1 << 30), done)
        eventually(lambda: http_server.requests)

        transport.cancel(first)

        assert ended.wait(30)
        # and its handle serves others
        rate.value = None
        assert transport.call(Request(http_server.put("/y", b"body"))).body == b"body"


def test_a_job_within_a_limit(
    make_cache: MakeCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a setting that ends while the job is under way
    asked: list[str] = []

    def rate(table: timetables.Timetable) -> int | None:
        asked.append(repr(table))
        return SLOW if len(asked) < 2 else None

    monkeypatch.setattr(timetables.Timetable, "rate", rate)
    uris = [http_server.put(f"/{number}.bin", os.urandom(300_000)) for number in range(10)]
    cache = make_cache(bwlimit="1KB", allowed_sources=[http_server.endpoint + "/"])

    job = cache.download_media(uris, progress=False)

    assert (job.downloaded, job.failed) == (10, 0)
    assert len(asked) >= 2


def test_a_setting_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_BWLIMIT", " 08:00,10MB   19:00,off ")

    assert MediaCacheConfig().bwlimit == "08:00,10MB 19:00,off"
