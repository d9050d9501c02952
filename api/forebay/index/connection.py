"""The connection to Redis: how it is made, checked, and made again.

A call is repeated while Redis restarts, for at most `PATIENCE_SECONDS`; every script gives the same
result when it is sent twice. An embedded server is started again when it is gone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from forebay.backoff import Backoff
from forebay.config import env_name, mask_url
from forebay.errors import IndexUnavailableError
from forebay.index import scripts

PATIENCE_SECONDS = 20.0
_ANSWER_SECONDS = 10.0
_T = TypeVar("_T")


class Connection:
    """One process's connection pool to the Redis of an index.

    Args:
        url: a Redis URL.
        restart: for an embedded server, starts it when it is not running.
        patience: how long a call is repeated while Redis does not answer, in seconds.
        queue: whether it is that of Celery's queue; then messages name the broker's setting.

    Attributes:
        opened: how many connections have been opened so far; behind a new one, Redis may not be what it
            was.
    """

    def __init__(
        self,
        url: str,
        restart: Callable[[], str] | None = None,
        patience: float = PATIENCE_SECONDS,
        *,
        queue: bool = False,
    ) -> None:
        # Imported here and below: the client of Redis is slow to import, and hits do without it.
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.url = url
        self.opened = 0
        self._restart = restart
        self._patience = patience
        self._queue = queue
        self._variable = env_name("broker_url" if queue else "redis_url")
        self.redis: Any = redis.Redis.from_url(
            _for_redis_py(url),
            decode_responses=True,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=5.0,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            redis_connect_func=self._on_connect,
        )

    def check(self) -> str:
        """Makes sure that Redis answers, and that it keeps what it is given.

        Returns:
            the server's run id, which tells one start of it from the next.

        Raises:
            IndexUnavailableError: it cannot be reached, refuses the password, or may evict keys.
        """
        info = self._patiently(self.redis.info, patience=0.0)
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

    def server(self) -> dict[str, Any]:
        """The server's statistics (``INFO``).

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        return dict(self.command("info"))

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
        return self._patiently(lambda: getattr(self.redis, name)(*arguments, **options))

    def pipeline(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Sends several commands (name and arguments of each) in one round trip.

        Raises:
            IndexUnavailableError: as `command`.
        """

        def run() -> Any:
            pipeline = self.redis.pipeline(transaction=False)
            for name, *arguments in commands:
                getattr(pipeline, name)(*arguments)
            return pipeline.execute()

        return list(self._patiently(run))

    def script(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Runs the Lua script ``name``, which the server keeps by its digest.

        Raises:
            redis.ResponseError: the script refused; its text begins with a word in capitals.
            IndexUnavailableError: as `command`.
        """
        import redis

        def run() -> Any:
            try:
                return self.redis.evalsha(scripts.digest(name), len(keys), *keys, *arguments)
            except redis.exceptions.NoScriptError:
                return self.redis.eval(scripts.source(name), len(keys), *keys, *arguments)

        return self._patiently(run)

    def close(self) -> None:
        """Closes every connection; the next call opens one again."""
        self.redis.close()
        self.redis.connection_pool.disconnect()

    def _on_connect(self, connection: Any) -> None:
        self.opened += 1
        connection.on_connect()

    def _patiently(self, operation: Callable[[], _T], patience: float | None = None) -> _T:
        import redis

        deadline = time.monotonic() + (self._patience if patience is None else patience)
        pause = Backoff(0.02, 0.5, factor=2.0, jitter=0.5)
        while True:
            try:
                return operation()
            except redis.AuthenticationError as error:
                raise self._refused(error) from None
            except (
                redis.ConnectionError,
                redis.TimeoutError,
                redis.exceptions.BusyLoadingError,
                redis.exceptions.ReadOnlyError,
            ) as error:
                if time.monotonic() >= deadline:
                    raise IndexUnavailableError(
                        f"Redis at {mask_url(self.url)} cannot be reached ({_reason(error)}): "
                        f"start it, or check {self._variable}"
                    ) from None
                self.redis.connection_pool.disconnect(inuse_connections=False)
            except redis.exceptions.OutOfMemoryError:
                raise IndexUnavailableError(
                    f"Redis at {mask_url(self.url)} is full: raise its maxmemory, or move what else it holds "
                    "to another Redis"
                ) from None
            except redis.ResponseError as error:
                if "noauth" in str(error).lower() or "authentication" in str(error).lower():
                    raise self._refused(error) from None
                if "db index is out of range" in str(error).lower():
                    raise self._without_database() from None
                raise
            time.sleep(pause.next())
            if self._restart is not None:
                self._restart()

    def _without_database(self) -> IndexUnavailableError:
        where = f"Redis at {mask_url(self.url)}"
        if self._queue:
            return IndexUnavailableError(
                f"{where} has no such database, which Celery's queue is to use: set {self._variable} to one "
                "that it has, and that is not the index's"
            )
        return IndexUnavailableError(
            f"{where} has no such database: set {self._variable} to one that it has, mostly 0 to 15; "
            f"the queue uses the next, unless {env_name('broker_url')} says otherwise"
        )

    def _refused(self, error: Exception) -> IndexUnavailableError:
        # Without a password, already the greeting of the protocol is refused, in many words.
        if re.search("noauth|hello must be called|authentication required", str(error), re.IGNORECASE):
            return IndexUnavailableError(
                f"Redis at {mask_url(self.url)} wants a password: put it into "
                f"{self._variable}, as in redis://:password@host:6379/0"
            )
        return IndexUnavailableError(
            f"Redis at {mask_url(self.url)} refuses the password or user name ({_reason(error)}): "
            f"check {self._variable}"
        )


def _for_redis_py(url: str) -> str:
    """redis-py says ``unix://`` where Celery says ``redis+socket://``."""
    if url.startswith("redis+socket://"):
        return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    return url


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.split("\n", maxsplit=1)[0] or type(error).__name__
