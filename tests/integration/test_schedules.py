"""Standing prefetches: workers run each that is due once, whatever ends them meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay import JobStatus, MediaCache, Schedules
from forebay.errors import ConfigError, ForebayError
from forebay.schedules.clock import Clock
from forebay.schedules.definition import Definition, ScheduledRun
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers import Fault
from tests.servers.embedded import eventually
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker


@pytest.fixture
def prefix(s3_server: S3Server, s3_bucket: str, proxied: Proxy) -> str:
    for number in range(4):
        s3_server.put(s3_bucket, f"labels/{number}.bin", b"a" * 1000)
    return f"s3://{s3_bucket}/labels/"


@pytest.fixture
def schedules(cache: MediaCache) -> Schedules:
    return Schedules(cache)


def make_due(cache: MediaCache, name: str, ago: float = 0.0) -> None:
    assert cache.engine.open_index().schedules.set_due(name, time.time() - ago)


def settle(cache: MediaCache, name: str) -> ScheduledRun:
    """Waits until the job of the last run has ended, and has that written down."""
    clock, run = Clock(cache.engine), Schedules(cache).get(name).last
    assert run is not None
    if run.job:
        cache.job(run.job).wait()
    clock.tick()
    run = Schedules(cache).get(name).last
    assert run is not None
    return run


def jobs(cache: MediaCache) -> list[JobStatus]:
    return cache.jobs()


class TestTheClock:
    def test_runs_what_is_due_and_says_how_it_ended(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        added = schedules.add("labels", prefix, every="1h", exclude=["*/3.bin"])
        assert (added.paused, added.last) == (False, None)

        Clock(cache.engine).tick()
        run = settle(cache, "labels")

        assert (run.state, run.total, run.downloaded, run.failed) == ("done", 3, 3, 0)
        following = schedules.get("labels").next
        assert following == pytest.approx((added.next or 0) + 3600)
        # and nothing more is due
        Clock(cache.engine).tick()
        assert [job.id for job in jobs(cache)] == [run.job]

    def test_of_many_workers_runs_it_once(
        self, make_cache: MakeCache, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        schedules.add("labels", prefix, every="1h")
        clocks = [Clock(make_cache().engine) for _ in range(6)]
        for _ in range(3):
            make_due(cache, "labels")
            before = len(jobs(cache))
            threads = [threading.Thread(target=clock.tick) for clock in clocks]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(jobs(cache)) == before + 1
            settle(cache, "labels")

    def test_does_nothing_while_another_worker_looks(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        schedules.add("labels", prefix, every="1h")
        index = cache.engine.open_index()
        with index.locks.hold(index.keys.schedule_clock, 60.0) as lock:
            assert lock is not None
            Clock(cache.engine).tick()
            assert jobs(cache) == []
        Clock(cache.engine).tick()
        assert len(jobs(cache)) == 1

    def test_begins_nothing_that_another_has_begun_since_it_looked(
        self, make_cache: MakeCache, cache: MediaCache, schedules: Schedules, prefix: str, proxied: Proxy
    ) -> None:
        # Given a worker that has read what is due, and is paused until its lock is another's
        schedules.add("labels", prefix, every="1h")
        late, index = cache.engine, cache.engine.open_index()
        with pytest.MonkeyPatch.context() as patched:
            begin = index.schedules.begin

            def paused(*arguments: Any) -> bool:
                index.locks.drop(index.keys.schedule_clock)
                Clock(make_cache().engine).tick()
                return begin(*arguments)

            patched.setattr(index.schedules, "begin", paused)
            Clock(late).tick()

        assert len(jobs(cache)) == 1
        assert len([request for request in proxied.requests if "list-type" in request.target]) == 1

    def test_catches_up_on_many_missed_runs_with_one(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        schedules.add("labels", prefix, every="1h")
        make_due(cache, "labels", ago=10 * 3600 + 60)
        for _ in range(3):
            Clock(cache.engine).tick()
            settle(cache, "labels")
        assert len(jobs(cache)) == 1
        assert time.time() < (schedules.get("labels").next or 0) <= time.time() + 3600

    def test_begins_anew_what_a_killed_worker_had_begun(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        # given a worker that was killed when it had written the job down, and not started it
        schedules.add("labels", prefix, every="1h", lease="1h")
        killed = Clock(cache.engine)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("forebay.jobs.handle.Job.start", _kill)
            with pytest.raises(_KilledError):
                killed.tick()
        begun = schedules.get("labels").last
        assert begun is not None
        assert (begun.state, [job.id for job in jobs(cache)]) == ("starting", [begun.job])

        Clock(cache.engine).tick()
        run = settle(cache, "labels")

        # then there is one job, and one lease
        assert (run.state, run.total) == ("done", 4)
        assert [job.id for job in jobs(cache)] == [run.job] != [begun.job]
        assert [lease.name for lease in cache.leases()] == [f"job-{run.job}"]
        assert run.due == begun.due

    def test_takes_over_a_job_that_had_started(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        schedules.add("labels", prefix, every="1h")
        killed = Clock(cache.engine)
        with pytest.MonkeyPatch.context() as patched:
            note, calls = cache.engine.open_index().schedules.note, []

            def die(*arguments: str) -> bool:
                calls.append(arguments)
                return _kill() if len(calls) == 2 else note(*arguments)

            patched.setattr(cache.engine.open_index().schedules, "note", die)
            with pytest.raises(_KilledError):
                killed.tick()

        Clock(cache.engine).tick()
        assert settle(cache, "labels").state == "done"
        assert len(jobs(cache)) == 1

    def test_of_a_worker_that_was_paused_starts_nothing_late(
        self, make_cache: MakeCache, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        # given a worker that is paused within its listing for longer than its lock holds
        schedules.add("labels", prefix, every="1h", lease="1h")
        late, index = Clock(cache.engine), cache.engine.open_index()
        with pytest.MonkeyPatch.context() as patched:

            def paused(self: Any, definition: Any) -> Iterator[Any]:
                index.locks.drop(index.keys.schedule_clock)
                patched.undo()
                Clock(make_cache().engine).tick()
                return self._samples(definition)

            patched.setattr(Clock, "_samples", paused)
            late.tick()

        run = settle(cache, "labels")
        assert (run.state, [job.id for job in jobs(cache)]) == ("done", [run.job])
        assert [lease.name for lease in cache.leases()] == [f"job-{run.job}"]

    def test_does_not_begin_one_before_its_last_run_has_ended(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        # given a run whose job nothing works on
        schedules.add("labels", prefix, every="1h")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("forebay.jobs.handle.Job.start", lambda _: None)
            Clock(cache.engine).tick()
        make_due(cache, "labels")
        Clock(cache.engine).tick()
        [job] = jobs(cache)
        assert job.state == "running"
        cache.job(job.id).cancel()
        Clock(cache.engine).tick()
        run = settle(cache, "labels")
        assert (run.state, run.job != job.id) == ("done", True)

    def test_writes_down_why_no_job_could_be_made(
        self, cache: MediaCache, schedules: Schedules, s3_bucket: str
    ) -> None:
        schedules.add("nothing", f"s3://{s3_bucket}/nothing/", every="1h")
        Clock(cache.engine).tick()
        run = schedules.get("nothing").last
        assert run is not None
        assert (run.state, run.job) == ("failed", "")
        assert f"s3://{s3_bucket}/nothing/" in run.error
        assert (schedules.get("nothing").next or 0) > time.time()

    def test_goes_on_with_the_others_where_one_fails_unexpectedly(
        self,
        cache: MediaCache,
        schedules: Schedules,
        prefix: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        # Given one whose listing breaks in a way that no code has thought of, and one after it
        schedules.add("a", prefix, every="1h", include=["breaks"])
        schedules.add("b", prefix, every="1h")
        samples = Clock._samples

        def break_one(self: Clock, definition: Definition) -> Any:
            return samples(self, definition) if definition.include != ("breaks",) else definition.nothing  # type: ignore[attr-defined]

        monkeypatch.setattr(Clock, "_samples", break_one)

        Clock(cache.engine).tick()

        # Then that one is written down as failed, and the other one runs
        assert settle(cache, "b").state == "done"
        failed = schedules.get("a").last
        assert failed is not None
        assert (failed.state, failed.job) == ("failed", "")
        assert "schedule a: " in caplog.text
        assert len(jobs(cache)) == 1

    def test_goes_on_with_the_others_where_one_cannot_be_looked_after(
        self, cache: MediaCache, schedules: Schedules, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        schedules.add("a", prefix, every="2h")
        schedules.add("b", prefix, every="1h")
        following = Definition.next_time

        def break_one(self: Definition, due: float, now: float) -> float:
            return following(self, due, now) if self.every == 3600 else self.nothing  # type: ignore[attr-defined, no-any-return]

        monkeypatch.setattr(Definition, "next_time", break_one)

        Clock(cache.engine).tick()

        assert settle(cache, "b").state == "done"
        assert schedules.get("a").last is None


class TestLeases:
    def test_that_of_a_run_replaces_the_last_when_all_its_samples_are_there(
        self, make_cache: MakeCache, prefix: str, s3_bucket: str, proxied: Proxy
    ) -> None:
        cache = make_cache(max_attempts=1)
        schedules = Schedules(cache)
        schedules.add("labels", prefix, every="1h", lease="2h", update=True)
        Clock(cache.engine).tick()
        first = settle(cache, "labels")
        assert names(cache) == {f"job-{first.job}"}

        # when a run fails, both leases stay
        proxied.fault(f"/{s3_bucket}/labels/0.bin", Fault(status=404), method=None, times=9)
        make_due(cache, "labels")
        Clock(cache.engine).tick()
        second = settle(cache, "labels")
        assert (second.state, second.failed) == ("failed", 1)
        assert names(cache) == {f"job-{first.job}", f"job-{second.job}"}

        # and the next that succeeds replaces both
        proxied.reset()
        make_due(cache, "labels")
        Clock(cache.engine).tick()
        third = settle(cache, "labels")
        assert third.state == "done"
        assert names(cache) == {f"job-{third.job}"}


class TestChanges:
    def test_a_paused_one_runs_when_told_to_and_stays_paused(
        self, cache: MediaCache, schedules: Schedules, prefix: str
    ) -> None:
        schedules.add("labels", prefix, every="1h")
        schedules.pause("labels")
        Clock(cache.engine).tick()
        assert (schedules.get("labels").next, jobs(cache)) == (None, [])

        schedules.run("labels")
        Clock(cache.engine).tick()
        assert settle(cache, "labels").state == "done"
        assert (schedules.get("labels").paused, schedules.get("labels").next) == (True, None)

        schedules.resume("labels")
        assert time.time() < (schedules.get("labels").next or 0) <= time.time() + 3600
        schedules.remove("labels")
        assert schedules.list() == []
        for change in (schedules.remove, schedules.pause, schedules.resume, schedules.run):
            with pytest.raises(ForebayError, match="has no schedule 'labels'"):
                change("labels")

    def test_two_of_one_name_are_refused(self, schedules: Schedules, prefix: str) -> None:
        schedules.add("labels", prefix, every="1h")
        with pytest.raises(ConfigError, match="there is a schedule 'labels' already"):
            schedules.add("labels", prefix, cron="0 3 * * *")
        assert schedules.get("labels").every == 3600.0

    def test_what_redis_holds_may_be_anything(
        self, cache: MediaCache, schedules: Schedules, prefix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        index = cache.engine.open_index()
        schedules.add("labels", prefix, every="1h")
        index.connection.command("hset", index.keys.schedules, "broken", "{")
        index.connection.command("hset", index.keys.schedule_runs, "labels", "[]")
        Clock(cache.engine).tick()
        assert settle(cache, "labels").state == "done"
        assert "schedule broken: what Redis holds of it cannot be read" in caplog.text
        assert [status.name for status in schedules.list()] == ["broken", "labels"]
        schedules.remove("broken")


def test_the_commands_say_that_workers_are_needed_and_a_worker_runs_it(
    make_cache: MakeCache, forebay: Forebay, prefix: str, tmp_path: Path
) -> None:
    cache = make_cache(dispatch="auto")
    added = forebay("schedule", "add", "labels", prefix, "--every", "1h", "--lease", "2h", "--max-age", "30m")
    assert "labels runs next at" in added.lines[0]
    assert "no worker of volume 'default' is alive, and workers run schedules: start one with" in added.err
    assert "has not run yet" in forebay("schedule", "list").out

    with worker(cache):
        eventually(lambda: _state(forebay, "labels") == "done", 60)
        [status] = forebay("schedule", "list", "--json").json
        assert (status["last"]["total"], status["last"]["failed"], status["every"]) == (4, 0, 3600.0)
        assert "4 samples" in forebay("schedule", "list").out
        # a second run, by order
        quiet = forebay("schedule", "run", "labels")
        assert "no worker" not in quiet.err
        eventually(lambda: _last(forebay, "labels")["job"] != status["last"]["job"], 60)
    assert forebay("schedule", "pause", "labels").out == "labels is paused\n"
    assert "paused" in forebay("schedule", "list").out
    assert "labels runs next at" in forebay("schedule", "resume", "labels").out
    assert forebay("schedule", "remove", "labels").out == "labels is removed\n"
    assert "no schedules" in forebay("schedule").err


def names(cache: MediaCache) -> set[str]:
    return {lease.name for lease in cache.leases()}


def _last(forebay: Forebay, name: str) -> dict[str, Any]:
    [status] = [one for one in forebay("schedule", "list", "--json").json if one["name"] == name]
    return dict(status["last"] or {})


def _state(forebay: Forebay, name: str) -> str:
    return str(_last(forebay, name).get("state"))


class _KilledError(BaseException):
    pass


def _kill(*_: object) -> bool:
    raise _KilledError
