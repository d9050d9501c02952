"""Redis dies at every single command: nothing but a ForebayError leaves a public call, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from forebay.cache import MediaCache
from forebay.checks.doctor import examine
from forebay.cli.main import run
from forebay.errors import ForebayError
from forebay.index import connection
from forebay.volumes.known_volumes import Volumes
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.http_server import HTTPServer
from tests.servers.redis_proxy import RedisProxy
from tests.servers.valkey import Valkey


@dataclass
class Given:
    """What an operation works on.

    Attributes:
        uris: the first of them cached, the others not.
        job: the id of a job that has ended.
        lease: the name of a lease.
    """

    uris: list[str]
    job: str
    lease: str


def _context(cache: MediaCache, given: Given) -> object:
    with cache.download_context(given.uris, batch_size=2) as paths:
        return list(paths)


def _look_ahead(cache: MediaCache, given: Given) -> object:
    with contextlib.closing(cache.look_ahead(given.uris, batch_size=2)) as window:
        return [window.path(number, uri) for number, uri in enumerate(given.uris)]


def _lease(cache: MediaCache, given: Given) -> object:
    with cache.lease(given.uris[:1], ttl=60) as lease:
        return lease.renew(30)


def _job_properties(cache: MediaCache, given: Given) -> object:
    job = cache.job(given.job)
    names = [name for name in dir(type(job)) if isinstance(getattr(type(job), name), property)]
    return [getattr(job, name) for name in names], list(job.failures())


def _job_changes(cache: MediaCache, given: Given) -> object:
    job = cache.create_job(given.uris)
    job.start()
    job.wait(timeout=30)
    job.cancel()
    job.retry(wait=True)
    return job.forget()


def _volumes(cache: MediaCache, given: Given) -> object:
    with contextlib.closing(Volumes(cache.config)) as volumes:
        return volumes.list(), volumes.check_known()


def _fleet(cache: MediaCache, given: Given) -> object:
    fleet = MediaCache(cache.config.model_copy(update={"dispatch": "fleet"}))
    with contextlib.closing(fleet):
        fleet.engine.open_index().workers.announce("w@test", 1, samples=0)
        fleet.create_job(given.uris).start()
        return fleet.engine.open_dispatcher().queue_length(), list(examine(fleet))


Operation = Callable[[MediaCache, Given], object]
OPERATIONS: dict[str, Operation] = {
    "local_path": lambda cache, given: cache.local_path(given.uris[-1]),
    "open": lambda cache, given: cache.open(given.uris[-1]).close(),
    "get_local_paths": lambda cache, given: cache.get_local_paths(given.uris, skip_failures=False),
    "download_media": lambda cache, given: cache.download_media(given.uris),
    "download_media again": lambda cache, given: cache.download_media(given.uris, update=True),
    "download_context": _context,
    "look_ahead": _look_ahead,
    "stats": lambda cache, given: cache.stats(),
    "stats of some": lambda cache, given: cache.stats(given.uris),
    "contents": lambda cache, given: list(cache.contents()),
    "clear": lambda cache, given: cache.clear(),
    "clear some": lambda cache, given: cache.clear(given.uris, force=True),
    "evict": lambda cache, given: cache.evict(0),
    "lease": _lease,
    "leases": lambda cache, given: cache.leases(),
    "jobs": lambda cache, given: cache.jobs(),
    "job": _job_properties,
    "job changes": _job_changes,
    "volumes": _volumes,
    "doctor": lambda cache, given: list(examine(cache)),
    "fleet": _fleet,
}
# The state is the same after them.
LOOKING = {"stats", "stats of some", "contents", "leases", "jobs", "job", "volumes", "doctor"}
LOOKING_COMMANDS = (
    "stats",
    "ls",
    "jobs",
    "job",
    "volumes",
    "lease ls",
    "verify",
    "config",
    "metrics",
    "doctor",
)
# A little more than the longest of them needs; fewer where an operation needs fewer.
MOST = 120


@pytest.fixture
def proxy(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisProxy]:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.1)
    with RedisProxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def given(make_cache: MakeCache, http_server: HTTPServer) -> Callable[[], Given]:
    """Brings the volume into the state that operations begin with."""
    cache = make_cache(allowed_sources=[http_server.endpoint + "/"])
    uris = [http_server.put(f"/{number}.bin", b"pixels" * number) for number in range(1, 5)]

    def bring() -> Given:
        for lease in cache.leases():
            cache.engine.open_index().leases.end(lease.name)
        for job in cache.jobs():
            cache.job(job.id).forget()
        cache.clear(uris, force=True)
        job = cache.create_job(uris[:1])
        job.start()
        job.wait(timeout=30)
        return Given(uris, job.id, cache.lease(uris[:1], ttl=60).name)

    return bring


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stays_down", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_but_our_errors_leaves_a_public_call(
    name: str, stays_down: bool, proxy: RedisProxy, given: Callable[[], Given], make_cache: MakeCache
) -> None:
    settings = {"redis_url": proxy.url, "volume": "default"}
    state = given()
    for reply in range(1, MOST):
        if name not in LOOKING:
            state = given()
        cache = make_cache(**settings, allowed_sources=[state.uris[0].rsplit("/", 1)[0] + "/"])
        proxy.cut_at(reply, stays_down=stays_down)
        raised = None
        try:
            OPERATIONS[name](cache, state)
        except ForebayError as error:
            raised = error
        came_to_it = proxy.has_cut
        proxy.reset()
        cache.close()
        assert raised is None or (came_to_it and str(raised))
        if not came_to_it:
            break
    # all of its commands have had their turn
    assert not came_to_it
    assert reply > 1


COMMANDS = (
    "stats",
    "ls",
    "jobs",
    "job {job}",
    "volumes",
    "lease ls",
    "lease add {uri} --for 60",
    "lease end {lease}",
    "prefetch {uri}",
    "prefetch {uri} --no-wait",
    "get {uri}",
    "verify {uri}",
    "evict --to 0",
    "clear --all --yes",
    "doctor",
    "config",
    "metrics",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_is_wrong(
    command: str,
    proxy: RedisProxy,
    given: Callable[[], Given],
    forebay: Forebay,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A connection that is lost and can be made anew is the same to commands as to the operations above.
    state = given()
    for reply in range(1, MOST):
        if not command.startswith(LOOKING_COMMANDS):
            state = given()
        sources = state.uris[0].rsplit("/", 1)[0] + "/"
        # What a command has claimed when Redis goes away expires after a while.
        settings = forebay.environment(redis_url=proxy.url, allowed_sources=sources, claim_ttl_seconds=3)
        for variable, value in settings.items():
            if os.environ.get(variable) != value:
                monkeypatch.setenv(variable, value)
        words = command.format(uri=state.uris[-1], job=state.job, lease=state.lease).split()
        proxy.cut_at(reply, stays_down=True)
        status = run(words)
        came_to_it = proxy.has_cut
        proxy.reset()
        shown = capfd.readouterr()
        assert "bug in Forebay" not in shown.err, shown.err
        assert status in (0, 1, 2)
        assert status == 0 or shown.err or command == "doctor"
        if not came_to_it:
            # 1: it has found something missing, or leased
            assert status in (0, 1)
            break
    assert not came_to_it


def test_a_session_that_is_lost_is_our_error(make_cache: MakeCache) -> None:
    # given a process that was paused until Redis forgot it
    cache = make_cache()
    session, index = cache.engine.open_session(), cache.engine.open_index()
    index.connection.command("zrem", index.keys.sessions, session.id)

    with pytest.raises(ForebayError, match="Redis has forgotten this process, which was paused"):
        index.reservations.set(session.id, 1, 1, None)
