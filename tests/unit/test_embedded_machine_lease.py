"""The lease by which one machine at a time runs the server of a directory that several can reach."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay import embedded, processes
from forebay.embedded._machine_lease import FAR_SECONDS, MachineLease, _digest
from forebay.errors import VolumeError
from tests.servers.embedded import cache_directory, client, eventually
from tests.servers.embedded import processes as server_processes


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's directory, as the working directory: the supervisor's world."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cache_dir(tmp_path: Path) -> Iterator[str]:
    with cache_directory(tmp_path / "cache") as path:
        yield path


def hold(directory: Path, age_seconds: float = 0.0, **record: Any) -> Path:
    """Puts a lease there, as another machine would, with its last heartbeat some time ago."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "host.json"
    path.write_text(json.dumps({"host": "gpu-1-abcdef01", "boot": "b", "lock": "l", "token": "t"} | record))
    then = time.time() - age_seconds
    os.utime(path, (then, then))
    return path


def test_a_lease_is_given_back(directory: Path) -> None:
    lease = MachineLease("here")
    assert lease.take() is None
    assert os.listdir(directory) == ["host.json"]
    assert lease.heartbeat()

    lease.release()

    assert os.listdir(directory) == []
    assert not lease.heartbeat()


def test_a_beat_shows_in_the_files_time(directory: Path) -> None:
    lease = MachineLease("here")
    assert lease.take() is None
    os.utime("host.json", (0, 0))

    lease.heartbeat()

    assert time.time() - os.stat("host.json").st_mtime < 60


def test_another_hosts_lease_is_refused_while_it_lives(directory: Path) -> None:
    path = hold(directory, age_seconds=100)
    before = path.read_text()

    held = MachineLease("here").take()

    assert held is not None and held.host == "gpu-1-abcdef01"
    assert held.age_seconds == pytest.approx(100, abs=5)
    assert held.free_after_seconds == pytest.approx(FAR_SECONDS - 100, abs=5)
    assert path.read_text() == before and os.listdir(directory) == ["host.json"]


def test_another_hosts_lease_is_taken_when_it_was_silent_for_long(directory: Path) -> None:
    hold(directory, age_seconds=FAR_SECONDS + 1)
    lease = MachineLease("here")

    assert lease.take() is None

    assert lease.heartbeat() and os.listdir(directory) == ["host.json"]


def test_a_machine_that_died_while_it_took_a_lease_over_is_not_waited_for_for_ever(directory: Path) -> None:
    path = hold(directory, age_seconds=FAR_SECONDS + 1)
    turn = directory / f"host.json.{_digest(json.loads(path.read_text()))}.over"
    turn.write_text("{}")
    os.utime(turn, (0, 0))
    lease = MachineLease("here")

    assert lease.take() is None

    assert lease.heartbeat() and os.listdir(directory) == ["host.json"]


def test_whoever_lost_the_lease_notices_and_leaves_it_alone(directory: Path) -> None:
    lease = MachineLease("here")
    assert lease.take() is None
    path = hold(directory)

    assert not lease.heartbeat()
    lease.release()

    assert json.loads(path.read_text())["host"] == "gpu-1-abcdef01"


def test_a_holder_of_the_same_kernel_run_is_known_to_be_gone_by_the_lock(directory: Path) -> None:
    first, second = MachineLease("here"), MachineLease("here")
    assert first.take() is None

    assert second.take() is None

    assert second.heartbeat() and not first.heartbeat()


@pytest.mark.parametrize("change", [{"boot": "before"}, {"lock": "another mount"}, {"host": "container-2"}])
def test_after_a_restart_of_host_or_container_three_missed_beats_are_enough(
    directory: Path, change: dict[str, Any]
) -> None:
    record = MachineLease("here")._record | {"token": "t"} | change
    hold(directory, age_seconds=2, **record)
    held = MachineLease("here").take()
    assert held is not None and held.free_after_seconds == pytest.approx(4, abs=1)

    hold(directory, age_seconds=6.1, **record)

    assert MachineLease("here").take() is None
    assert json.loads((directory / "host.json").read_text())["host"] == "here"


def test_a_time_in_the_future_is_no_sign_of_life(directory: Path) -> None:
    # The clock was wrong, and was put right while the holder was gone
    hold(directory, age_seconds=-FAR_SECONDS - 10)

    assert MachineLease("here").take() is None


def test_a_damaged_lease_counts_as_another_hosts(directory: Path) -> None:
    path = hold(directory)
    path.write_text("{")
    held = MachineLease("here").take()
    assert held is not None and held.host == "an unknown machine"

    os.utime(path, (0, 0))

    assert MachineLease("here").take() is None


def test_a_file_system_without_hard_links(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    lease = MachineLease("here")
    assert lease.take() is None

    assert MachineLease("there").take()
    assert lease.heartbeat()


def test_data_of_another_host_get_new_files(directory: Path) -> None:
    hold(directory, age_seconds=FAR_SECONDS + 1)
    (directory / "appendonlydir").mkdir()
    data = directory / "appendonlydir" / "data"
    data.write_text("theirs")
    with open(data, "a") as still_open_over_there:
        assert MachineLease("here").take() is None

        still_open_over_there.write(", and a late word")

    assert data.read_text() == "theirs"


def _acquire(directory: str, host: str, ready: Any, results: Any) -> None:
    os.chdir(directory)
    lease = MachineLease(host)
    ready.wait()
    results.put((host, lease.take() is None and lease.heartbeat()))


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("attempt", range(5))
def test_of_many_hosts_one_gets_it(directory: Path, stale: bool, attempt: int) -> None:
    if stale:
        hold(directory, age_seconds=FAR_SECONDS + 1)
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(8), context.Queue()
    arguments = [(str(directory), f"host-{number}", ready, results) for number in range(8)]
    children = [context.Process(target=_acquire, args=each) for each in arguments]
    for child in children:
        child.start()
    outcome = dict(results.get(timeout=20) for _ in children)
    for child in children:
        child.join()

    holder = json.loads((directory / "host.json").read_text())["host"]
    assert [host for host, got in outcome.items() if got] == [holder]
    assert os.listdir(directory) == ["host.json"]


def test_a_volume_in_use_on_another_host_is_refused_with_the_remedies(cache_dir: str) -> None:
    lease = hold(Path(cache_dir, ".forebay", "valkey"), age_seconds=20)

    with pytest.raises(VolumeError) as caught:
        embedded.ensure_running(cache_dir)

    assert str(caught.value) == (
        f"the volume {cache_dir} is in use on gpu-1-abcdef01 (last heartbeat 20 s ago), whose embedded "
        "index serves that machine only: to share the volume, run one Redis and set "
        "FIFTYONE_MEDIA_CACHE_REDIS_URL to it on every host. To use it here instead, stop every program that "
        "uses it there; if that machine is gone for good, the volume is free in 280 s, or once you delete "
        f"{lease}"
    )
    eventually(lambda: not server_processes(cache_dir))


def test_another_mount_on_the_same_machine_is_called_that(cache_dir: str) -> None:
    hold(Path(cache_dir, ".forebay", "valkey"), host=processes.machine_name())

    with pytest.raises(
        VolumeError, match=f"{processes.machine_name()}, this machine, through another mount or container"
    ):
        embedded.ensure_running(cache_dir, timeout_seconds=1)


def test_a_host_takes_over_the_data_of_one_that_is_gone(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir)) as one:
        one.set("key", "value")
    embedded.stop(cache_dir)
    lease = hold(Path(cache_dir, ".forebay", "valkey"), age_seconds=FAR_SECONDS + 1)

    with client(embedded.ensure_running(cache_dir)) as one:
        assert one.get("key") == "value"
        assert json.loads(lease.read_text())["host"] == processes.machine_name()


def test_a_server_ends_at_once_when_another_host_took_over(cache_dir: str) -> None:
    # As it happens to a machine that wakes up after a long sleep
    with client(embedded.ensure_running(cache_dir, idle_seconds=1)) as one:
        one.set("key", "value")
        hold(Path(cache_dir, ".forebay", "valkey"))

        eventually(lambda: not server_processes(cache_dir))

        with pytest.raises(VolumeError, match="is in use on gpu-1-abcdef01"):
            embedded.ensure_running(cache_dir)
