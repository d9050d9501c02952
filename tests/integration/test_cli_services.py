"""Commands that go on for a while: worker, up, and a prefetch that is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from forebay.cache import MediaCache
from forebay.cli import following
from forebay.cli.shared_options import State
from forebay.errors import IndexUnavailableError
from tests.caches import MakeCache
from tests.commands import Forebay, ended
from tests.servers.embedded import cache_directory, eventually, processes
from tests.servers.process import free_ports
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")
COUNT = 60


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    return s3_server.put_many(s3_bucket, {f"{n:03}": b"x" * 1000 for n in range(COUNT)})


@pytest.fixture
def slow(s3_proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """S3 through a proxy that lets each object wait for a moment, and a few objects at a time."""
    monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_MAX_REQUESTS", "4")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    s3_proxy.fault(None, Fault(delay=0.1))
    return s3_proxy


class TestInterrupt:
    def test_a_job_of_the_fleet_goes_on(
        self, forebay: Forebay, make_cache: MakeCache, uris: list[str], slow: Proxy
    ) -> None:
        # Given a prefetch through a worker that has begun
        cache = make_cache(dispatch="fleet", num_workers=2)
        with worker(cache), forebay.started("prefetch", *uris, dispatch="fleet") as process:
            eventually(lambda: any(job.downloaded > 4 for job in cache.jobs()))

            # When it is interrupted
            process.send_signal(signal.SIGINT)
            done = ended(process)

            # Then it says how to go on, and the job goes on to its end
            [status] = cache.jobs()
            assert done.status == 130
            assert done.out == ""
            assert f"interrupted: job {status.id} continues through the fleet; " in done.err
            assert done.error_lines[-2:] == [
                f"  to watch it:  forebay job {status.id} --watch",
                f"  to cancel it: forebay job {status.id} --cancel",
            ]
            assert status.state == "running"
            watched = forebay("job", status.id, "--watch")
            assert watched.status == 0
            assert watched.out.startswith(f"{COUNT} of {COUNT} samples cached")

    def test_a_job_that_redis_has_lost(
        self, forebay: Forebay, make_cache: MakeCache, uris: list[str], slow: Proxy, valkey: Valkey
    ) -> None:
        # Given a prefetch through a worker that has begun
        cache = make_cache(dispatch="fleet", num_workers=1)
        with worker(cache), forebay.started("prefetch", *uris, dispatch="fleet") as process:
            eventually(lambda: any(job.downloaded > 1 for job in cache.jobs()))
            [status] = cache.jobs()

            # When everything in Redis is lost
            valkey.client.flushall()

            # Then the command says that the job is, and what to do
            done = ended(process)
        assert done.status == 2
        assert (
            f"error: job '{status.id}' no longer exists: Redis lost its data, or the job was forgotten. "
            "Run the prefetch again; downloaded files stay ("
        ) in done.err
        assert f" of {COUNT} samples had ended)\n" in done.err

    @pytest.mark.parametrize(
        ("dispatch", "message"),
        [
            (
                "fleet",
                "the fleet continues job JOB when Redis is available again; to watch it: "
                "forebay job JOB --watch",
            ),
            (
                "local",
                "job JOB stops; downloaded files stay. To resume when Redis is available again: "
                "forebay job JOB --retry",
            ),
        ],
    )
    def test_redis_is_out_of_reach_for_too_long(
        self,
        cache: MediaCache,
        uris: list[str],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        dispatch: str,
        message: str,
    ) -> None:
        job = cache.create_job(uris)
        cache.engine.open_index().jobs.write(job.id, dispatch=dispatch)

        def outage(**_: object) -> None:
            raise IndexUnavailableError("Redis cannot be reached")

        monkeypatch.setattr(job, "wait", outage)
        with pytest.raises(IndexUnavailableError):
            following.follow(State(), job, json=False)
        assert capsys.readouterr().err == f"{message.replace('JOB', job.id)}\n"

    def test_it_can_be_cancelled_then(
        self, forebay: Forebay, make_cache: MakeCache, uris: list[str], slow: Proxy
    ) -> None:
        cache = make_cache(dispatch="fleet", num_workers=1)
        with worker(cache), forebay.started("prefetch", *uris, dispatch="fleet") as process:
            eventually(lambda: any(job.downloaded > 1 for job in cache.jobs()))
            [status] = cache.jobs()

            assert forebay("job", status.id, "--cancel").status == 0

            done = ended(process)
            assert done.status == 1
            assert ", cancelled; " in done.out
            assert f"to resume it: forebay job {status.id} --retry" in done.err

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_local_job_stops_and_can_be_gone_on_with(
        self, forebay: Forebay, cache: MediaCache, uris: list[str], slow: Proxy, number: signal.Signals
    ) -> None:
        # Given a prefetch with local threads that has begun
        with forebay.started("prefetch", *uris, "--json") as process:
            eventually(lambda: any(job.downloaded > 4 for job in cache.jobs()))

            # When it is interrupted
            process.send_signal(number)
            done = ended(process)

        # Then it stops and says how to go on
        [status] = cache.jobs()
        assert done.status == 130
        assert done.json["state"] == status.state == "cancelled"
        assert f"interrupted: job {status.id} stopped after " in done.err
        assert done.error_lines[-1] == f"  to resume it: forebay job {status.id} --retry"
        # and nothing is claimed or reserved any more,
        assert cache.engine.open_index().claims.all() == {}
        assert cache.engine.open_index().entries.totals().reserved == 0
        # and what was downloaded is not downloaded again.
        slow.reset()
        again = forebay("job", status.id, "--retry", "--json")
        assert again.status == 0
        assert again.json["downloaded"] + again.json["cached"] == COUNT
        assert len(slow.requests) < COUNT

    def test_before_there_is_a_job(
        self, forebay: Forebay, s3_bucket: str, uris: list[str], slow: Proxy
    ) -> None:
        slow.reset()
        slow.fault(None, Fault(delay=60.0))
        with forebay.started("prefetch", f"s3://{s3_bucket}/") as process:
            eventually(lambda: slow.requests)

            process.send_signal(signal.SIGINT)
            done = ended(process, timeout=20)

        assert (done.status, done.out, done.err) == (130, "", "interrupted\n")

    def test_a_local_job_whose_process_was_killed_is_gone_on_with(
        self, forebay: Forebay, cache: MediaCache, uris: list[str], slow: Proxy
    ) -> None:
        with forebay.started("prefetch", *uris) as process:
            eventually(lambda: any(job.downloaded > 4 for job in cache.jobs()))
            process.kill()
            process.wait()
        [status] = cache.jobs()
        slow.reset()

        assert forebay("jobs").lines[1].split()[1] == "stopped"
        assert forebay("jobs", "--json").json[0]["abandoned"] is True
        shown = forebay("job", status.id)

        assert shown.status == 1
        assert shown.err == f"to resume it: forebay job {status.id} --retry\n"
        assert forebay("job", status.id, "--watch").status == 0


class TestWorker:
    def test_works_until_it_is_told_to_stop(
        self, forebay: Forebay, cache: MediaCache, uris: list[str]
    ) -> None:
        # Given a worker started by the command, of which others hear
        with forebay.started("worker", "--concurrency", "3", "--name", "w7") as process:
            [one] = eventually(cache.engine.open_index().workers.all)
            assert (one.name.partition("@")[0], one.concurrency) == ("w7", 3)

            # When a prefetch leaves the choice to Forebay
            done = forebay("prefetch", *uris, "--json", dispatch="auto")

            # Then it takes the fleet, and everybody says so
            assert (done.status, done.json["dispatch"]) == (0, "fleet")
            assert done.error_lines == [
                f"job {done.json['id']}: {COUNT} samples, {COUNT} to fetch through the fleet"
            ]
            assert forebay("stats", "--json").json["workers"] == 1
            doctor = {item["name"]: item for item in forebay("doctor", "--json", dispatch="auto").json}
            assert doctor["workers"]["message"] == f"1 alive with 3 threads: {one.name}"

            # When it is interrupted, it signs off and ends in good order
            process.send_signal(signal.SIGINT)
            assert ended(process, timeout=30).status == 0
        assert cache.engine.open_index().workers.all() == []

    def test_its_log_as_json(self, forebay: Forebay, cache: MediaCache) -> None:
        with forebay.started("worker", "--json", "-v") as process:
            eventually(cache.engine.open_index().workers.all)
            process.send_signal(signal.SIGINT)
            done = ended(process, timeout=30)
        assert done.json_lines
        assert all(line.keys() >= {"time", "level", "logger", "message"} for line in done.json_lines)

    def test_a_pool_of_processes(self, forebay: Forebay, cache: MediaCache, uris: list[str]) -> None:
        with forebay.started("worker", "-c", "2", "--pool", "prefork") as process:
            eventually(cache.engine.open_index().workers.all)
            assert len(psutil.Process(process.pid).children()) >= 2

            assert forebay("prefetch", *uris, dispatch="fleet").status == 0

            process.send_signal(signal.SIGINT)
            assert ended(process, timeout=30).status == 0


class TestUp:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Iterator[str]:
        with cache_directory(tmp_path / "embedded") as directory:
            yield directory

    def test_starts_everything_and_leaves_nothing(
        self, forebay: Forebay, directory: str, uris: list[str]
    ) -> None:
        # Given everything that one machine needs, started by one command
        [port] = free_ports()
        settings = {"cache_dir": directory, "redis_url": None, "dispatch": "auto"}
        with forebay.started("up", "--json", "--flower-port", str(port), **settings) as process:
            facts = _first_document(process)
            assert facts["cache_dir"] == directory
            assert facts["flower"] == f"http://127.0.0.1:{port}"
            family = [*psutil.Process(process.pid).children(recursive=True), *processes(directory)]

            # When a prefetch finds it
            done = forebay("prefetch", *uris, "--json", **settings)

            # Then the worker does the work, and Flower shows it
            assert (done.status, done.json["dispatch"], done.json["downloaded"]) == (0, "fleet", COUNT)
            page = requests.get(f"{facts['flower']}/tasks", timeout=10)
            assert page.status_code == 200
            shown = requests.get(f"{facts['flower']}/workers?json=1&refresh=1", timeout=10).json()
            assert [worker["status"] for worker in shown["data"]] == [True]

            # When it is interrupted, nothing is left
            process.send_signal(signal.SIGINT)
            assert ended(process, timeout=60).status == 0
        assert not [one for one in family if _runs(one)]
        assert processes(directory) == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_other_signals_stop_it_too(
        self, forebay: Forebay, directory: str, number: signal.Signals
    ) -> None:
        with forebay.started("up", "--json", "--no-flower", cache_dir=directory, redis_url=None) as process:
            facts = _first_document(process)
            process.send_signal(number)
            assert ended(process, timeout=60).status == 0
        assert not psutil.pid_exists(facts["worker"])
        assert processes(directory) == []

    def test_what_it_started_ends_with_it_when_it_is_killed(self, forebay: Forebay, directory: str) -> None:
        with forebay.started("up", "--json", "--no-flower", cache_dir=directory, redis_url=None) as process:
            facts = _first_document(process)
            process.kill()
            eventually(lambda: not psutil.pid_exists(facts["worker"]), 60)

    def test_it_stops_when_its_worker_dies(self, forebay: Forebay, directory: str) -> None:
        with forebay.started("up", "--json", "--no-flower", cache_dir=directory, redis_url=None) as process:
            psutil.Process(_first_document(process)["worker"]).kill()
            done = ended(process, timeout=60)
        assert done.status == 1
        assert "error: the worker has ended with status -9" in done.error_lines
        assert processes(directory) == []


class TestTerminal:
    def test_a_bar_while_it_runs_and_a_question_before_clearing(
        self, forebay: Forebay, uris: list[str], slow: Proxy
    ) -> None:
        shown = _on_terminal(forebay, ["prefetch", *uris], "")
        assert "━" in shown
        assert f"/{COUNT}" in shown
        assert " left" in shown
        assert f"{COUNT} of {COUNT} samples cached" in shown

        assert "nothing was done" in _on_terminal(forebay, ["clear", "--all"], "n\n")
        assert f"removed {COUNT} objects" in _on_terminal(forebay, ["clear", "--all"], "y\n")


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _first_document(process: subprocess.Popen[str]) -> dict[str, object]:
    """The JSON document that a command prints before it goes on."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            return dict(json.loads(text))
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())


def _on_terminal(forebay: Forebay, arguments: list[str], typed: str) -> str:
    """What a command shows on a terminal of 100 columns."""
    from tests.commands import COMMAND

    ours, theirs = pty.openpty()
    environment = forebay.environment() | {"TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        [COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    waiting = select.poll()
    waiting.register(ours, select.POLLIN | select.POLLHUP)
    shown, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if waiting.poll(100):
            try:
                shown += os.read(ours, 65536)
            except OSError:  # its other end is closed
                break
    os.close(ours)
    process.wait()
    return shown.decode()
