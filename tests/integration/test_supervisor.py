"""Several workers under one supervisor: ``forebay worker --processes N``."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as parse

from forebay.cache import MediaCache
from forebay.index.workers import Worker
from tests.commands import Forebay, ended
from tests.servers.embedded import eventually, has_ended
from tests.servers.process import free_ports
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.usefixtures("s3_environment")
COUNT = 60
START_SECONDS = 60.0


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    return s3_server.put_many(s3_bucket, {f"{n:03}": b"x" * 1000 for n in range(COUNT)})


@pytest.fixture
def slow(s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """S3 through a proxy that lets each object wait for a moment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    s3_proxy.fault(None, Fault(delay=0.2))
    return s3_proxy


def processes(supervisor: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The worker processes by the names that they were given."""
    found: dict[str, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(supervisor.pid).children():
            with contextlib.suppress(psutil.Error, ValueError):
                command = process.cmdline()
                found[command[command.index("--name") + 1]] = process
    return found


def names(workers: list[Worker]) -> list[str]:
    return [worker.name.partition("@")[0] for worker in workers]


@contextlib.contextmanager
def two_workers(
    forebay: Forebay, cache: MediaCache, *arguments: str, **settings: object
) -> Iterator[tuple[subprocess.Popen[str], dict[str, psutil.Process]]]:
    """A supervisor with two workers that are ready, and their processes."""
    with forebay.started("worker", "--processes", "2", *arguments, **settings) as supervisor:
        alive = cache.engine.open_index().workers.alive
        eventually(lambda: len(alive()) == 2 or supervisor.poll() is not None, START_SECONDS)
        assert supervisor.poll() is None, supervisor.communicate()
        found = processes(supervisor)
        try:
            yield supervisor, found
        finally:
            left = [one for one in [*found.values(), *processes(supervisor).values()] if not has_ended(one)]
            supervisor.kill()
            for one in left:
                with contextlib.suppress(psutil.Error):
                    one.kill()


class TestWorkersThatDie:
    def test_one_that_is_killed_is_replaced_and_no_sample_is_lost(
        self, forebay: Forebay, cache: MediaCache, uris: list[str], slow: Proxy
    ) -> None:
        # Given two workers in the middle of a job
        with two_workers(forebay, cache) as (supervisor, found):
            assert set(found) == {"default.1", "default.2"}
            prefetch = forebay("prefetch", *uris, "--no-wait", dispatch="fleet")
            [job] = cache.jobs()
            assert prefetch.status == 0
            eventually(lambda: cache.job(job.id).status().downloaded > 4)

            # When one of them is killed
            found["default.2"].kill()

            # Then the index tells so, another takes its place and its name, and the job ends
            workers = cache.engine.open_index().workers
            eventually(lambda: names([one for one in workers.all() if one.ended]) == ["default.2"])
            eventually(
                lambda: processes(supervisor).get("default.2", found["default.2"]) != found["default.2"]
            )
            status = cache.job(job.id).wait(timeout=90)
            assert (status.downloaded + status.cached, status.failed) == (COUNT, 0)
            eventually(lambda: names(workers.alive()) == ["default.1", "default.2"])
            assert processes(supervisor)["default.1"] == found["default.1"]

            # and the log tells how it ended.
            supervisor.send_signal(signal.SIGTERM)
            done = ended(supervisor, timeout=30)
        assert done.status == 0
        pid = found["default.2"].pid
        assert f" default.2 (process {pid}) ended with status -9; it is started again in 1 s" in done.err

    def test_children_of_a_killed_worker_do_not_outlive_it(self, forebay: Forebay, cache: MediaCache) -> None:
        with two_workers(forebay, cache, "--pool", "prefork", "-c", "2") as (_, found):
            children = found["default.1"].children(recursive=True)
            assert len(children) >= 2
            found["default.1"].kill()
            eventually(lambda: all(has_ended(one) for one in children))

    def test_what_is_wrong_with_the_settings_is_said_once(self, forebay: Forebay, valkey: Valkey) -> None:
        valkey.client.config_set("maxmemory-policy", "allkeys-lru")
        done = forebay("worker", "--processes", "3")
        assert done.status == 2
        assert len([line for line in done.error_lines if line.startswith("error: ")]) == 1
        assert "default.1 (process " in done.error_lines[-1]
        assert done.error_lines[-1].endswith(
            ") ended with status 2 before it was ready; the workers are not started again"
        )

    @pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
    def test_a_bad_number(self, forebay: Forebay, text: str) -> None:
        done = forebay("worker", f"--processes={text}")
        assert done.status == 2
        assert done.err == (
            f"error: --processes {text!r} is not a number of processes: write 1 to 512, or auto\n"
        )


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_all_end_in_good_order(
        self, forebay: Forebay, cache: MediaCache, uris: list[str], slow: Proxy, number: signal.Signals
    ) -> None:
        # Given two workers in the middle of a job
        with two_workers(forebay, cache, "--name", "w7") as (supervisor, found):
            assert set(found) == {"w7.1", "w7.2"}
            forebay("prefetch", *uris, "--no-wait", dispatch="fleet")
            [job] = cache.jobs()
            eventually(lambda: cache.job(job.id).status().downloaded > 4)

            # When the supervisor gets a signal
            supervisor.send_signal(number)

            # Then all end within the time, and leave nothing behind
            assert ended(supervisor, timeout=25).status == 0
        assert all(has_ended(one) for one in found.values())
        assert cache.engine.open_index().workers.all() == []
        assert cache.engine.open_index().claims.all() == {}
        assert cache.job(job.id).status().failed == 0

    def test_a_second_one_ends_them_at_once(
        self, forebay: Forebay, cache: MediaCache, uris: list[str], slow: Proxy
    ) -> None:
        # Given workers that wait for a source
        with two_workers(forebay, cache) as (supervisor, found):
            slow.reset()
            slow.fault(None, Fault(delay=60.0))
            forebay("prefetch", *uris, "--no-wait", dispatch="fleet")
            eventually(lambda: slow.requests)

            # When they are told to end twice
            began = time.monotonic()
            supervisor.send_signal(signal.SIGTERM)
            supervisor.send_signal(signal.SIGINT)

            # Then they do not wait for what is under way
            assert ended(supervisor, timeout=10).status == 128 + signal.SIGKILL
        assert time.monotonic() - began < 5
        assert all(has_ended(one) for one in found.values())

    def test_hangup_restarts_them_one_by_one(self, forebay: Forebay, cache: MediaCache) -> None:
        # With metrics, workers are still heard after they were told to end.
        [port] = free_ports()
        with two_workers(forebay, cache, metrics_port=port) as (supervisor, before):
            supervisor.send_signal(signal.SIGHUP)

            # While one is away, the other one is not
            alive = cache.engine.open_index().workers.alive

            def all_new() -> bool:
                assert alive()
                now = processes(supervisor)
                return set(now) == set(before) and all(now[name] != before[name] for name in before)

            eventually(all_new, START_SECONDS)
            eventually(lambda: names(alive()) == ["default.1", "default.2"], START_SECONDS)
            supervisor.send_signal(signal.SIGINT)
            assert ended(supervisor, timeout=30).status == 0

    def test_they_end_with_a_supervisor_that_is_killed(self, forebay: Forebay, cache: MediaCache) -> None:
        with two_workers(forebay, cache) as (supervisor, found):
            supervisor.kill()
            eventually(lambda: all(has_ended(one) for one in found.values()), 25)
        # They signed off, so it was in good order.
        assert cache.engine.open_index().workers.all() == []


class TestMetrics:
    def test_one_port_serves_the_sum(
        self, forebay: Forebay, cache: MediaCache, uris: list[str], slow: Proxy
    ) -> None:
        # Given two workers that share a job
        [port] = free_ports()

        def asked() -> tuple[float, dict[str, float]]:
            downloaded, memory = 0.0, {}
            for family in parse(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text):
                for sample in family.samples:
                    if sample.name == "forebay_process_objects_total":
                        downloaded += sample.value
                    elif sample.name == "process_resident_memory_bytes":
                        memory[sample.labels["worker"]] = sample.value
            return downloaded, memory

        with two_workers(forebay, cache, metrics_port=port) as (supervisor, found):
            assert forebay("prefetch", *uris, dispatch="fleet").status == 0
            done = {worker.name: worker.done for worker in cache.engine.open_index().workers.all()}
            assert all(done.values()), "each did a part of it"

            # When the supervisor is asked, then it tells the sum, and the memory of each
            eventually(lambda: asked()[0] == COUNT)
            assert set(asked()[1]) == {"default.1", "default.2"}
            assert all(one > 1e6 for one in asked()[1].values())

            # and no counter falls when one is killed.
            found["default.1"].kill()
            replaced = eventually(lambda: processes(supervisor).get("default.1", found["default.1"]))
            eventually(lambda: has_ended(found["default.1"]))
            assert asked()[0] == COUNT
            eventually(lambda: len(cache.engine.open_index().workers.alive()) == 2, START_SECONDS)
            assert replaced is not None
            eventually(lambda: set(asked()[1]) == {"default.1", "default.2"}, START_SECONDS)
            assert asked()[0] == COUNT


# The beginning of a worker without Celery.
_WORKER = """
import os, pathlib, signal, sys, time
from forebay_worker import line
directory = pathlib.Path({directory!r})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
"""
_SUPERVISOR = """
import logging, sys
from forebay_worker import place, supervisor
from forebay_worker.metrics_sum import MetricsSum
logging.basicConfig(level=logging.INFO, format="%(message)s")
place.FIRST_PAUSE_SECONDS = 0.01
{more}
sys.exit(supervisor.Supervisor([sys.executable, "-c", {worker!r}], ["a", "b"], MetricsSum()).run())
"""


def supervised(worker: str, directory: Path, more: str = "") -> subprocess.Popen[str]:
    """A supervisor of workers that run a piece of Python."""
    program = _SUPERVISOR.format(worker=_WORKER.format(directory=str(directory)) + worker, more=more)
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


class TestEdges:
    def test_one_that_dies_again_and_again_at_its_start_ends_all_with_its_status(
        self, tmp_path: Path
    ) -> None:
        # Given workers, one of which cannot start again
        worker = """
            own = line.attach()
            if (directory / sys.argv[2]).exists(): sys.exit(3)
            (directory / sys.argv[2]).write_text(str(os.getpid()))
            own.ready(None)
            signal.pause()
        """
        process = supervised(textwrap.dedent(worker), tmp_path)
        marks = [tmp_path / "a", tmp_path / "b"]
        eventually(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        psutil.Process(int(marks[1].read_text())).kill()

        done = ended(process, timeout=30)
        assert done.status == 3
        assert done.err.count("ended with status 3; it is started again") == 4
        assert ") ended with status 3 before it was ready; 5 times in a row, all workers end" in done.err
        assert has_ended_pid(int(marks[0].read_text()))

    def test_workers_end_with_it_also_where_the_kernel_does_not_tell_them(self, tmp_path: Path) -> None:
        worker = """
            line._end_with_parent = lambda: False
            own = line.attach()
            own.ready(None)
            (directory / sys.argv[2]).write_text(str(os.getpid()))
            signal.pause()
        """
        process = supervised(textwrap.dedent(worker), tmp_path)
        marks = [tmp_path / "a", tmp_path / "b"]
        eventually(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        process.kill()
        process.communicate()
        eventually(lambda: all(has_ended_pid(int(mark.read_text())) for mark in marks))

    @pytest.mark.skipif(sys.platform != "linux", reason="others have no subreapers")
    def test_as_process_1_it_reaps_orphans(self, tmp_path: Path) -> None:
        worker = """
            own = line.attach()
            own.ready(None)
            if sys.argv[2] == "a" and os.fork() == 0:
                if (pid := os.fork()):
                    (directory / "orphan").write_text(str(pid))
                    os._exit(0)
                while os.getppid() != int(os.environ["SUPERVISOR"]): time.sleep(0.01)
                os._exit(0)
            signal.pause()
        """
        # As PR_SET_CHILD_SUBREAPER makes it, orphans come to the supervisor, as they come to process 1.
        more = "import ctypes, os; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)"
        more += "; os.environ['SUPERVISOR'] = str(os.getpid())"
        process = supervised(textwrap.dedent(worker), tmp_path, more)
        try:
            mark = tmp_path / "orphan"
            eventually(lambda: mark.exists() and mark.read_text())
            eventually(lambda: not psutil.pid_exists(int(mark.read_text())))
            process.send_signal(signal.SIGTERM)
        finally:
            assert ended(process, timeout=10).status == 0


def has_ended_pid(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return has_ended(psutil.Process(pid))
    return True
