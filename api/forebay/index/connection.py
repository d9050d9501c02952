"""The connection to Redis: how it is made, checked, and made again.

A call is repeated while Redis restarts, for at most `PATIENCE_SECONDS`, or while another server takes its
place, for at most `FAILOVER_SECONDS`; every script gives the same result when it is sent twice. An embedded
server is started again when it is gone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from operator import methodcaller
from typing import Any, TypeVar

from forebay import forks
from forebay.aside import aside
from forebay.backoff import Backoff
from forebay.config import mask_url
from forebay.config.redis_address import kind_of
from forebay.errors import IndexUnavailableError
from forebay.index import redis_errors, scripts

PATIENCE_SECONDS = 20.0
# Sentinels and clusters wait for 15 to 30 s, as they come, before they promote a replica.
FAILOVER_SECONDS = 90.0
_ANSWER_SECONDS = 10.0
_RUN_ID = re.compile(r"run_id:(\w+)")
_T = TypeVar("_T")


class Connection:
    """One process's connection pool to the Redis of an index.

    Args:
        url: a Redis URL.
        restart: for an embedded server, starts it when it is not running.
        patience: how long a call is repeated while Redis does not answer, in seconds; by default
            `PATIENCE_SECONDS`.
        queue: whether it is that of Celery's queue; then messages name the broker's setting.
        key: in a cluster, any of the keys that are asked for: all are in its slot.

    Attributes:
        opened: how many connections have been opened so far; behind a new one, Redis may not be what it
            was.
    """

    def __init__(
        self,
        url: str,
        restart: Callable[[], str] | None = None,
        patience: float | None = None,
        *,
        queue: bool = False,
        key: str = "",
    ) -> None:
        # Imported here and below: the client of Redis is slow to import, and hits do without it.
        with forks.setting_up():
            # By these the client finds out its own version, and looks up hosts.
            import email.parser  # noqa: F401
            import encodings.idna  # noqa: F401

            from redis.backoff import NoBackoff
            from redis.retry import Retry

            from forebay.index.server_routes import route, tls_files

        self.url = url
        self.opened = 0
        self._run_ids: dict[Any, str] = {}
        self._give_up_at = math.inf
        self._restart = restart
        self._given_patience = patience
        self._queue = queue
        self._others: dict[str, Connection] = {}
        self._is_cluster = kind_of(url) == "cluster"
        redis_errors.check_files(tls_files(url), queue=queue)
        self._route = route(
            url,
            key,
            {
                "decode_responses": True,
                # What is not ours to read costs itself only, and can still be named to remove it.
                "encoding_errors": "surrogateescape",
                "socket_timeout": _ANSWER_SECONDS,
                "socket_connect_timeout": 5.0,
                "retry": Retry(NoBackoff(), 0),
                "health_check_interval": 0,
                "redis_connect_func": self._on_connect,
            },
        )
        default = FAILOVER_SECONDS if self._route.may_fail_over else PATIENCE_SECONDS
        self._patience = default if patience is None else patience

    @property
    def route(self) -> Any:
        """The way to that server (`forebay.index.server_routes.Route`)."""
        return self._route

    @property
    def redis(self) -> Any:
        """The client of redis-py for the server that is to be asked now."""
        return self._route.client

    def of(self, key: str) -> Connection:
        """The connection to the server that has a key: this one, unless it is that of a cluster."""
        if not self._is_cluster:
            return self
        if key not in self._others:
            one = Connection(self.url, patience=self._given_patience, queue=self._queue, key=key)
            one.hurry(self._give_up_at - time.monotonic())
            self._others[key] = one
        return self._others[key]

    def check(self) -> str:
        """Makes sure that Redis answers, and that it keeps what it is given.

        Returns:
            the server's run id, which tells one start of it from the next.

        Raises:
            IndexUnavailableError: it cannot be reached, refuses the password, or may evict keys.
        """
        # One that is embedded may have ended since it was started, as no client was connected.
        patience = 0.0 if self._restart is None else None
        info = self._patiently(self._info, patience=patience, starting=True)
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise IndexUnavailableError(
                f"Redis at {mask_url(self.url)} has the maxmemory-policy {policy!r}, under which it "
                f"deletes keys of the {'queue' if self._queue else 'index'} when its memory is "
                "full: set it to 'noeviction'"
            )
        return str(info["run_id"])

    def run_id(self) -> str:
        """An id that the server chooses anew at each start."""
        return str(self.command("info", "server")["run_id"])

    def look_again(self) -> None:
        """Has the next call find out which server is to be asked, where another may take its place."""
        if self._route.may_fail_over:
            self._route.forget()

    def server(self) -> dict[str, Any]:
        """The server's statistics (``INFO``).

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        return dict(self.command("info"))

    @property
    def database(self) -> int:
        """The number of the database."""
        return int(self.redis.connection_pool.connection_kwargs.get("db") or 0)

    def ping(self) -> None:
        """Makes a round trip.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        self.command("ping")

    def time(self) -> float:
        """The server's clock, in seconds since the epoch.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        seconds, micros = self.command("time")
        return float(seconds) + float(micros) / 1e6

    def command(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Sends one command, by the name of its redis-py method.

        Raises:
            IndexUnavailableError: Redis does not come back, or refuses to serve us.
        """

        def run(sent: Any) -> Any:
            try:
                return getattr(self.redis, name)(*sent, **options)
            except Exception as error:
                return self._asked(error, methodcaller(name, *sent, **options))

        return self._patiently(lambda: _readable(run, list(arguments)))

    def check_channels(self, *patterns: str) -> None:
        """Makes sure that patterns of channels may be listened to.

        Raises:
            IndexUnavailableError: the user of the URL may not.
        """

        def run() -> None:
            with self.redis.pubsub() as listener:
                listener.psubscribe(*patterns)
                for _ in patterns:
                    listener.parse_response()

        self._patiently(run, patience=0.0)

    def pipeline(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Sends several commands (name and arguments of each) in one round trip.

        Raises:
            IndexUnavailableError: as `command`.
        """

        def run(sent: Any) -> Any:
            calls = [(name, given) for (name, *_), given in zip(commands, sent, strict=True)]
            pipeline = self.redis.pipeline(transaction=False)
            for name, given in calls:
                getattr(pipeline, name)(*given)
            if not self._is_cluster:
                return pipeline.execute()
            answers = pipeline.execute(raise_on_error=False)
            for at, (answer, (name, given)) in enumerate(zip(answers, calls, strict=True)):
                if isinstance(answer, Exception):
                    answers[at] = self._asked(answer, methodcaller(name, *given))
            return answers

        return list(self._patiently(lambda: _readable(run, [list(rest) for _, *rest in commands])))

    def script(self, name: str, keys: list[str], arguments: list[Any], *, fenced: bool = False) -> Any:
        """Runs the Lua script ``name``, which the server keeps by its digest.

        Args:
            fenced: whether the script gets one more argument: the start of the server that answers, where
                another may have taken its place; else an empty one.

        Raises:
            redis.ResponseError: the script refused; its text begins with a word in capitals.
            IndexUnavailableError: as `command`.
        """
        import redis

        def run(sent: Any) -> Any:
            try:
                return self.redis.evalsha(scripts.digest(name), len(keys), *keys, *sent)
            except redis.exceptions.NoScriptError:
                return self.redis.eval(scripts.source(name), len(keys), *keys, *sent)
            except redis.exceptions.AskError as error:
                # The node that the slot is moving to may not know the script.
                source = scripts.source(name)
                return self._asked(error, methodcaller("eval", source, len(keys), *keys, *sent))

        def run_fenced(sent: Any) -> Any:
            while True:
                run_id = self._seen_run_id
                answer = run([*sent, run_id])
                # A connection may have been opened for this very call, to another server than before.
                if run_id == self._seen_run_id:
                    return answer

        return self._patiently(lambda: _readable(run_fenced if fenced else run, arguments))

    def hurry(self, seconds: float) -> None:
        """Has all calls together, also those under way, wait for Redis for no more than so many seconds.

        For a process that ends: many calls, each with patience of its own, would keep it for minutes.
        """
        self._give_up_at = min(self._give_up_at, time.monotonic() + seconds)
        for one in self._others.values():
            one.hurry(seconds)

    def close(self) -> None:
        """Closes every connection; the next call opens one again."""
        self._route.close()
        for one in self._others.values():
            one.close()

    @property
    def _seen_run_id(self) -> str:
        """The start of the server that is connected to, where another may take its place; else empty."""
        return self._run_ids.get(self._route.node, "")

    def _info(self) -> dict[str, Any]:
        return dict(self.redis.info())

    def _on_connect(self, connection: Any) -> None:
        self.opened += 1
        connection.on_connect()
        if self._route.may_fail_over and not self._queue:
            connection.send_command("INFO", "server")
            found = _RUN_ID.search(str(connection.read_response()))
            self._run_ids[connection.host, connection.port] = found[1] if found else ""

    def _asked(self, error: Exception, send: Callable[[Any], _T]) -> _T:
        """Sends a command to the node that its slot is moving to, where an error says so; else raises it."""
        import redis

        if not isinstance(error, redis.exceptions.AskError) or isinstance(error, redis.exceptions.MovedError):
            raise error
        if not self._is_cluster:
            raise error
        pipeline = self._route.asking(error).pipeline(transaction=False)
        pipeline.execute_command("ASKING")
        send(pipeline)
        _, answer = pipeline.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
        found: _T = answer
        return found

    def _patiently(
        self, operation: Callable[[], _T], patience: float | None = None, *, starting: bool = False
    ) -> _T:
        """Repeats a call until it succeeds, or the patience is over.

        Args:
            patience: in seconds; by default that of this connection.
            starting: whether no call has succeeded yet, so that the URL may be wrong. Then only a failover
                is waited for.
        """
        import redis

        began = time.monotonic()
        pause = Backoff(0.02, 0.5, factor=2.0, jitter=0.5)
        while True:
            try:
                return aside(operation)
            except (redis.RedisError, OSError, UnicodeError) as error:
                if redis_errors.is_of_script(error):
                    raise
                failover = self._route.may_fail_over and redis_errors.passes_with_failover(error)
                # An embedded server on a full disk tries again every second: it may have space soon.
                short = self._restart is not None and str(error).startswith("MISCONF")
                allowed = self._patience if patience is None or (starting and failover) else patience
                over = time.monotonic() >= min(began + allowed, self._give_up_at)
                if over or not (short or failover or redis_errors.passes(error)):
                    raise redis_errors.explained(error, self.url, queue=self._queue) from None
                if self._route.failed(error):
                    continue
            time.sleep(pause.next())
            if self._restart is not None:
                self._restart()


def _readable(run: Callable[[Any], _T], arguments: list[Any]) -> _T:
    """Runs a call, again with its texts as bytes if one of them names what is not UTF-8 in Redis: the client
    reads such names, but its packer in C does not write them."""
    try:
        return run(arguments)
    except UnicodeEncodeError:
        return run(_as_bytes(arguments))


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, list | tuple):
        return [_as_bytes(part) for part in value]
    if isinstance(value, dict):
        return {_as_bytes(key): _as_bytes(part) for key, part in value.items()}
    return value
