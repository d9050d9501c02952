"""Machines with wrong clocks: the times in the future that they leave behind put nothing off."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from forebay.cache import MediaCache
from forebay.jobs.ledger import abandoned
from forebay.jobs.monitor import requeue_if_stalled
from forebay.schedules.clock import Clock
from forebay.schedules.standing import Schedules
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer
from tests.servers.workers import worker

HOUR = 3600.0


def test_the_maintenance_runs(make_cache: MakeCache) -> None:
    cache = make_cache()
    maintenance, state = cache.engine.open_maintenance(), cache.engine.open_index().state
    maintenance.run(force=True)

    for part in ("maintained", "swept", "forgotten"):
        state.note_upkeep(part, time.time() + HOUR)

    assert maintenance.run()
    # What has a time of its own is done again, too.
    done = state.upkeep()
    assert max(done.maintained, done.swept, done.forgotten) <= time.time()


@pytest.mark.usefixtures("s3_environment")
def test_what_a_job_has_lost_is_enqueued_again(make_cache: MakeCache) -> None:
    # Given a job whose messages are lost, and whose last update came from a clock that was ahead
    cache = make_cache(dispatch="fleet")
    with worker(cache) as process:
        # It looks alive for a while.
        process.kill()
        job = cache.download_media(["s3://bucket/a.jpg", "s3://bucket/b.jpg"], wait=False)
        jobs, dispatcher = cache.engine.open_index().jobs, cache.engine.open_dispatcher()
        jobs.write(job.id, updated=time.time() + HOUR)

        assert requeue_if_stalled(dispatcher, job.id, jobs.read(job.id)) == 2


def used_in_an_hour(cache: MediaCache, uris: list[str]) -> None:
    """Has entries be used by a machine whose clock is an hour ahead: index and files say so."""
    index, later = cache.engine.open_index(), time.time() + HOUR
    cache.engine.files.take_touched()
    for uri in uris:
        index.connection.command("zadd", index.keys.atime, {entry_of(uri): later})
        os.utime(cache.engine.files.layout().path(entry_of(uri)), (later, later))


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{n:03}.bin", f"{n:03}".encode() * 400) for n in range(40)]


@pytest.fixture
def full(make_cache: MakeCache, http_server: HTTPServer, uris: list[str]) -> MediaCache:
    """A cache whose heartbeat does nothing for minutes, full of the first twenty objects."""
    allowed = [http_server.endpoint + "/"]
    cache = make_cache(
        cache_size_bytes=24_000, claim_ttl_seconds=600, grace_seconds=0.5, allowed_sources=allowed
    )
    cache.download_media(uris[:20])
    return cache


def test_what_was_used_in_the_future_can_be_evicted(full: MediaCache, uris: list[str]) -> None:
    used_in_an_hour(full, uris[:20])

    job = full.download_media(uris[20:])

    assert (job.failures(), job.downloaded) == ([], 20)


def test_what_was_used_in_the_future_goes_last(full: MediaCache, uris: list[str]) -> None:
    used_in_an_hour(full, uris[:10])

    full.download_media(uris[20:25])

    assert all(full.engine.files.locate(entry_of(uri)) for uri in uris[:10])


def test_what_was_used_in_the_future_makes_way_for_its_successor(
    full: MediaCache, http_server: HTTPServer
) -> None:
    # given an object that takes more than half of the cache
    url = http_server.put("/large.bin", b"old" * 5_000)
    full.local_path(url)
    used_in_an_hour(full, [url])
    http_server.put("/large.bin", b"new" * 5_000)

    job = full.download_media([url], update=True)

    assert (job.failures(), job.downloaded) == ([], 1)


@pytest.mark.parametrize("ahead", ["index", "file"])
def test_what_was_used_in_the_future_makes_way_for_others_of_its_quota(
    make_cache: MakeCache, uris: list[str], http_server: HTTPServer, ahead: str
) -> None:
    # given the entries of a label, of which the index or the files say that they were used in an hour
    settings = {"grace_seconds": 0.0, "allowed_sources": [http_server.endpoint + "/"]}
    team = make_cache(quota="team=12KB", claim_ttl_seconds=600, **settings)
    team.download_media(uris[:10])
    index, later = team.engine.open_index(), time.time() + HOUR
    for uri in uris[:10]:
        if ahead == "index":
            index.connection.command("zadd", index.keys.atime, {entry_of(uri): later})
        else:
            os.utime(team.engine.files.layout().path(entry_of(uri)), (later, later))

    job = team.download_media(uris[10:15])

    assert job.failures() == []
    assert index.quotas.used("team") <= 12_288


@pytest.mark.parametrize("by_setting", [False, True], ids=["argument", "setting"])
def test_what_was_fetched_in_the_future_is_compared_with_its_source(
    make_cache: MakeCache, http_server: HTTPServer, by_setting: bool
) -> None:
    cache = make_cache(max_age="10m" if by_setting else None, allowed_sources=[http_server.endpoint + "/"])
    url = http_server.put("/x.bin", b"old")
    cache.local_path(url)
    index = cache.engine.open_index()
    [value] = index.entries.values([entry_of(url)])
    assert value is not None
    later = replace(value, fetched=int(time.time() + HOUR)).format()
    index.connection.command("hset", index.keys.entries, entry_of(url), later)
    http_server.put("/x.bin", b"new")

    job = cache.download_media([url], update=False if by_setting else "10m")

    assert job.downloaded == 1


def test_a_machine_whose_clock_is_a_day_behind_evicts(
    full: MediaCache, uris: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 24 * HOUR)

    job = full.download_media(uris[20:])

    assert (job.failures(), job.downloaded) == ([], 20)


def a_day_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 24 * HOUR)


class TestJobs:
    """Times of jobs are Redis', and are shown by the clock of the machine that looks."""

    @pytest.fixture
    def cache(self, make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
        return make_cache(allowed_sources=[http_server.endpoint + "/"])

    def test_a_machine_whose_clock_is_ahead_forgets_none_too_early(
        self, cache: MediaCache, uris: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = cache.download_media(uris, wait=False)
        job.wait()
        monkeypatch.setattr(time, "time", lambda now=time.time: now() + 365 * 24 * HOUR)

        assert cache.engine.open_index().jobs.forget_old(cache.config.job_ttl_seconds) == 0
        assert [one.id for one in cache.jobs()] == [job.id]

    @pytest.mark.usefixtures("s3_environment")
    def test_a_machine_whose_clock_is_ahead_ends_no_listing_and_enqueues_nothing_again(
        self, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a job that another machine is listing, and a worker fetches
        cache = make_cache(dispatch="fleet")
        jobs, dispatcher = cache.engine.open_index().jobs, cache.engine.open_dispatcher()
        fields = {"lister": "elsewhere:1:1", "dispatch": "fleet", "total": 1, "present": 0}
        jobs.create("listing", fields, ["s3://bucket/a.jpg"], 10)
        a_day_ahead(monkeypatch)

        assert requeue_if_stalled(dispatcher, "listing", jobs.read("listing")) == 0
        assert "lister" in jobs.read("listing")

    def test_a_machine_whose_clock_is_ahead_begins_none_of_another_that_is_about_to_begin(
        self, cache: MediaCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = cache.engine.open_index()
        index.jobs.create("new", {"dispatch": "local", "total": 1, "present": 0}, ["s3://bucket/a.jpg"], 10)
        a_day_ahead(monkeypatch)

        assert abandoned(index) == set()

    @pytest.mark.parametrize("what", ["extend", "seal", "mark", "retry"])
    def test_whatever_happens_to_it_has_its_time(self, cache: MediaCache, what: str) -> None:
        # given a job on which nothing has happened for long
        jobs = cache.engine.open_index().jobs
        fields = {"lister": "elsewhere:1:1", "dispatch": "fleet", "total": 2, "present": 0}
        jobs.create("job", fields, ["s3://bucket/a.jpg", "s3://bucket/b.jpg"], 10)
        jobs.mark("job", [(0, "f", 0, "{}")])
        jobs.write("job", updated=1.0)

        match what:
            case "extend":
                jobs.extend("job", ["s3://bucket/c.jpg"], total=1, present=0)
            case "seal":
                jobs.seal("job")
            case "mark":
                jobs.mark("job", [(1, "d", 5, "")])
            case _:
                jobs.retry("job")

        assert float(jobs.read("job")["updated"]) == pytest.approx(time.time(), abs=60)

    def test_its_times_are_those_of_who_looks(
        self, cache: MediaCache, uris: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began = time.time()
        with monkeypatch.context() as changed:
            a_day_ahead(changed)
            job = cache.download_media(uris, wait=False)
            job.wait()
            assert job.status().created == pytest.approx(time.time(), abs=60)

        [status] = cache.jobs()
        assert status.created == pytest.approx(began, abs=60)
        assert 0 < status.elapsed_seconds < 60


def test_a_volume_is_not_stale_because_of_a_wrong_clock(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache()
    registry = cache.engine.open_index().volumes
    registry.announce("here", str(cache.config.cache_dir), 1)
    a_day_ahead(monkeypatch)

    found = registry.find("here")
    assert found is not None
    assert not found.stale
    assert not next(one for one in registry.all() if one.name == "here").stale


def test_a_volume_that_a_machine_with_a_wrong_clock_has_announced_becomes_stale_in_time(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache()
    registry = cache.engine.open_index().volumes
    with monkeypatch.context() as changed:
        a_day_ahead(changed)
        registry.announce("ahead", str(cache.config.cache_dir), 1)

    found = registry.find("ahead")
    assert found is not None
    assert found.seen == pytest.approx(time.time(), abs=60)


def test_the_metrics_of_a_machine_whose_clock_is_ahead_have_live_workers(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_cache().engine.open_index()
    index.workers.announce("w@here", 4)
    a_day_ahead(monkeypatch)

    [worker] = index.overview().workers
    assert worker.alive


def test_a_worker_whose_clock_is_ahead_lives_no_longer_than_others(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = make_cache().engine.open_index().workers
    with monkeypatch.context() as changed:
        a_day_ahead(changed)
        workers.announce("w@ahead", 4)
        assert [worker.alive for worker in workers.all()] == [True]

    [worker] = workers.all()
    assert worker.seen == pytest.approx(time.time(), abs=60)


def test_a_machine_whose_clock_is_ahead_puts_no_schedule_off(
    make_cache: MakeCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(allowed_sources=[http_server.endpoint + "/"])
    Schedules(cache).add("hourly", [http_server.put("/x.bin", b"x")], every="1h")
    now = time.time()
    a_day_ahead(monkeypatch)

    Clock(cache.engine).tick()

    [schedule] = Schedules(cache).list()
    assert schedule.next == pytest.approx(now + HOUR, abs=60)
