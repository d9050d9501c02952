"""Jobs whose samples are still being listed when the first ones are fetched."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import AccessDeniedError, ObjectNotFoundError
from forebay.jobs import creation
from forebay.jobs.handle import Job
from forebay.jobs.progress import line
from forebay.processes import identity
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer


@pytest.fixture
def cache(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    return make_cache(allowed_sources=[http_server.endpoint + "/"])


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.jobs.listed_samples.FIRST_SAMPLES", 3)
    monkeypatch.setattr(creation, "_MORE_SAMPLES", 1)


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{number:02}.bin", b"pixels") for number in range(20)]


class Listing:
    """Finds three samples, waits until it may go on, and finds the others in parts of one to five."""

    def __init__(self, uris: list[str], error: Exception | None = None) -> None:
        self._uris = uris
        self._error = error
        self.may_go_on = threading.Event()
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[list[str]]:
        try:
            yield self._uris[:3]
            self.may_go_on.wait(30)
            if self._error is not None:
                raise self._error
            at, size = 3, 1
            while at < len(self._uris):
                yield self._uris[at : at + size]
                at, size = at + size, size % 5 + 1
        finally:
            self.ended.set()


def test_the_first_samples_are_fetched_while_the_rest_is_listed(cache: MediaCache, uris: list[str]) -> None:
    listing = Listing(uris)
    job = cache.engine.open_job_maker().create_listing(listing, message_size=4)
    job.start()
    eventually(lambda: job.status().downloaded == 3)
    status = job.status()
    assert (status.state, status.total, status.pending, status.listing) == ("running", 3, 0, True)
    assert status.eta_seconds is None
    assert f"job {job.id}: 3/≥3 samples" in line(status)

    listing.may_go_on.set()
    status = job.wait(timeout=30).status()
    assert (status.state, status.total, status.downloaded, status.listing) == ("done", 20, 20, False)
    assert cache.get_local_paths(uris, download=False) == [cache.local_path(uri) for uri in uris]


def test_what_is_cached_or_broken_is_counted(cache: MediaCache, uris: list[str]) -> None:
    cache.download_media(uris[:10])
    listing = Listing([*uris, "ftp://no", "/no/such/file"])
    listing.may_go_on.set()
    job = cache.engine.open_job_maker().create_listing(listing, lease=60)
    job.start()
    status = job.wait(timeout=30).status()
    assert (status.total, status.cached, status.downloaded, status.failed) == (22, 10, 10, 2)
    assert {failure.uri for failure in job.failures()} == {"ftp://no", "/no/such/file"}
    [lease] = cache.leases()
    assert lease.entries == 20


def test_a_job_ends_when_nothing_is_left_to_fetch(cache: MediaCache, uris: list[str]) -> None:
    cache.download_media(uris)
    listing = Listing(uris)
    job = cache.engine.open_job_maker().create_listing(listing)
    job.start()
    assert job.status().state == "running"
    listing.may_go_on.set()
    assert job.wait(timeout=30).status().cached == 20


def test_a_short_listing_makes_an_ordinary_job(cache: MediaCache, uris: list[str]) -> None:
    job = cache.engine.open_job_maker().create_listing([uris[:2]])
    assert (job.status().total, job.status().listing) == (2, False)


def test_a_listing_that_breaks_off_is_a_failed_sample(cache: MediaCache, uris: list[str]) -> None:
    listing = Listing(uris, AccessDeniedError("s3://b/x/", "access denied"))
    job = cache.engine.open_job_maker().create_listing(listing)
    job.start()
    listing.may_go_on.set()
    status = job.wait(timeout=30).status()
    assert (status.state, status.total, status.downloaded, status.failed) == ("done", 4, 3, 1)
    [failure] = job.failures()
    assert failure.uri == "s3://b/x/"
    assert failure.reason == ("the listing broke off after 3 objects: access denied; run the prefetch again")


def test_a_listing_that_fails_at_once_makes_no_job(cache: MediaCache) -> None:
    def fail() -> Iterator[list[str]]:
        raise ObjectNotFoundError("s3://b/", "there is no object below it")
        yield []

    with pytest.raises(ObjectNotFoundError):
        cache.engine.open_job_maker().create_listing(fail())
    assert cache.jobs() == []


def test_the_end_of_the_process_that_lists_is_noticed(cache: MediaCache, uris: list[str]) -> None:
    listing = Listing(uris)
    job = cache.engine.open_job_maker().create_listing(listing)
    dead = multiprocessing.get_context("fork").Process(target=int)
    dead.start()
    dead.join()
    scope = identity().rpartition("-")[0].rpartition("-")[0]
    cache.engine.open_index().jobs.write(job.id, lister=f"{scope}-{dead.pid}-1")
    job.start()
    status = job.wait(timeout=30).status()
    assert (status.total, status.downloaded, status.failed) == (4, 3, 1)
    assert "has ended" in job.failures()[0].reason
    # It was only taken for dead; it adds nothing any more.
    listing.may_go_on.set()
    eventually(listing.ended.is_set)
    assert job.status().total == 4


@pytest.mark.parametrize("end", [Job.cancel, Job.break_off_listing, Job.forget])
def test_a_listing_ends_with_its_job(cache: MediaCache, uris: list[str], end: Any) -> None:
    listing = Listing(uris)
    job = cache.engine.open_job_maker().create_listing(listing)
    end(job)
    listing.may_go_on.set()
    eventually(listing.ended.is_set)
    if end is Job.cancel:
        eventually(lambda: not job.status().listing)
        assert job.status().state == "cancelled"
    if end is not Job.forget:
        assert "the listing broke off after" in job.failures()[-1].reason


def test_messages_of_what_is_listed_later_are_sent(make_cache: MakeCache, http_server: HTTPServer) -> None:
    cache = make_cache(allowed_sources=[http_server.endpoint + "/"], dispatch="fleet")
    index = cache.engine.open_index()
    index.workers.announce("w", 2)
    listing = Listing([f"{http_server.endpoint}/{number}" for number in range(20)])
    job = cache.engine.open_job_maker().create_listing(listing, message_size=4)
    job.start()
    dispatcher = cache.engine.open_dispatcher()
    assert dispatcher.queue_length() == 1
    listing.may_go_on.set()
    eventually(lambda: not job.status().listing)
    assert dispatcher.queue_length() == len(index.jobs.pending_messages(job.id)) > 5
    begun = [index.jobs.begin(job.id, message).samples for message in index.jobs.pending_messages(job.id)]
    assert len([uri for samples in begun for _, uri, _ in samples]) == job.pending == 20
