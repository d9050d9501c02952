"""The embedded server while processes start, stop and are killed at the worst moments."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from forebay import embedded
from forebay.errors import IndexUnavailableError
from tests.servers.embedded import cache_directory, client, eventually, processes, server, supervisor

FORK = multiprocessing.get_context("fork")
PATIENCE_SECONDS = 30


@pytest.fixture
def cache_dir(tmp_path: Path) -> Iterator[str]:
    with cache_directory(tmp_path / "cache") as path:
        yield path


def one_server_serves(cache_dir: str) -> bool:
    """Whether users are served, and by one server. The one they found may be on its way out."""
    with contextlib.suppress(redis.ConnectionError):
        return bool(client(embedded.ensure_running(cache_dir)).ping()) and len(processes(cache_dir)) == 2
    return False


def _run_id(cache_dir: str, ready: Any, results: Any) -> None:
    ready.wait()
    with client(embedded.ensure_running(cache_dir)) as one:
        results.put(one.info()["run_id"])
        ready.wait()


@pytest.mark.parametrize("attempt", range(3))
def test_eight_that_start_at_the_same_moment_share_one_server(cache_dir: str, attempt: int) -> None:
    ready, results = FORK.Barrier(8), FORK.Queue()
    children = [FORK.Process(target=_run_id, args=(cache_dir, ready, results)) for _ in range(8)]
    for child in children:
        child.start()

    run_ids = [results.get(timeout=PATIENCE_SECONDS) for _ in children]

    for child in children:
        child.join()
    assert len(run_ids) == 8 and len(set(run_ids)) == 1
    eventually(lambda: one_server_serves(cache_dir))


def test_it_survives_the_kill_of_its_starters_whole_process_group(cache_dir: str) -> None:
    script = (
        "import sys, time; from forebay import embedded; "
        "print(embedded.ensure_running(sys.argv[1]), flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, cache_dir], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        run_id = client(url).info()["run_id"]

        # Ctrl-C in its terminal reaches the whole group, and then comes the worst
        os.killpg(starter.pid, signal.SIGINT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(starter.pid, signal.SIGKILL)
        starter.wait()

    assert client(url).info()["run_id"] == run_id


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1])
def test_a_starter_killed_halfway_is_in_nobodys_way(cache_dir: str, moment: float) -> None:
    child = FORK.Process(target=embedded.ensure_running, args=(cache_dir,))
    child.start()
    # The moment is what this test varies
    time.sleep(moment)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()

    eventually(lambda: one_server_serves(cache_dir))


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
def test_a_supervisor_killed_halfway_is_in_nobodys_way(cache_dir: str, moment: float) -> None:
    child = FORK.Process(target=_start_quietly, args=(cache_dir,))
    child.start()
    found = eventually(lambda: processes(cache_dir))
    time.sleep(moment)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

    eventually(lambda: one_server_serves(cache_dir))
    child.join()


def _start_quietly(cache_dir: str) -> None:
    with contextlib.suppress(IndexUnavailableError):
        embedded.ensure_running(cache_dir)


@pytest.mark.parametrize("victims", ["server", "supervisor", "both"])
def test_what_was_acknowledged_survives_the_kill_of(cache_dir: str, victims: str) -> None:
    with client(embedded.ensure_running(cache_dir)) as one:
        for number in range(100):
            one.set(f"key-{number}", number)
        run_id = one.info()["run_id"]
    both = [supervisor(cache_dir), server(cache_dir)]

    for process in {"server": both[1:], "supervisor": both[:1], "both": both}[victims]:
        process.kill()

    # The one that was not killed must not stay behind either
    eventually(lambda: not processes(cache_dir))
    with client(embedded.ensure_running(cache_dir)) as one:
        assert one.dbsize() == 100
        assert one.info()["run_id"] != run_id


@pytest.mark.parametrize("victim", ["server", "supervisor"])
def test_it_is_there_again_right_after_a_kill(cache_dir: str, victim: str) -> None:
    # Given nobody who waits for the rest to end
    for _ in range(10):
        before = client(embedded.ensure_running(cache_dir)).info()["run_id"]
        {"server": server, "supervisor": supervisor}[victim](cache_dir).kill()

        def another(before: str = before) -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(client(embedded.ensure_running(cache_dir)).info()["run_id"] != before)
            return False

        eventually(another)
    eventually(lambda: one_server_serves(cache_dir))


def _count(
    cache_dir: str, name: str, idle_seconds: float, until: float, results: Any, enough_runs: int = 0
) -> None:
    """Counts until a time, and on while it has met fewer servers than ``enough_runs``."""
    acknowledged = runs = 0
    last, deadline = "", time.monotonic() + PATIENCE_SECONDS
    while (now := time.monotonic()) < until or (runs < enough_runs and now < deadline):
        with (
            contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError),
            client(embedded.ensure_running(cache_dir, idle_seconds=idle_seconds)) as one,
        ):
            run_id = one.info("server")["run_id"]
            acknowledged = one.incr(name)
            runs += run_id != last
            last = run_id
        time.sleep(random.uniform(0, 4 * idle_seconds))
    results.put((name, acknowledged, runs))


def test_nobody_is_cut_off_by_a_server_that_goes_idle_all_the_time(cache_dir: str) -> None:
    # Given a server that stops after 20 ms, and users that come about as often
    results, until = FORK.Queue(), time.monotonic() + 2
    children = [
        FORK.Process(target=_count, args=(cache_dir, f"counter-{number}", 0.02, until, results, 6))
        for number in range(3)
    ]
    for child in children:
        child.start()
    counted = [results.get(timeout=2 * PATIENCE_SECONDS) for _ in children]
    for child in children:
        child.join()

    # Then it did stop and start many times, and kept every count that it had acknowledged
    assert max(runs for _, _, runs in counted) > 5
    with client(embedded.ensure_running(cache_dir)) as one:
        assert {name: int(one.get(name)) for name, _, _ in counted} == {name: n for name, n, _ in counted}


def test_users_get_through_a_hail_of_kills(cache_dir: str) -> None:
    results, until = FORK.Queue(), time.monotonic() + 5
    children = [
        FORK.Process(target=_count, args=(cache_dir, f"counter-{number}", 0.05, until, results))
        for number in range(3)
    ]
    for child in children:
        child.start()
    generator = random.Random(7)
    while time.monotonic() < until - 0.5:
        time.sleep(generator.uniform(0, 0.2))
        for process in processes(cache_dir):
            if generator.random() < 0.5:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
    counted = [results.get(timeout=PATIENCE_SECONDS) for _ in children]
    for child in children:
        child.join()

    assert all(acknowledged for _, acknowledged, _ in counted)
    eventually(lambda: one_server_serves(cache_dir))
    # None of the kills, however early, was taken for broken data
    assert not list(Path(cache_dir, ".forebay", "valkey").glob("*.broken-*"))


def _in_container(name: str, script: str, *arguments: str) -> subprocess.Popen[str]:
    """Runs Python with the host name and the network of a container, out of the reach of others' locks."""
    command = ["unshare", "--net", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', name]
    return subprocess.Popen(
        [*command, sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )


START = "import sys; from forebay import embedded; print(embedded.ensure_running(sys.argv[1]))"
needs_namespaces = pytest.mark.skipif(
    subprocess.run("unshare --net --uts true", shell=True, check=False, capture_output=True).returncode != 0,
    reason="needs the right to create namespaces",
)


@needs_namespaces
def test_containers_of_one_machine_that_start_together_share_a_server(cache_dir: str) -> None:
    starters = [_in_container(f"container-{number}", START, cache_dir) for number in range(4)]

    urls = {starter.communicate(timeout=PATIENCE_SECONDS)[0].strip() for starter in starters}

    assert len(urls) == 1
    assert client(urls.pop()).ping()
    eventually(lambda: one_server_serves(cache_dir))


@needs_namespaces
def test_a_new_container_takes_over_from_one_that_is_gone(cache_dir: str) -> None:
    # Given a container that was removed with everything in it, three beats ago
    url = _in_container("container-1", START, cache_dir).communicate(timeout=PATIENCE_SECONDS)[0].strip()
    with client(url) as one:
        one.set("key", "value")
    for process in processes(cache_dir):
        process.kill()
    eventually(lambda: not processes(cache_dir))
    lease = Path(cache_dir, ".forebay", "valkey", "host.json")
    assert '"host": "container-1-' in lease.read_text()
    os.utime(lease, (time.time() - 6, time.time() - 6))

    _in_container("container-2", START, cache_dir).communicate(timeout=PATIENCE_SECONDS)

    assert '"host": "container-2-' in lease.read_text()
    assert client(url).get("key") == "value"
