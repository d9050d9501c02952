"""The embedded server as its users see it: it is there when they need it, and gone when they do not."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import kombu
import pytest

from forebay import embedded
from forebay.errors import ConfigError, IndexUnavailableError, VolumeError
from tests.servers.embedded import (
    cache_directory,
    client,
    eventually,
    has_ended,
    processes,
    server,
    supervisor,
)

START = "import sys; from forebay import embedded; print(embedded.ensure_running(sys.argv[1]))"


@pytest.fixture
def cache_dir(tmp_path: Path) -> Iterator[str]:
    with cache_directory(tmp_path / "cache") as path:
        yield path


def private(cache_dir: str, *names: str) -> Path:
    return Path(cache_dir, ".forebay", "valkey", *names)


def test_a_server_starts_on_demand_and_is_found_again(cache_dir: str) -> None:
    assert embedded.status(cache_dir) is None

    url = embedded.ensure_running(cache_dir)
    first = embedded.status(cache_dir)
    again = embedded.ensure_running(cache_dir)

    assert client(url).ping()
    assert again == url
    assert first is not None and first.url == url and first.pid == server(cache_dir).pid
    assert client(url).info()["run_id"] == first.run_id
    assert len(processes(cache_dir)) == 2


def test_a_start_beside_other_work_gives_the_same_server(cache_dir: str) -> None:
    # given a start that has nobody waiting for it
    start = embedded.EarlyStart(lambda: embedded.ensure_running(cache_dir))

    # when its server is asked for, and found again
    url = start.url()

    # then it is the one that everybody finds, and the start has ended
    assert client(url).ping()
    assert url == embedded.ensure_running(cache_dir) == start.url()
    assert not start.is_under_way


def test_a_start_beside_other_work_fails_where_it_is_waited_for(cache_dir: str) -> None:
    embedded.claim_volume(cache_dir, "1f", url_masked="redis://host/0")

    start = embedded.EarlyStart(lambda: embedded.ensure_running(cache_dir))

    with pytest.raises(VolumeError, match="redis://host/0"):
        start.url()


def test_the_url_is_short_when_the_directory_is_plain() -> None:
    with cache_directory(Path(f"/tmp/forebay-test-{os.getpid()}")) as cache_dir:
        url = embedded.ensure_running(cache_dir)
        assert url == f"unix://{cache_dir}/.forebay/valkey/valkey.sock?db=0"


def test_the_settings_that_the_index_and_celery_rely_on(cache_dir: str) -> None:
    settings = client(embedded.ensure_running(cache_dir)).config_get("*")

    expected = {
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "port": "0",
        "databases": "16",
        "timeout": "0",
        "enable-debug-command": "no",
        "protected-mode": "yes",
    }
    assert {name: settings[name] for name in expected} == expected


def test_only_the_user_can_reach_it(cache_dir: str) -> None:
    embedded.ensure_running(cache_dir)

    assert stat.S_IMODE(private(cache_dir).stat().st_mode) == 0o700
    assert stat.S_IMODE(private(cache_dir, "valkey.sock").stat().st_mode) & 0o077 == 0
    assert not [file for file in private(cache_dir).rglob("*") if file.stat().st_mode & 0o077]


def test_it_inherits_nothing_from_its_starter(cache_dir: str, tmp_path: Path) -> None:
    # Given a starter with a secret in its environment and an open file
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": "hush"}
        subprocess.run([sys.executable, "-c", START, cache_dir], env=environment, close_fds=False, check=True)

    for process in (server(cache_dir), supervisor(cache_dir)):
        assert not process.open_files() or all("valkey" in file.path for file in process.open_files())
        assert "AWS_SECRET_ACCESS_KEY" not in process.environ()
        assert process.terminal() is None
        assert os.getsid(process.pid) != os.getsid(0)


def test_the_starter_gets_its_output_pipe_closed_and_keeps_no_zombie(cache_dir: str) -> None:
    script = f"""{START}
import psutil
assert not psutil.Process().children(), psutil.Process().children()
"""
    # capture_output waits until every process that holds the pipe is gone
    done = subprocess.run(
        [sys.executable, "-c", script, cache_dir], capture_output=True, text=True, timeout=20, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert client(done.stdout.strip()).ping()


@pytest.mark.parametrize(
    "name",
    ["with spaces", "ünï-çødé-目录", "per%20cent?db=3#x", "/".join(["deep" * 20] * 5), "quote'\"\\n$(x)"],
)
def test_any_directory_will_do_for_redis_py_and_celery(tmp_path: Path, name: str) -> None:
    with cache_directory(tmp_path / name) as cache_dir:
        url = embedded.ensure_running(cache_dir)

        client(url).set("key", "value")
        with kombu.Connection(embedded.broker_url(url)) as connection:
            queue = connection.SimpleQueue("work")
            queue.put({"number": 1})
            message = queue.get(timeout=5)
            message.ack()
            queue.close()

        assert message.payload == {"number": 1}
        # Celery's keys are in a database of their own
        assert client(url).keys() == ["key"]
        assert private(cache_dir, "valkey.sock").is_socket()


def test_the_link_to_a_long_directory_comes_back_when_it_is_cleaned_away(tmp_path: Path) -> None:
    with cache_directory(tmp_path / ("long" * 30)) as cache_dir:
        url = embedded.ensure_running(cache_dir)
        run_id = client(url).info()["run_id"]
        link = Path(url.removeprefix("unix://").partition("?")[0]).parent
        assert link.is_symlink()

        link.unlink()

        assert client(embedded.ensure_running(cache_dir)).info()["run_id"] == run_id


def test_two_names_of_one_directory_share_a_server(cache_dir: str, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(cache_dir)

    assert embedded.ensure_running(str(tmp_path / "alias")) == embedded.ensure_running(cache_dir)


def test_it_starts_from_a_thread(cache_dir: str) -> None:
    urls: list[str] = []
    thread = threading.Thread(target=lambda: urls.append(embedded.ensure_running(cache_dir)))
    thread.start()
    thread.join()

    assert client(urls[0]).ping()


def _put_url(cache_dir: str, queue: multiprocessing.Queue[str]) -> None:
    queue.put(embedded.ensure_running(cache_dir))


def test_it_starts_from_a_forked_daemon_and_outlives_it(cache_dir: str) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=_put_url, args=(cache_dir, queue), daemon=True)
    child.start()
    url = queue.get(timeout=20)
    child.join()

    assert client(url).ping()


def test_it_starts_when_the_working_directory_is_gone(cache_dir: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    # Python 3.13.0 itself cannot import socket in a directory that is gone.
    script = f"import os, socket; os.rmdir(os.getcwd())\n{START}"
    done = subprocess.run(
        [sys.executable, "-c", script, cache_dir],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=True,
    )

    assert client(done.stdout.strip()).ping()


def test_signals_that_the_starter_ignored_or_blocked_still_stop_it(cache_dir: str) -> None:
    script = f"""import signal
for number in (signal.SIGTERM, signal.SIGCHLD): signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
{START}"""
    subprocess.run([sys.executable, "-c", script, cache_dir], check=True)

    supervisor(cache_dir).terminate()

    eventually(lambda: not processes(cache_dir))


def test_it_stops_when_nobody_is_connected_and_starts_again_with_its_data(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir, idle_seconds=0.1)) as one:
        one.set("key", "value")
        run_id = one.info()["run_id"]

    eventually(lambda: not processes(cache_dir))

    with client(embedded.ensure_running(cache_dir)) as one:
        assert one.get("key") == "value"
        assert one.info()["run_id"] != run_id


def test_it_stays_while_a_client_is_connected_but_quiet(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir, idle_seconds=0.1)) as one:
        run_id = one.info()["run_id"]

        # Ten idle periods pass in which the only client says nothing
        one.blpop("never", timeout=1)

        assert one.info()["run_id"] == run_id


def test_the_idle_time_may_come_from_the_environment(cache_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_EMBEDDED_IDLE_SECONDS", "0.1")
    embedded.ensure_running(cache_dir)
    eventually(lambda: not processes(cache_dir))

    monkeypatch.setenv("FOREBAY_EMBEDDED_IDLE_SECONDS", "soon")
    with pytest.raises(
        ConfigError, match="FOREBAY_EMBEDDED_IDLE_SECONDS='soon' is not allowed: must be seconds above 0"
    ):
        embedded.ensure_running(cache_dir)


def test_stop_ends_it_although_clients_are_connected(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir)) as one:
        one.set("key", "value")

        assert embedded.stop(cache_dir)

        assert not processes(cache_dir)
        assert embedded.status(cache_dir) is None
        assert not embedded.stop(cache_dir)
    assert client(embedded.ensure_running(cache_dir)).get("key") == "value"


def test_stop_where_there_never_was_one(tmp_path: Path) -> None:
    assert not embedded.stop(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_data_cut_short_by_a_power_failure_are_loaded(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir)) as one:
        for number in range(100):
            one.set(f"key{number}", number)
    embedded.stop(cache_dir)
    (data,) = private(cache_dir, "appendonlydir").glob("*.incr.aof")
    os.truncate(data, data.stat().st_size - 5)

    with client(embedded.ensure_running(cache_dir)) as one:
        assert one.dbsize() == 99


def test_broken_data_are_set_aside_and_a_warning_says_so(
    cache_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    with client(embedded.ensure_running(cache_dir)) as one:
        one.set("key", "value")
    embedded.stop(cache_dir)
    (data,) = private(cache_dir, "appendonlydir").glob("*.incr.aof")
    data.write_bytes(b"*2\r\n" + b"nonsense\r\n" * 20)

    with caplog.at_level(logging.WARNING, "forebay"), client(embedded.ensure_running(cache_dir)) as one:
        assert one.dbsize() == 0

    (aside,) = private(cache_dir).glob("appendonlydir.broken-*")
    assert (aside / data.name).read_bytes().startswith(b"*2\r\nnonsense")
    assert f"the embedded index of {cache_dir} could not be loaded and was moved to {aside}" in caplog.text


def test_good_data_stay_when_the_server_fails_for_another_reason(
    cache_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given data, and a server that never starts
    with client(embedded.ensure_running(cache_dir)) as one:
        one.set("key", "value")
    embedded.stop(cache_dir)
    script = tmp_path / "valkey-server"
    script.write_text("#!/bin/sh\necho out of luck >&2\nexit 1\n")
    script.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr("forebay.embedded._binary.find", lambda: str(script))

        with pytest.raises(IndexUnavailableError) as caught:
            embedded.ensure_running(cache_dir)

    assert str(caught.value) == (
        f"the embedded index of {cache_dir} cannot be started: out of luck\n"
        "Mend that, or set FIFTYONE_MEDIA_CACHE_REDIS_URL to a Redis that runs"
    )
    assert client(embedded.ensure_running(cache_dir)).get("key") == "value"


def test_a_program_that_cannot_run_is_named(cache_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.embedded._binary.find", lambda: "/nonexistent/valkey-server")

    with pytest.raises(IndexUnavailableError, match="/nonexistent/valkey-server cannot be run"):
        embedded.ensure_running(cache_dir)


def test_a_server_that_does_not_answer_is_an_error_in_time(cache_dir: str) -> None:
    embedded.ensure_running(cache_dir)
    stopped = server(cache_dir)
    stopped.suspend()
    try:
        begin = time.monotonic()
        with pytest.raises(IndexUnavailableError, match=r"does not answer within 0\.3 s: try again, see "):
            embedded.ensure_running(cache_dir, timeout_seconds=0.3)
        assert time.monotonic() - begin < 5
    finally:
        stopped.resume()

    assert client(embedded.ensure_running(cache_dir)).ping()


def test_a_server_whose_socket_was_deleted_makes_way_for_another(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir, idle_seconds=1)) as one:
        one.set("key", "value")
        private(cache_dir, "valkey.sock").unlink()

        with client(embedded.ensure_running(cache_dir)) as other:
            assert other.get("key") == "value"
        assert one.get("key") == "value"


def test_a_server_whose_directory_was_deleted_ends(tmp_path: Path) -> None:
    with cache_directory(tmp_path / "cache") as cache_dir:
        with client(embedded.ensure_running(cache_dir, idle_seconds=1)) as one:
            # Connected to, it does not end by itself before it is found.
            one.ping()
            found = [server(cache_dir), supervisor(cache_dir)]

        shutil.rmtree(cache_dir)

        eventually(lambda: all(has_ended(process) for process in found))


def test_a_directory_that_cannot_be_made_is_named_with_the_setting(tmp_path: Path) -> None:
    # Given a cache directory below something that is a file
    (tmp_path / "file").write_text("")
    cache_dir = str(tmp_path / "file" / "cache")

    with pytest.raises(VolumeError) as caught:
        embedded.ensure_running(cache_dir)

    assert str(caught.value) == (
        f"the cache directory {cache_dir} cannot be used: {cache_dir}: Not a directory; choose another "
        "directory with FIFTYONE_MEDIA_CACHE_DIR, or set FIFTYONE_MEDIA_CACHE_REDIS_URL to a Redis of "
        "your own"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("running", [False, True])
def test_another_users_server_is_refused(cache_dir: str, running: bool) -> None:
    if running:
        embedded.ensure_running(cache_dir)
    private(cache_dir).mkdir(parents=True, exist_ok=True)
    os.chown(private(cache_dir), 54321, 54321)

    with pytest.raises(VolumeError, match="belongs to user 54321, and an embedded index serves one user"):
        embedded.ensure_running(cache_dir)


def test_a_volume_of_a_redis_is_refused(cache_dir: str) -> None:
    embedded.write_owner(cache_dir, embedded.Owner("redis", "id", url_masked="redis://:***@r.example:6379/0"))

    with pytest.raises(VolumeError) as caught:
        embedded.ensure_running(cache_dir)

    assert str(caught.value) == (
        f"the volume {cache_dir} belongs to the Redis redis://:***@r.example:6379/0, and a volume has one "
        "index: to share it, set FIFTYONE_MEDIA_CACHE_REDIS_URL to that Redis on every host. To hand it over "
        "to another index, stop every program that uses it and delete "
        f"{cache_dir}/.forebay/volume.json"
    )
    assert not processes(cache_dir)
