"""Redis Sentinel: which server is the master now."""

from __future__ import annotations

from typing import Any

import redis
from redis.connection import SSLConnection, parse_url
from redis.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from forebay.config.redis_address import RedisAddress, host_text

# A Sentinel that does not answer soon is left out, and the next is asked.
_ANSWER_SECONDS = 3.0


class SentinelRefusedError(redis.AuthenticationError):
    """A Sentinel refuses the login. The text begins with SENTINELAUTH."""


class MasterUnknownError(redis.RedisError):
    """The Sentinels watch no master of that name. The text begins with NOMASTER."""


class Sentinels:
    """The Sentinels of one master.

    Args:
        address: names them and the master.
        options: of the connections to the master.

    Attributes:
        client: of the master; its connections ask the Sentinels when they are made.
    """

    def __init__(self, address: RedisAddress, options: dict[str, Any]) -> None:
        self._master = address.master
        login = (address.sentinel_username, address.sentinel_password)
        host, port = address.hosts[0]
        to_server = _arguments(address.tls_url(host, port))
        to_sentinel = {
            **_arguments(address.tls_url(host, port, login=login)),
            "decode_responses": True,
            "socket_timeout": _ANSWER_SECONDS,
            "socket_connect_timeout": _ANSWER_SECONDS,
            "retry": options["retry"],
        }
        tls = to_server.pop("connection_class", None) is SSLConnection
        if tls:
            # redis.Redis makes connections with TLS of this, the pool below of its class.
            to_sentinel["ssl"] = True
        to_sentinel.pop("connection_class", None)
        self._sentinel: Any = _Sentinel(  # type: ignore[no-untyped-call]
            list(address.hosts), sentinel_kwargs=to_sentinel
        )
        kind = SentinelManagedSSLConnection if tls else SentinelManagedConnection
        self.client: Any = self._sentinel.master_for(  # type: ignore[no-untyped-call]
            address.master, redis_class=redis.Redis, connection_class=kind, **{**to_server, **options}
        )

    def answers(self) -> list[tuple[str, dict[str, Any] | None, str]]:
        """What each Sentinel says of the master: its place, the state, and why there is none."""
        found: list[tuple[str, dict[str, Any] | None, str]] = []
        for sentinel in self._sentinel.sentinels:
            try:
                state = sentinel.sentinel_masters().get(self._master)
            except (redis.RedisError, OSError) as error:
                found.append((_place(sentinel), None, str(error)))
            else:
                found.append((_place(sentinel), state, "" if state else f"it watches no {self._master!r}"))
        return found

    def close(self) -> None:
        """Closes the connections to the Sentinels."""
        for sentinel in self._sentinel.sentinels:
            sentinel.close()
            sentinel.connection_pool.disconnect()


class _Sentinel(Sentinel):
    """Says of what goes wrong which of the servers it is about."""

    sentinels: list[Any]

    def discover_master(self, service_name: str) -> tuple[str, int]:
        known: set[str] = set()
        down, reason = False, ""
        for at, sentinel in enumerate(self.sentinels):
            try:
                masters: dict[str, dict[str, Any]] = dict(sentinel.sentinel_masters())
            except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
                raise SentinelRefusedError(f"SENTINELAUTH {_place(sentinel)}: {error}") from None
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                reason = f"{_place(sentinel)}: {error}"
                continue
            state = masters.get(service_name)
            if state is None:
                known |= masters.keys()
            elif not state["is_master"] or state["is_sdown"] or state["is_odown"]:
                down = True
            else:
                # The next time, the one that answered is asked first.
                self.sentinels[0], self.sentinels[at] = sentinel, self.sentinels[0]
                return str(state["ip"]), int(state["port"])
        if down:
            raise redis.ConnectionError("SENTINELDOWN the master is down, and no replica is promoted yet")
        if reason:
            raise redis.ConnectionError(f"SENTINELGONE {reason}")
        names = ", ".join(sorted(known)) or "none"
        raise MasterUnknownError(f"NOMASTER {service_name}; known are: {names}")


def _place(sentinel: Any) -> str:
    arguments = sentinel.connection_pool.connection_kwargs
    return f"{host_text(arguments['host'])}:{arguments['port']}"


def _arguments(url: str) -> dict[str, Any]:
    parameters: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    return {name: value for name, value in parameters.items() if name not in ("host", "port")}
