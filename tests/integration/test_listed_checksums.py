"""Samples whose list gives a checksum, and jobs that are longer than what fits in memory."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest

from forebay.cache import MediaCache
from forebay.fetch import fetcher
from forebay.fetch.outcome import SampleOutcome
from forebay.index.keys import Keys
from forebay.jobs import creation
from forebay.jobs.listed_samples import Samples
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer

GOOD, WRONG = b"pixels" * 500_000, b"others" * 500_000


@pytest.fixture
def cache(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    return make_cache(allowed_sources=[http_server.endpoint + "/"], range_size_bytes=1 << 20)


def checksum(name: str) -> str:
    if name == "crc32c":
        google_crc32c = pytest.importorskip("google_crc32c")
        return base64.b64encode(google_crc32c.value(GOOD).to_bytes(4, "big")).decode()
    return hashlib.new(name, GOOD).hexdigest()


@pytest.mark.parametrize("name", ["md5", "sha256", "crc32c"])
@pytest.mark.parametrize("ranges", [False, True], ids=["whole", "in ranges"])
def test_what_differs_from_its_checksum_fails_alone_and_is_not_kept(
    cache: MediaCache, http_server: HTTPServer, name: str, ranges: bool
) -> None:
    # given two objects, of which one is not what the list says
    etag = '"v1"' if ranges else None
    good = http_server.put("/good.bin", GOOD, etag=etag)
    wrong = http_server.put("/wrong.bin", WRONG, etag=etag)
    expected = checksum(name)

    # when they are fetched
    job = cache.engine.open_job_maker().create_listing([Samples([good, wrong], [expected] * 2)])
    job.start()
    status = job.wait(timeout=30).status()

    # then the wrong one has failed after one attempt, and is not there
    assert (status.downloaded, status.failed) == (1, 1)
    [failure] = job.failures()
    assert failure.uri == wrong and failure.attempts == 1
    assert failure.reason == f"its 3000000 bytes do not have the checksum of the list, {expected}"
    assert [entry.uri for entry in cache.contents()] == [good]


def test_a_copy_that_is_there_stays_when_its_successor_has_another_checksum(
    cache: MediaCache, http_server: HTTPServer
) -> None:
    uri = http_server.put("/a.bin", GOOD, etag='"1"')
    path = cache.local_path(uri)
    http_server.put("/a.bin", WRONG, etag='"2"')

    job = cache.engine.open_job_maker().create_listing([Samples([uri], [checksum("md5")])], update=True)
    job.start()

    assert job.wait(timeout=30).status().failed == 1
    with open(path, "rb") as file:
        assert file.read() == GOOD


def test_a_retry_knows_the_checksum(cache: MediaCache, http_server: HTTPServer) -> None:
    uri = http_server.put("/a.bin", WRONG)
    job = cache.engine.open_job_maker().create_listing([Samples([uri], [checksum("md5")])])
    job.start()
    assert job.wait(timeout=30).status().failed == 1

    job.retry()
    assert job.wait(timeout=30).status().failed == 1

    http_server.put("/a.bin", GOOD)
    job.retry()
    assert job.wait(timeout=30).status().downloaded == 1


def test_samples_are_taken_as_they_are_needed(
    cache: MediaCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "_PORTION", 20)
    uris = [http_server.put(f"/{number}", b"x") for number in range(600)]
    ended: list[SampleOutcome] = []
    most = 0

    def samples() -> Iterator[tuple[int, str]]:
        nonlocal most
        for number in range(len(uris)):
            most = max(most, number - len(ended))
            # Each a second time in another portion.
            yield number, uris[number // 2]

    cache.engine.open_fetcher().fetch(samples(), ended.extend)

    assert sorted(one.number for one in ended) == list(range(600))
    assert {one.state for one in ended} == {"downloaded", "cached"}
    assert most < 600


def test_a_listing_waits_while_it_is_far_ahead(
    cache: MediaCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a listing that may be ten samples ahead
    monkeypatch.setattr("forebay.jobs.listed_samples.FIRST_SAMPLES", 1)
    monkeypatch.setattr(creation, "_MORE_SAMPLES", 1)
    monkeypatch.setattr(creation, "_SAMPLES_AHEAD", 10)
    monkeypatch.setattr(creation, "_AHEAD_SECONDS", 0.01)
    uris = [http_server.put(f"/{number}", b"x") for number in range(40)]
    job = cache.engine.open_job_maker().create_listing([uri] for uri in uris)

    # when nothing is fetched yet
    eventually(lambda: job.status().pending == 11)

    # then the rest follows with the downloads
    assert (job.status().total, job.status().listing) == (11, True)
    job.start()
    assert job.wait(timeout=30).status().downloaded == 40


def test_the_uris_of_what_has_ended_well_are_dropped(cache: MediaCache, http_server: HTTPServer) -> None:
    uris = [http_server.put(f"/{number}", b"x") for number in range(10)]
    job = cache.download_media([*uris, f"{http_server.endpoint}/none"], message_size=4)
    assert job.failed == 1

    index = cache.engine.open_index()
    kept = index.connection.command("hkeys", Keys(index.volume).job(job.id, "uris"))

    assert kept == ["2"]


def test_a_job_that_is_made_at_once_is_listed_in_parts(
    cache: MediaCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.jobs.listed_samples.FIRST_SAMPLES", 3)
    uris = [http_server.put(f"/{number}", b"x") for number in range(20)]

    job = cache.engine.open_job_maker().create_listed([uri] for uri in uris)

    assert (job.status().total, job.status().listing) == (20, False)
    job.start()
    assert job.wait(timeout=30).status().downloaded == 20


def test_a_listing_that_fails_leaves_no_job(cache: MediaCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.jobs.listed_samples.FIRST_SAMPLES", 1)

    def found() -> Iterator[list[str]]:
        yield ["s3://b/a"]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.engine.open_job_maker().create_listed(found())
    assert cache.jobs() == []
