"""A worker outlives what is in its queue, and what its Redis does; or its status says that it did not."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from forebay.jobs.celery_app import KEY_PREFIX
from tests.caches import MakeCache
from tests.commands import COMMAND, Forebay
from tests.messages import BAD_MESSAGES, message
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault
from tests.servers.redis_proxy import RedisProxy
from tests.servers.valkey import Valkey

QUEUE = f"{KEY_PREFIX}forebay.default"


def broker(valkey: Valkey) -> redis.Redis:
    return redis.Redis(port=valkey.port, db=1)


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


@pytest.fixture
def web(http_server: HTTPServer, forebay: Forebay) -> HTTPServer:
    forebay.settings["allowed_sources"] = http_server.endpoint + "/"
    return http_server


def downloads(forebay: Forebay, web: HTTPServer, name: str) -> bool:
    """Whether the fleet downloads an object now."""
    done = forebay("prefetch", web.put(f"/{name}.bin", b"pixels"), dispatch="fleet")
    assert done.status == 0, done.err
    return True


class Worker:
    """A worker that the command has started; what it says goes to a file, as it may be much."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def end(self) -> int:
        """Tells it to end, and returns its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


StartWorker = Callable[..., contextlib.AbstractContextManager[Worker]]


@pytest.fixture
def start_worker(forebay: Forebay, make_cache: MakeCache, tmp_path: Path) -> StartWorker:
    """Starts a worker by the command, and waits until it is ready."""

    @contextlib.contextmanager
    def start(
        *arguments: str, environment: dict[str, str] | None = None, **settings: str
    ) -> Iterator[Worker]:
        log = tmp_path / "worker.log"
        command = [COMMAND, "worker", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=forebay.environment(**settings) | (environment or {}),
                start_new_session=True,
            )
        worker = Worker(process, log)
        cache = make_cache()
        try:
            eventually(lambda: not worker.runs or cache.engine.open_index().workers.alive())
            assert worker.runs, worker.log
            yield worker
        finally:
            process.kill()
            process.wait()

    return start


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_messages_that_no_worker_can_read_cost_themselves_only(
    pool: str,
    forebay: Forebay,
    valkey: Valkey,
    make_cache: MakeCache,
    web: HTTPServer,
    start_worker: StartWorker,
) -> None:
    client = broker(valkey)
    with start_worker("--pool", pool) as worker:
        # when each of them lies in the queue, also in that of another priority, and in the channels of
        # Celery's remote control
        for raw in BAD_MESSAGES.values():
            client.lpush(QUEUE, raw)
            client.lpush(QUEUE + "\x06\x163", raw)
            client.publish(f"{KEY_PREFIX}/1.celery.pidbox", raw)
            client.publish(f"{KEY_PREFIX}/1.celeryev/worker.heartbeat", raw)

        # then the worker works on, and they have left the queue, each with a reason
        assert downloads(forebay, web, "after")
        eventually(lambda: client.llen(f"{QUEUE}.set-aside") == 2 * len(BAD_MESSAGES))
        kept = [json.loads(one) for one in client.lrange(f"{QUEUE}.set-aside", 0, -1)]
        assert all(one["reason"] for one in kept)
        assert client.llen(QUEUE) == client.llen(QUEUE + "\x06\x163") == 0
        assert worker.runs

        # and they are counted, and the check of everything says so
        index = make_cache().engine.open_index()
        eventually(lambda: index.counters.read().get("", {}).get("set_aside", 0) == 2 * len(BAD_MESSAGES))
        assert f"no worker reads it: {2 * len(BAD_MESSAGES)} messages;" in forebay("doctor").out
        assert worker.end() == 0, worker.log
        assert "Unrecoverable" not in worker.log
        assert worker.log.count("was set aside") == 2 * len(BAD_MESSAGES)


def test_what_celery_keeps_unacknowledged_costs_itself_only(
    forebay: Forebay, valkey: Valkey, web: HTTPServer, start_worker: StartWorker
) -> None:
    # given messages that a worker looks at when it connects, to put them back
    client = broker(valkey)
    tags = {f"tag{number}": raw for number, raw in enumerate(BAD_MESSAGES.values())}
    tags["good"] = json.dumps([message(), "", "forebay.default"]).encode()
    client.hset(f"{KEY_PREFIX}unacked", mapping=tags)  # type: ignore[arg-type]
    client.zadd(f"{KEY_PREFIX}unacked_index", dict.fromkeys(tags, 1.0))

    with start_worker() as worker:
        # then it connects, and only the good one goes back
        assert downloads(forebay, web, "after")
        eventually(lambda: client.zcard(f"{KEY_PREFIX}unacked_index") == 0)
        assert client.llen(f"{QUEUE}.set-aside") == len(BAD_MESSAGES)
        assert worker.runs


REPLIES = (
    "-OOM command not allowed when used memory > 'maxmemory'.",
    "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "-READONLY You can't write against a read only replica.",
    "-LOADING Redis is loading the dataset in memory",
    "-MOVED 3999 127.0.0.1:6381",
    "-CLUSTERDOWN The cluster is down",
    "-NOPERM this user has no permissions to run the command",
    "-WRONGTYPE Operation against a key holding the wrong kind of value",
    "-UNBLOCKED the stream key no longer exists",
    "-ERR max number of clients reached",
    "-NOAUTH Authentication required.",
    "-BUSY Redis is busy running a script.",
    "-TRYAGAIN Multiple keys request during rehashing of slot",
    "$-1",
    "*1\r\n$1\r\nx",
    "*3\r\n:1\r\n:2\r\n:3",
    ":17",
    "+OK",
    "garbage",
)


# After each the worker waits some seconds before it asks again, so one command has its turn with every reply,
# and the others share them.
@pytest.mark.parametrize(
    ("command", "replies"),
    [("BRPOP", REPLIES), ("*", REPLIES[::3]), ("ZADD", REPLIES[1::3]), ("EXEC", REPLIES[2::3])],
    ids=["BRPOP", "*", "ZADD", "EXEC"],
)
def test_whatever_redis_answers_a_worker_works_on_when_it_is_well_again(
    command: str,
    replies: tuple[str, ...],
    forebay: Forebay,
    valkey: Valkey,
    web: HTTPServer,
    start_worker: StartWorker,
) -> None:
    with (
        RedisProxy(valkey.port) as proxy,
        start_worker(broker_url=f"redis://127.0.0.1:{proxy.port}/1") as worker,
    ):
        for number, reply in enumerate(replies):
            proxy.reset()
            proxy.answer(command, reply)
            if command in ("ZADD", "EXEC"):
                broker(valkey).lpush(QUEUE, json.dumps(message()))
            eventually(lambda: proxy.refused or not worker.runs)
            proxy.reset()
            assert worker.runs, worker.log
            if number % 6 == 0:
                assert downloads(forebay, web, f"after-{number}"), worker.log
        assert worker.end() == 0, worker.log
        assert "Unrecoverable" not in worker.log


def test_a_worker_that_cannot_go_on_ends_with_a_status(
    valkey: Valkey, start_worker: StartWorker, tmp_path: Path
) -> None:
    # given an error of which Redis is no part, as often as the worker connects
    (tmp_path / "sitecustomize.py").write_text(
        "import celery.worker.consumer.tasks as tasks\n"
        "def start(self, consumer): raise RuntimeError('injected')\n"
        "tasks.Tasks.start = start\n"
    )
    with (
        pytest.raises(AssertionError, match="this worker ends with status 1"),
        start_worker(environment={"PYTHONPATH": str(tmp_path)}),
    ):
        pass


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_nothing_of_the_environment_of_celery_reaches_ours(
    pool: str, forebay: Forebay, web: HTTPServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an environment that sets another application of Celery up, for whoever sends and whoever works
    for name, value in {
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "CELERY_BROKER_READ_URL": "redis://127.0.0.1:1/0",
        "CELERY_BROKER_WRITE_URL": "redis://127.0.0.1:1/0",
        "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
        "CELERY_CONFIG_MODULE": "no_such_module",
        "CELERY_LOADER": "no.such.module:Loader",
        "CELERY_APP": "no.such.application",
        "CELERY_WORKER_POOL": "no-such-pool",
        "CELERY_WORKER_REVOKES_MAX": "many",
        "CELERY_BENCH_EVERY": "often",
        "DJANGO_SETTINGS_MODULE": "no_such_settings",
        "REMAP_SIGTERM": "SIGUSR1",
        "APP": "no.such.application",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "RESULT_BACKEND": "redis://127.0.0.1:1/0",
        "LOADER": "no.such.module:Loader",
        "CONFIG_MODULE": "no_such_module",
    }.items():
        monkeypatch.setenv(name, value)

    # then the worker works, and ends in good order
    with start_worker("--pool", pool) as worker:
        assert downloads(forebay, web, "a")
        assert forebay("doctor", dispatch="auto").status == 0
        assert worker.end() == 0, worker.log


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_outlives_restarts_and_full_memory(
    pool: str,
    forebay: Forebay,
    valkey: Valkey,
    make_cache: MakeCache,
    web: HTTPServer,
    start_worker: StartWorker,
) -> None:
    with start_worker("--pool", pool) as worker:
        for number in range(3):
            valkey.restart(empty=number == 2)
            assert worker.runs, worker.log
        workers = make_cache().engine.open_index().workers
        eventually(workers.alive)
        assert downloads(forebay, web, "restarted")

        valkey.client.config_set("maxmemory", 1)
        refused = broker(valkey)
        for _ in range(3):
            with pytest.raises(redis.ResponseError, match=r"(?i)maxmemory"):
                refused.lpush(QUEUE, b"x")
            assert worker.runs, worker.log
        valkey.client.config_set("maxmemory", 0)
        assert downloads(forebay, web, "full")
        assert worker.end() == 0, worker.log


def test_a_worker_ends_although_its_redis_has_gone(
    forebay: Forebay,
    valkey: Valkey,
    make_cache: MakeCache,
    http_server: HTTPServer,
    start_worker: StartWorker,
) -> None:
    # given a worker in the middle of downloads
    with http_server.proxied() as slow:
        forebay.settings["allowed_sources"] = slow.endpoint + "/"
        slow.fault(None, Fault(delay=1.0))
        for number in range(8):
            http_server.put(f"/{number}.bin", b"pixels")
        uris = [f"{slow.endpoint}/{number}.bin" for number in range(8)]
        with start_worker() as worker:
            cache = make_cache(dispatch="fleet", allowed_sources=[slow.endpoint + "/"])
            cache.create_job(uris).start()
            eventually(lambda: slow.requests)

            # when Redis goes, and the worker is told to end, as when Ctrl-C ends all of a machine
            valkey.stop()
            worker.process.send_signal(signal.SIGTERM)

            # then not each of its calls waits for Redis in its turn
            worker.process.wait(45)
        valkey.start()
