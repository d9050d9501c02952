"""The transport in a process: descriptors, its end, signals, children."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from forebay.transport import (
    BytesSink,
    Kind,
    Request,
    Transport,
    TransportError,
    TransportSettings,
)
from forebay.transport.loop import Loop
from tests.integration.exchanges import Gathering
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault

REPOSITORY = Path(__file__).parents[2]


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class TestProcess:
    def test_a_loop_that_fails_begins_anew(
        self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        # Given a transport with a mistake in its loop that shows once
        url, mistakes = http_server.put("/x", b"body"), [RuntimeError("a mistake")]
        finish = Loop._finish

        def fails_once(loop: Loop) -> None:
            if mistakes:
                raise mistakes.pop()
            finish(loop)

        monkeypatch.setattr(Loop, "_finish", fails_once)
        with Transport() as transport:
            # When it is used, then that request fails and the next one does not
            with pytest.raises(TransportError) as failure:
                transport.call(Request(url))

            assert failure.value.kind is Kind.INTERNAL
            assert transport.call(Request(url)).body == b"body"
        assert "event loop failed" in caplog.text

    def test_too_few_descriptors_are_an_error(self, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch):
        def no_poller() -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr("forebay.transport.loop.Poller", no_poller)
        with Transport() as transport, pytest.raises(TransportError, match="Too many open files"):
            transport.call(Request(http_server.put("/x", b"body")))

    def test_nothing_leaks_over_10000_requests(self, http_server: HTTPServer):
        # Given a transport that has been used
        good, bad = http_server.put("/x", b"body"), http_server.endpoint + "/missing"
        with Transport(TransportSettings(max_requests=32)) as transport:
            transport.call(Request(good))
            before, threads = descriptors(), threading.active_count()

            # When it sends many requests, some of which fail
            gathering = Gathering(10_000)
            for number in range(10_000):
                transport.submit(Request(bad if number % 10 == 0 else good), BytesSink(10), gathering)
            errors = gathering.wait()

            # Then there are no more descriptors than connections, on both ends, and no more threads
            assert len(errors) == 1000
            assert descriptors() <= before + 2 * 32
            assert transport.in_flight == 0
        assert threading.active_count() < threads + 64

    def test_closing_gives_everything_back(self, http_server: HTTPServer):
        url = http_server.put("/x", b"body")
        before = descriptors()
        for _ in range(20):
            transport = Transport(TransportSettings(threads=2))
            transport.call(Request(url))
            transport.close()
            transport.close()

        # The server closes its ends when it sees fit.
        assert descriptors() <= before + 20 + 2
        with pytest.raises(TransportError, match="closed"):
            transport.call(Request(url))

    def test_closing_ends_what_is_under_way(self, http_server: HTTPServer):
        url = http_server.put("/x", b"body" * 100)
        with http_server.proxied() as proxy:
            proxy.fault("/x", Fault(stall_after=10), times=None)
            url = url.replace(http_server.endpoint, proxy.endpoint)
            transport, gathering = Transport(TransportSettings(first_requests=2)), Gathering(10)
            for _ in range(10):
                transport.submit(Request(url), BytesSink(1000), gathering)
            transport.close()

            assert {error.kind for error in gathering.wait() if isinstance(error, TransportError)} == {
                Kind.CLOSED
            }

    def test_descriptors_above_1023_work(self, http_server: HTTPServer):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 3000:
            pytest.skip("this process may not have as many open files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
        with contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(open("/dev/null"))
            transport = stack.enter_context(Transport())

            assert transport.call(Request(http_server.put("/x", b"body"))).body == b"body"

    def test_an_interrupt_ends_the_wait_and_nothing_else(self, transport: Transport, http_server: HTTPServer):
        url = http_server.put("/x", b"body" * 100)
        with http_server.proxied() as proxy:
            proxy.fault("/x", Fault(stall_after=10), times=1)

            class Interrupting(threading.Thread):
                def run(self) -> None:
                    while not transport.in_flight:
                        pass
                    os.kill(os.getpid(), signal.SIGINT)

            Interrupting(daemon=True).start()
            with pytest.raises(KeyboardInterrupt):
                transport.call(Request(url.replace(http_server.endpoint, proxy.endpoint)))

        assert transport.call(Request(url)).body == b"body" * 100


STORY = """
import multiprocessing, os, sys, threading
from forebay.transport import BytesSink, Request, Transport, TransportSettings
url, objects = sys.argv[1], 50
transport = Transport(TransportSettings(threads=2))

def read_all(transport=transport):
    ended, bodies = threading.Event(), []
    def done(exchange):
        bodies.append(bytes(exchange.sink.data))
        if len(bodies) == objects:
            ended.set()
    for _ in range(objects):
        transport.submit(Request(url), BytesSink(1000), done)
    assert ended.wait(40)
    assert bodies == [b"body" * 100] * objects
    assert transport.call(Request(url)).body == b"body" * 100

def in_children(kind, work):
    context = multiprocessing.get_context(kind)
    children = [context.Process(target=work) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
"""

STORIES = {
    "forked after use": "read_all(); in_children('fork', read_all); read_all()",
    "forked before use": "in_children('fork', read_all); read_all()",
    "forked in a forked child": """
read_all()
in_children('fork', lambda: in_children('fork', read_all))
read_all()
""",
    "forked while busy": """
busy = [threading.Thread(target=read_all) for _ in range(4)]
for one in busy: one.start()
in_children('fork', read_all)
for one in busy: one.join()
""",
    "forked during the first use": """
for _ in range(20):
    fresh = Transport()
    first = threading.Thread(target=lambda: fresh.call(Request(url)))
    first.start()
    child = os.fork()
    if child == 0:
        assert fresh.call(Request(url)).status == 200
        os._exit(0)
    first.join()
    assert os.waitpid(child, 0)[1] == 0
""",
    "a forked child that ends properly": """
read_all()
child = os.fork()
if child == 0:
    read_all()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
read_all()
""",
    "a forked child that closes": """
read_all()
child = os.fork()
if child == 0:
    transport.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
read_all()
""",
    "an exit in the middle": """
for _ in range(50):
    transport.submit(Request(url), BytesSink(1000), lambda exchange: None)
""",
}


@pytest.mark.parametrize("story", STORIES, ids=lambda name: name.replace(" ", "-"))
def test_forks(http_server: HTTPServer, story: str):
    # Each story needs an interpreter of its own.
    url = http_server.put("/x", b"body" * 100)

    run_story(STORY + STORIES[story], url)


@pytest.mark.parametrize("kind", ["spawn", "forkserver"])
def test_other_ways_to_start_children(http_server: HTTPServer, tmp_path: Path, kind: str):
    url = http_server.put("/x", b"body" * 100)
    program = tmp_path / "story.py"
    work = f"read_all(); in_children({kind!r}, read_all)"
    program.write_text(f"{STORY}\nif __name__ == '__main__':\n    {work}\n")

    run_story("", url, program=program)


def run_story(code: str, url: str, *, program: Path | None = None) -> None:
    command = [sys.executable, str(program), url] if program else [sys.executable, "-c", code, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
