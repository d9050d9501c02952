"""A large local job is downloaded by several processes, whatever becomes of one of them."""

from __future__ import annotations

import contextlib
import contextvars
import io
import json
import logging
import multiprocessing
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from forebay import Manifest, helper
from forebay.cache import MediaCache
from forebay.cli.main import run
from forebay.config import env_name
from forebay.engine import Engine
from forebay.errors import IndexUnavailableError
from forebay.jobs import helpers
from forebay.jobs.helper_process import HelperProcess, log_lines
from forebay.jobs.share import Division
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.servers.embedded import eventually, has_ended
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault

FORK = multiprocessing.get_context("fork")
COUNT = 60
SETTINGS = {"local_processes": 3, "message_size": 2}
PROGRAM = """
import json, sys
from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.jobs import helpers, local

helpers.SAMPLES, local._FIRST_SAMPLES = 10, 6
settings, uris = json.loads(sys.argv[1])
MediaCache(MediaCacheConfig(**settings)).download_media(uris, progress=False)
"""


@pytest.fixture(autouse=True)
def small_jobs_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "SAMPLES", 10)
    monkeypatch.setattr("forebay.jobs.local._FIRST_SAMPLES", 6)


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{n:02}.bin", f"{n:02}".encode() * 500) for n in range(COUNT)]


@pytest.fixture
def cache(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    sources = [http_server.endpoint + "/"]
    return make_cache(**SETTINGS, allowed_sources=sources)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[psutil.Process]:
    """The helpers, in the order of their start."""
    found: list[psutil.Process] = []
    start = HelperProcess.__init__

    def noted(self: HelperProcess, *arguments: Any) -> None:
        start(self, *arguments)
        found.append(psutil.Process(self.pid))

    monkeypatch.setattr(HelperProcess, "__init__", noted)
    return found


@pytest.fixture
def at_opening(started: list[psutil.Process], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many helpers had been started at each moment at which the index was opened for a job."""
    counts: list[int] = []
    opened = Engine.open_job_maker

    def noted(engine: Engine) -> object:
        counts.append(len(started))
        return opened(engine)

    monkeypatch.setattr(Engine, "open_job_maker", noted)
    return counts


def downloaded_here(cache: MediaCache) -> int:
    """How many objects this very process has downloaded."""
    counts = cache.engine.counters.counts().items()
    return int(sum(value for (name, _), value in counts if name == "objects|downloaded"))


def test_each_process_downloads_a_share(
    cache: MediaCache, http_server: HTTPServer, uris: list[str], started: list[psutil.Process]
) -> None:
    job = cache.download_media(uris, progress=False)

    assert (job.downloaded, job.failed) == (COUNT, 0)
    assert all(
        Path(cache.local_path(uri)).read_bytes() == f"{n:02}".encode() * 500 for n, uri in enumerate(uris)
    )
    # each object was fetched once, and only some of them by this process
    assert {http_server.count(f"/{n:02}.bin") for n in range(COUNT)} == {1}
    assert len(started) == 2
    assert 0 < downloaded_here(cache) < COUNT
    # and the helpers are gone, with all that they held
    eventually(lambda: all(has_ended(helper) for helper in started))
    assert cache.engine.open_index().claims.all() == {}


def test_it_starts_before_the_index_is_opened(
    cache: MediaCache, uris: list[str], started: list[psutil.Process], at_opening: list[int]
) -> None:
    cache.download_media(uris, progress=False)

    assert at_opening == [2]
    # and the same helpers do the work
    assert len(started) == 2
    assert 0 < downloaded_here(cache) < COUNT


def test_it_starts_early_for_a_list_of_unknown_length(
    cache: MediaCache,
    uris: list[str],
    started: list[psutil.Process],
    at_opening: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a list of which only the first samples are read before the job begins
    monkeypatch.setattr("forebay.jobs.listed_samples.FIRST_SAMPLES", 5)
    (tmp_path / "list.txt").write_text("\n".join(uris))
    job = cache.download_media(Manifest(tmp_path / "list.txt"), progress=False)

    assert (job.downloaded, at_opening) == (COUNT, [2])
    assert len(started) == 2
    assert 0 < downloaded_here(cache) < COUNT


def test_it_starts_early_for_the_command(
    cache: MediaCache,
    uris: list[str],
    started: list[psutil.Process],
    at_opening: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "list.txt").write_text("\n".join(uris))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(env_name(name), str(value))
    for name in ("cache_dir", "redis_url", "dispatch"):
        monkeypatch.setenv(env_name(name), getattr(cache.config, name))
    monkeypatch.setenv(env_name("allowed_sources"), ",".join(cache.config.allowed_sources))
    assert run(["prefetch", f"@{tmp_path}/list.txt"]) == 0

    assert (at_opening, len(started)) == ([2], 2)
    assert all(cache.engine.files.is_there(entry_of(uri)) for uri in uris)


def test_one_that_has_ended_meanwhile_is_replaced(
    cache: MediaCache, uris: list[str], started: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given helpers that no job comes for in time
    cache.engine.expect(uris)
    for early in started:
        early.kill()
        eventually(lambda early=early: has_ended(early))

    job = cache.download_media(uris, progress=False)

    assert (job.downloaded, job.failed) == (COUNT, 0)
    assert len(started) == 4


def test_none_starts_for_what_is_cached(
    make_cache: MakeCache, http_server: HTTPServer, uris: list[str], started: list[psutil.Process]
) -> None:
    sources = [http_server.endpoint + "/"]
    make_cache(allowed_sources=sources, local_processes=1).download_media(uris, progress=False)

    job = make_cache(**SETTINGS, allowed_sources=sources).download_media(uris, progress=False)

    assert (job.cached, started) == (COUNT, [])


def test_one_that_started_in_vain_ends_with_the_job(
    make_cache: MakeCache, http_server: HTTPServer, uris: list[str], started: list[psutil.Process]
) -> None:
    # given a job whose samples are mostly the same
    cache = make_cache(**SETTINGS, allowed_sources=[http_server.endpoint + "/"])

    job = cache.download_media([uris[0]] * COUNT, progress=False)

    assert (job.failed, job.total) == (0, COUNT)
    cache.close()
    assert all(has_ended(helper) for helper in started)


def test_what_a_killed_helper_leaves_is_downloaded_here(
    cache: MediaCache, uris: list[str], started: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a helper that is killed when it has been started
    begin = helpers.Helpers.begin

    def killed(self: helpers.Helpers, job: str, division: Division) -> bool:
        has_begun = begin(self, job, division)
        started[0].send_signal(signal.SIGKILL)
        return has_begun

    monkeypatch.setattr(helpers.Helpers, "begin", killed)

    job = cache.download_media(uris, progress=False)

    assert (job.downloaded + job.cached, job.failed) == (COUNT, 0)


def test_settings_that_no_other_process_can_have_keep_the_job_here(
    make_cache: MakeCache, http_server: HTTPServer, uris: list[str], started: list[psutil.Process]
) -> None:
    sources = [http_server.endpoint + "/"]
    extra = {"s3": {}}
    cache = make_cache(**SETTINGS, allowed_sources=sources, extra_client_kwargs=extra)
    cache.config.extra_client_kwargs["s3"]["lock"] = threading.Lock()

    job = cache.download_media(uris, progress=False)

    assert (job.downloaded, job.failed) == (COUNT, 0)
    assert started == []
    assert downloaded_here(cache) == COUNT


def test_it_ends_with_the_process_that_started_it(
    cache: MediaCache, http_server: HTTPServer, uris: list[str]
) -> None:
    # given a job of which nothing arrives
    with http_server.proxied() as proxy:
        proxy.fault(None, Fault(delay=3600))
        slow = [uri.replace(http_server.endpoint, proxy.endpoint) for uri in uris]
        settings = cache.config.model_dump() | {"allowed_sources": [proxy.endpoint + "/"]}
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps([settings, slow])])
        parent = psutil.Process(program.pid)
        eventually(lambda: len(parent.children()) == 2 and proxy.count() >= 2)
        found = parent.children()

        # when the process is killed
        program.kill()
        program.wait()

        # then its helpers end, and nothing of the job is claimed
        eventually(lambda: all(has_ended(helper) for helper in found), 20.0)


def test_closing_the_cache_ends_it(
    make_cache: MakeCache, http_server: HTTPServer, uris: list[str], started: list[psutil.Process]
) -> None:
    with http_server.proxied() as proxy:
        proxy.fault(None, Fault(delay=3600))
        cache = make_cache(**SETTINGS, allowed_sources=[proxy.endpoint + "/"])
        slow = [uri.replace(http_server.endpoint, proxy.endpoint) for uri in uris]
        cache.download_media(slow, progress=False, wait=False)
        eventually(lambda: len(started) == 2 and proxy.count() >= 2)

        cache.close()

        assert all(has_ended(helper) for helper in started)


def test_what_it_logs_is_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    record = logging.LogRecord("forebay.fetch", logging.WARNING, "x.py", 1, "%s is odd", ("it",), None)
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        helper.Forwarding().emit(record)

    lines = io.BytesIO(written.getvalue().encode() + b"\nno JSON\n")
    # It names the job for all that its thread logs; this thread goes on to other tests.
    contextvars.copy_context().run(log_lines, lines, "a-job")

    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records] == [
        ("forebay.fetch", "WARNING", "it is odd")
    ]


def test_what_another_writes_to_its_output_or_this_process_does_not_log_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet = {"name": "quiet.package", "levelno": logging.DEBUG, "levelname": "DEBUG", "msg": "secret"}
    odd = {"name": "forebay.fetch", "levelno": logging.WARNING, "levelname": "WARNING", "msg": "odd"}
    lines = "\n".join(("{}", "[]", "1", '{"name": 1}', json.dumps(quiet), json.dumps(odd)))

    contextvars.copy_context().run(log_lines, io.BytesIO(lines.encode()), "a-job")

    assert [one.getMessage() for one in caplog.records] == ["odd"]


def test_ctrl_c_does_not_end_one_that_starts(cache: MediaCache, monkeypatch: pytest.MonkeyPatch) -> None:
    # given entries of the path that Python itself passes over
    monkeypatch.setattr(sys, "path", [*sys.path, Path(__file__), "relative", 7, b"/bytes"])
    starting = HelperProcess(cache.config, "")

    psutil.Process(starting.pid).send_signal(signal.SIGINT)

    starting.tell_to_end()
    assert starting.wait(60.0)
    assert starting._process.returncode == 0
    starting.kill()
    # and this process is interrupted as before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_one_whose_source_cannot_be_prepared_waits_for_its_job(
    cache: MediaCache, uris: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(cache.engine.sources, "for_uri", broken)

    helper._prepare(cache.engine, uris[0])


def test_none_stays_where_a_job_is_not_made_or_has_nothing_to_download(
    make_cache: MakeCache, cache: MediaCache, uris: list[str], started: list[psutil.Process]
) -> None:
    # given a Redis that is not there
    unreachable = make_cache(**SETTINGS, redis_url="redis://127.0.0.1:1/0", dispatch="local")
    with pytest.raises(IndexUnavailableError):
        unreachable.download_media(uris, progress=False)

    assert len(started) == 2
    assert all(has_ended(one) for one in started)

    # given one that is there, and a job that turns out to be cached
    cache.engine.expect(uris)
    cache.download_media([__file__], progress=False)

    assert len(started) == 4
    assert all(has_ended(one) for one in started)


def test_a_forked_child_starts_its_own(
    cache: MediaCache, uris: list[str], started: list[psutil.Process]
) -> None:
    cache.engine.expect(uris)

    child = FORK.Process(target=_expects_its_own, args=(cache, uris, len(started)))
    child.start()
    child.join()

    assert (child.exitcode, len(started)) == (0, 2)
    assert not any(has_ended(one) for one in started)


def _expects_its_own(cache: MediaCache, uris: list[str], inherited: int) -> None:
    cache.engine.expect(uris)
    own = psutil.Process().children()
    cache.engine.close()
    sys.exit(0 if len(own) == inherited and all(has_ended(one) for one in own) else 1)
