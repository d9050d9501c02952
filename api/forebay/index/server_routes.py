"""The way to the server that has a volume's keys: it may change while a connection lives.

A plain Redis is always the same server. Behind Sentinels it is the master that they name, and in a cluster
the node that serves the slot of the keys. Each route has the client of redis-py for the server of this
moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.crc import key_slot

from forebay.config.redis_address import RedisAddress, kind_of, parse_address
from forebay.config.redis_parameters import TLS_FILES
from forebay.index.sentinels import Sentinels

# How often in a row another node is asked at once, before there is a pause: two may name each other.
_MAX_HOPS = 3


class Route:
    """The way to one server, which is always the same.

    Args:
        url: of the server, as redis-py reads it.
        options: of its connections.

    Attributes:
        may_fail_over: whether another server may take its place.
    """

    may_fail_over = False

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._client = redis.Redis.from_url(url, **options)

    @property
    def client(self) -> Any:
        """The client of the server that is to be asked now."""
        return self._client

    @property
    def node(self) -> tuple[str, int] | None:
        """Host and port of that server, where they may change, and are known."""
        return None

    def failed(self, error: Exception) -> bool:
        """Takes note of an error of the client.

        Returns:
            whether it is known by now which other server is to be asked.
        """
        del error
        self.forget()
        return False

    def forget(self) -> None:
        """Has the server be found anew for the next call; calls that are under way are not disturbed."""
        self._client.connection_pool.disconnect(inuse_connections=False)

    def asking(self, error: Exception) -> Any:
        """The client of the node that a slot is moving to, for the one command whose error says so."""
        raise NotImplementedError from error

    def close(self) -> None:
        """Closes every connection; the next call opens one again."""
        self._client.close()
        self._client.connection_pool.disconnect()


class SentinelRoute(Route):
    """The way to the master that Sentinels name. They are asked for each new connection."""

    may_fail_over = True

    def __init__(self, address: RedisAddress, options: dict[str, Any]) -> None:
        self.sentinels = Sentinels(address, options)
        self._client = self.sentinels.client

    @property
    def node(self) -> tuple[str, int] | None:
        found: tuple[str, int] | None = self.sentinels.client.connection_pool.master_address
        return found

    def close(self) -> None:
        super().close()
        self.sentinels.close()


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of a cluster that the same nodes serve: the primary first, then its replicas."""

    first: int
    last: int
    nodes: list[tuple[str, int]]


class ClusterRoute(Route):
    """The way to the node that serves the slot of a key.

    All keys of a volume are in one slot, so that one node at a time has them: calls, pipelines and scripts go
    there as to a plain server, and there is nothing to be routed for each of them.

    Args:
        key: names the slot.

    Attributes:
        slot: its number.
    """

    may_fail_over = True

    def __init__(self, address: RedisAddress, options: dict[str, Any], key: str) -> None:
        self.slot = key_slot(key.encode())
        self._address = address
        self._options = options
        self._clients: dict[tuple[str, int], Any] = {}
        self._node: tuple[str, int] | None = None
        self._turn = 0
        self._hops = 0

    @property
    def client(self) -> Any:
        if self._node is None:
            self._node = self._found()
        return self._at(self._node)

    @property
    def node(self) -> tuple[str, int] | None:
        return self._node

    def failed(self, error: Exception) -> bool:
        if isinstance(error, redis.exceptions.MovedError):
            self._hops += 1
            self._node = self._named(error)
            return self._hops % (_MAX_HOPS + 1) != 0
        self.forget()
        return False

    def forget(self) -> None:
        # A node that is gone, or cut off from the others, may be the one that was asked first.
        self._turn += 1
        self._node = None
        for one in list(self._clients.values()):
            one.connection_pool.disconnect(inuse_connections=False)

    def asking(self, error: Exception) -> Any:
        return self._at(self._named(error))

    def close(self) -> None:
        for one in list(self._clients.values()):
            one.close()
            one.connection_pool.disconnect()

    def slots(self) -> list[Slots]:
        """The slots of the cluster, with the nodes that serve them, as one node sees it.

        Raises:
            redis.ConnectionError: no node answers.
            redis.RedisError: one refuses to say.
        """
        known = list(dict.fromkeys((*self._address.hosts, *self._clients)))
        first = self._turn % len(known)
        reason = ""
        for host, port in (*known[first:], *known[:first]):
            try:
                found = self._at((host, port)).execute_command("CLUSTER SLOTS")
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                if isinstance(error, redis.AuthenticationError):
                    raise
                reason = str(error)
                continue
            return [
                Slots(start, end, [(str(node[0] or host), int(node[1])) for node in nodes])
                for start, end, *nodes in found
            ]
        raise redis.ConnectionError(f"none of the cluster's nodes answers; {reason}")

    def _found(self) -> tuple[str, int]:
        for one in self.slots():
            if one.first <= self.slot <= one.last:
                return one.nodes[0]
        raise redis.exceptions.ClusterDownError(f"Hash slot {self.slot} not served")

    def _named(self, error: Any) -> tuple[str, int]:
        # A node that does not know its own address names none: it is the one that was asked.
        host = str(error.host).strip("[]") or (self._node or self._address.hosts[0])[0]
        return host, int(error.port)

    def _at(self, node: tuple[str, int]) -> Any:
        if node not in self._clients:
            url = self._address.tls_url(*node)
            self._clients.setdefault(node, redis.Redis.from_url(url, **self._options))
        return self._clients[node]


def route(url: str, key: str, options: dict[str, Any]) -> Route:
    """The way to the server that a URL names, and that has a key."""
    match kind_of(url):
        case "sentinel":
            return SentinelRoute(parse_address(url), options)
        case "cluster":
            return ClusterRoute(parse_address(url), options, key)
        case _:
            return Route(for_redis_py(url), options)


def for_redis_py(url: str) -> str:
    """redis-py says ``unix://`` where Celery says ``redis+socket://``."""
    if url.startswith("redis+socket://"):
        return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    return url


def tls_files(url: str) -> list[tuple[str, str]]:
    """The parameters of a URL that name files of TLS, and the files."""
    query = parse_qsl(urlsplit(url.rpartition(";")[2]).query)
    return [(name, value) for name, value in query if name in TLS_FILES]
