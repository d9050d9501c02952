"""A short-lived process with a cache without a limit leaves no process behind: a function, a step of a CI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay import embedded
from forebay.index.connection import Connection
from tests.commands import COMMAND
from tests.mounts import tmpfs
from tests.servers.embedded import cache_directory, client, eventually, processes, server
from tests.servers.http_server import HTTPServer

# Says when it is done, and ends when its standard input does, or whatever is in the last line.
PROGRAM = """
import sys, forebay
job = forebay.download_media(sys.argv[1:], progress=False)
print(job.downloaded, job.cached, forebay.stats()["current_count"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cache_dir(tmp_path: Path) -> Iterator[str]:
    with cache_directory(tmp_path / "cache") as path:
        yield path


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{number}.bin", b"pixels" * 1000) for number in range(20)]


def environment(cache_dir: str, uris: list[str], **variables: str) -> dict[str, str]:
    """What a function has: no home directory, and little else."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "FIFTYONE_MEDIA_CACHE_DIR": cache_dir,
        "FIFTYONE_MEDIA_CACHE_SIZE_BYTES": "-1",
        "FIFTYONE_MEDIA_CACHE_ALLOWED_SOURCES": uris[0].rpartition("/")[0] + "/",
        **variables,
    }


def begin(cache_dir: str, uris: list[str], program: str = PROGRAM, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *uris],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment(cache_dir, uris, **variables),
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_nothing_runs_when_it_has_ended(cache_dir: str, uris: list[str]) -> None:
    process = begin(cache_dir, uris)
    assert line(process) == "20 0 20"
    assert processes(cache_dir) != []

    end(process)

    assert processes(cache_dir) == []


def test_the_next_one_finds_what_it_has_downloaded(cache_dir: str, uris: list[str]) -> None:
    end(begin(cache_dir, uris))

    process = begin(cache_dir, uris)

    assert line(process) == "0 20 20"
    end(process)
    assert processes(cache_dir) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_one_that_is_killed(
    cache_dir: str, uris: list[str], number: signal.Signals
) -> None:
    process = begin(cache_dir, uris)
    assert line(process) == "20 0 20"

    process.send_signal(number)
    process.communicate(timeout=60)

    eventually(lambda: processes(cache_dir) == [])


def test_nor_of_one_that_is_killed_before_it_uses_the_index(cache_dir: str, uris: list[str]) -> None:
    # given a process that has started the index, and is not connected to it
    program = (
        "import sys; from forebay import embedded;"
        "print(embedded.ensure_running(sys.argv[1], brief=True), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, cache_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(cache_dir, uris),
    )
    assert line(process).startswith("unix://")

    process.kill()
    process.communicate()

    eventually(lambda: processes(cache_dir) == [])


def test_one_that_ends_leaves_the_index_to_those_that_use_it(cache_dir: str, uris: list[str]) -> None:
    # given two processes on one directory
    first, second = begin(cache_dir, uris), begin(cache_dir, uris)
    assert {line(first), line(second)} & {"20 0 20", "0 20 20"}
    serving = server(cache_dir)

    # when one of them ends, then the other has its index
    end(first)
    assert server(cache_dir) == serving

    # and the last one ends it
    end(second)
    assert processes(cache_dir) == []


def test_a_command_leaves_nothing_either(cache_dir: str, uris: list[str]) -> None:
    done = subprocess.run(
        [COMMAND, "get", uris[0]],
        check=True,
        capture_output=True,
        text=True,
        env=environment(cache_dir, uris),
    )

    assert Path(done.stdout.strip()).read_bytes() == b"pixels" * 1000
    assert processes(cache_dir) == []


def test_a_temporary_directory_can_be_removed_when_the_cache_is_closed(
    tmp_path: Path, uris: list[str]
) -> None:
    # given a program that makes its directory, and removes it before it ends
    program = """
import sys, tempfile, os
from forebay import MediaCache, MediaCacheConfig
with tempfile.TemporaryDirectory() as directory:
    cache = MediaCache(MediaCacheConfig(cache_dir=directory, cache_size_bytes=-1))
    print(directory, flush=True)
    assert cache.download_media(sys.argv[1:], progress=False).downloaded == 20
    cache.close()
assert not os.path.exists(directory)
"""
    process = begin("", uris, program, TMPDIR=str(tmp_path))
    directory = line(process)

    end(process)

    assert processes(directory) == []
    assert not os.path.exists(directory)


def test_nor_where_the_directory_is_removed_before(tmp_path: Path, uris: list[str]) -> None:
    program = """
import sys, tempfile, os
os.environ["FIFTYONE_MEDIA_CACHE_DIR"] = directory = tempfile.mkdtemp()
import forebay, shutil
print(directory, flush=True)
assert forebay.download_media(sys.argv[1:], progress=False).downloaded == 20
shutil.rmtree(directory, ignore_errors=True)
"""
    process = begin("", uris, program, TMPDIR=str(tmp_path))
    directory = line(process)

    end(process)

    eventually(lambda: processes(directory) == [])


def test_it_works_on_a_small_disk_and_evicts_nothing(tmp_path: Path, uris: list[str]) -> None:
    with tmpfs(tmp_path / "disk", "size=16m") as disk, cache_directory(disk / "cache") as cache_dir:
        process = begin(cache_dir, uris, FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES="0")

        assert line(process) == "20 0 20"

        end(process)
        assert processes(cache_dir) == []


def test_who_asks_for_it_keeps_the_index_a_while(cache_dir: str, uris: list[str]) -> None:
    process = begin(cache_dir, uris, FOREBAY_EMBEDDED_IDLE_SECONDS="600")
    assert line(process) == "20 0 20"
    serving = server(cache_dir)

    end(process)

    assert server(cache_dir) == serving


def test_with_a_limit_the_index_stays_for_the_next_process(cache_dir: str, uris: list[str]) -> None:
    process = begin(cache_dir, uris, FIFTYONE_MEDIA_CACHE_SIZE_BYTES="10000000")
    assert line(process) == "20 0 20"
    serving = server(cache_dir)

    end(process)

    assert server(cache_dir) == serving


def test_one_that_ends_before_it_was_asked_anything_is_started_again(cache_dir: str) -> None:
    # given an index that another process has ended as unused, after this one has found it
    url = embedded.ensure_running(cache_dir, brief=True)
    assert embedded.stop_unused(cache_dir) is True

    connection = Connection(url, restart=lambda: embedded.ensure_running(cache_dir, brief=True))

    assert connection.check() == client(url).info("server")["run_id"]
    connection.close()


def test_what_is_in_use_is_not_stopped(cache_dir: str) -> None:
    with client(embedded.ensure_running(cache_dir, brief=True)) as one:
        [watching] = eventually(lambda: [c for c in one.client_list() if c["name"] == "supervisor"])
        assert embedded.stop_unused(cache_dir) is False
        # The supervisor is no client, also while it is not connected.
        one.client_kill_filter(_id=watching["id"])
        assert embedded.stop_unused(cache_dir) is False
        assert one.ping()
    # It comes back at once, and has its name a moment later.
    eventually(lambda: embedded.stop_unused(cache_dir))
    assert processes(cache_dir) == []
    assert embedded.stop_unused(cache_dir) is False
