"""Sources in forked children: PyTorch's DataLoader, `multiprocessing` and Celery's prefork pool fork.

Each story runs in an interpreter of its own, in which nothing has been used before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Proxy
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server

CHILDREN = 4
OBJECTS = 20

# What every story begins with. A child reports through its exit status; a traceback goes to stderr.
PREAMBLE = """
import faulthandler, multiprocessing, sys, threading
from concurrent.futures import ThreadPoolExecutor
from forebay.config import MediaCacheConfig
from forebay.sources.sources import Sources
from forebay.uri import parse

root, objects, allowed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sources = Sources(MediaCacheConfig(allowed_sources=["s3://", "gs://", "az://", allowed]))
uris = [parse(f"{root}/{number}") for number in range(objects)]

def read_all():
    for number, uri in enumerate(uris):
        source = sources.for_uri(uri)
        with source.open(uri) as opened:
            assert b"".join(opened) == b"%d" % number * 1000
        assert source.head(uri).size == len(b"%d" % number) * 1000
        assert bytes(source.read_range(uri, 0, 1)) == str(number)[:1].encode()

def in_threads():
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: read_all(), range(4)))

def forked(children, work):
    faulthandler.cancel_dump_traceback_later()  # which does not survive a fork either
    def child():
        faulthandler.dump_traceback_later(20)  # says where, should it hang
        work()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=child) for _ in range(children)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * children
"""


def run(story: str, root: str, *, allowed: str = "http://192.0.2.1/", timeout: float = 60) -> None:
    """Runs a story in a new interpreter; fails, and ends it and its children, when it takes too long."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + story, root, str(OBJECTS), allowed],
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        _, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        pytest.fail(f"a forked child hung: nothing came of it within {timeout} s\n{errors.decode()}")
    assert process.returncode == 0, errors.decode()


@pytest.fixture
def bodies() -> dict[str, bytes]:
    return {str(number): b"%d" % number * 1000 for number in range(OBJECTS)}


@pytest.fixture
def s3_root(
    s3_server: S3Server,
    s3_bucket: str,
    s3_proxy: Proxy,
    bodies: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    s3_server.put_many(s3_bucket, bodies)
    for name, value in s3_server.environment(s3_proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_bucket}"


@pytest.fixture
def gcs_root(
    gcs_server: GCSServer,
    gcs_bucket: str,
    gcs_proxy: Proxy,
    bodies: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    gcs_server.put_many(gcs_bucket, bodies)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_proxy.endpoint)
    return f"gs://{gcs_bucket}"


@pytest.fixture
def azure_root(
    azurite_server: AzureServer,
    azurite_container: str,
    azurite_proxy: Proxy,
    bodies: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    azurite_server.put_many(azurite_container, bodies)
    for name, value in azurite_server.environment(azurite_proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    return f"az://{azurite_container}"


AFTER_USE = f"read_all()\nforked({CHILDREN}, read_all)\nread_all()\n"
BEFORE_USE = f"forked({CHILDREN}, read_all)\n"
GRANDCHILDREN = "read_all()\nforked(1, lambda: forked(1, lambda: (read_all(), in_threads())))\n"
DURING_USE = """
stop = threading.Event()
def go_on():
    while not stop.is_set():
        read_all()
threads = [threading.Thread(target=go_on) for _ in range(4)]
for thread in threads:
    thread.start()
try:
    for _ in range(5):
        forked(2, in_threads)
finally:
    stop.set()
    for thread in threads:
        thread.join()
"""


class TestS3:
    @pytest.mark.parametrize("story", [AFTER_USE, BEFORE_USE, GRANDCHILDREN, DURING_USE])
    def test_children_read(self, s3_root: str, story: str):
        run(story, s3_root)

    def test_a_childs_requests_are_its_own(self, s3_root: str, s3_proxy: Proxy):
        run(AFTER_USE, s3_root)

        assert s3_proxy.count() == (2 + CHILDREN) * 3 * OBJECTS

    def test_a_stream_that_the_parent_opened_is_refused(self, s3_root: str):
        run(
            "opened = sources.for_uri(uris[0]).open(uris[0])\n"
            "def read():\n"
            "    try:\n"
            "        b''.join(opened)\n"
            "    except Exception as error:\n"
            "        assert 'before this process was forked' in str(error)\n"
            "    else:\n"
            "        sys.exit(1)\n"
            "forked(1, read)\n",
            s3_root,
        )


class TestGCS:
    @pytest.mark.parametrize("story", [AFTER_USE, DURING_USE])
    def test_children_read(self, gcs_root: str, story: str):
        run(story, gcs_root)


class TestAzure:
    @pytest.mark.parametrize("story", [AFTER_USE, BEFORE_USE, GRANDCHILDREN, DURING_USE])
    def test_children_read(self, azure_root: str, story: str):
        run(story, azure_root)

    def test_a_childs_requests_are_its_own(self, azure_root: str, azurite_proxy: Proxy):
        run(AFTER_USE, azure_root)

        assert azurite_proxy.count() == (2 + CHILDREN) * 3 * OBJECTS


class TestHTTP:
    def test_children_do_not_share_their_parents_connections(
        self, http_server: HTTPServer, bodies: dict[str, bytes]
    ):
        for name, body in bodies.items():
            http_server.put(f"/{name}", body)

        run(AFTER_USE, http_server.endpoint, allowed=http_server.endpoint)
        run(DURING_USE, http_server.endpoint, allowed=http_server.endpoint, timeout=60)
