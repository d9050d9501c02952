"""The handle on a job: its properties are of one snapshot, and say when they ask Redis again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forebay
from forebay.jobs.handle import Job
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey

PROPERTIES = ("state", "total", "cached", "downloaded", "failed", "pending", "bytes", "rate", "lease")

Commands = Callable[[], int]


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> Any:
    """Makes caches that may fetch from the web server, which has two of three objects."""
    for name in ("a", "b"):
        http_server.put(f"/{name}.jpg", name.encode() * 100)
    return lambda: make_cache(allowed_sources=[f"{http_server.endpoint}/"], max_attempts=1)


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [f"{http_server.endpoint}/{name}.jpg" for name in ("a", "b", "missing")]


@pytest.fixture
def commands(valkey: Valkey) -> Commands:
    """How many commands the server has executed, except those that count them."""
    client = valkey.client

    def executed() -> int:
        statistics = client.info("commandstats")
        return sum(one["calls"] for name, one in statistics.items() if name != "cmdstat_info")

    return executed


def snapshot(job: Job) -> dict[str, object]:
    return {name: getattr(job, name) for name in PROPERTIES}


def test_a_job_that_has_ended_is_read_once(web: Any, uris: list[str], commands: Commands) -> None:
    # given a job that was waited for, by a process that sends nothing by itself any more
    cache = web()
    job = cache.download_media(uris, lease="1h").wait()
    cache.close()
    before = commands()

    found = snapshot(job)

    assert commands() == before
    assert found == {name: getattr(job.status(), name) for name in PROPERTIES}
    assert (job.state, job.total, job.downloaded, job.failed, job.bytes) == ("done", 3, 2, 1, 200)
    assert commands() > before


def test_properties_that_are_read_together_are_of_one_snapshot(
    web: Any, uris: list[str], commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a job that is not started yet, and a handle that was found by reading it
    monkeypatch.setattr("forebay.jobs.handle._SNAPSHOT_SECONDS", 60.0)
    job = web().job(web().create_job(uris).id)
    before = commands()

    found = snapshot(job)

    assert (found["state"], found["pending"]) == ("running", 3)
    assert commands() == before


def test_progress_by_another_process_is_seen(web: Any, uris: list[str]) -> None:
    job = web().create_job(uris)
    assert job.pending == 3

    other = web().job(job.id)
    other.start()
    other.wait()

    eventually(lambda: job.state == "done")
    assert (job.pending, job.downloaded) == (0, 2)


def test_a_retry_by_this_handle_is_seen(web: Any, uris: list[str], http_server: HTTPServer) -> None:
    job = web().download_media(uris)
    assert (job.state, job.failed) == ("done", 1)
    http_server.put("/missing.jpg", b"found")

    job.reopen()
    assert (job.state, job.failed, job.pending) == ("running", 0, 1)
    job.retry()

    assert (job.state, job.failed, job.downloaded) == ("done", 0, 3)


def test_a_retry_by_another_process_shows_after_status(web: Any, uris: list[str]) -> None:
    job = web().download_media(uris)
    assert job.state == "done"

    web().job(job.id).reopen()

    assert job.state == "done"
    assert job.status().state == "running"
    assert (job.state, job.pending) == ("running", 1)


def test_a_cancelled_job_is_read_anew(web: Any, uris: list[str]) -> None:
    job = web().create_job(uris)
    job.cancel()
    assert (job.state, job.pending) == ("cancelled", 3)

    # when another process goes on with it
    web().job(job.id).retry()

    eventually(lambda: job.state == "done")
    assert (job.pending, job.downloaded) == (0, 2)


def test_a_job_that_is_forgotten_has_no_properties(web: Any, uris: list[str]) -> None:
    job = web().download_media(uris)
    assert job.state == "done"

    job.forget()

    with pytest.raises(forebay.JobNotFoundError) as caught:
        assert job.state
    assert caught.value.job == job.id


def test_statistics_have_the_documented_keys(web: Any, uris: list[str]) -> None:
    cache = web()
    cache.download_media(uris)

    found = cache.stats()

    assert found.keys() == forebay.CacheStats.__annotations__.keys()
    assert (found["current_count"], found["current_size"], found["current_size_str"]) == (2, 200, "200B")
    assert found["load_factor"] == 200 / found["cache_size"]
    assert Path(found["cache_dir"]) == Path(cache.config.cache_dir)


class TestRunners:
    def test_of_jobs_that_have_ended_are_forgotten(self, web: Any, uris: list[str]) -> None:
        # given jobs that have ended, each of which had a runner
        cache = web()
        runners = cache.engine.open_dispatcher()._runners
        for uri in uris:
            cache.get_local_paths([uri])
        eventually(lambda: not any(runner.running for runner in runners.values()))

        # when another job runs
        cache.clear()
        cache.get_local_paths(uris)

        # then its runner is the only one
        assert len(runners) == 1

    def test_are_waited_for_by_several_threads(self, web: Any) -> None:
        # given a runner that has ended, and another thread that forgets it just when this one looks at it
        dispatcher = web().engine.open_dispatcher()

        class Ended:
            error = RuntimeError("no more space")

            @property
            def running(self) -> bool:
                dispatcher._runners.pop("a", None)
                return False

        dispatcher._runners["a"] = Ended()

        # when this one asks why, then it is told
        with pytest.raises(RuntimeError, match="no more space"):
            dispatcher.raise_error("a")


def test_a_wait_that_is_over_too_soon_is_our_error_and_a_time_out(web: Any, uris: list[str]) -> None:
    job = web().create_job(uris)

    with pytest.raises(forebay.JobTimeoutError, match="still running: wait again, or cancel it") as caught:
        job.wait(timeout=0)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job == job.id
