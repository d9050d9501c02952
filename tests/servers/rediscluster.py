"""A Redis Cluster: primaries that share the slots, and replicas of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.crc import key_slot

from tests.servers.embedded import eventually
from tests.servers.process import free_ports
from tests.servers.valkey import Valkey

_SLOTS = 16384


@dataclass
class RedisCluster:
    """Its nodes; the first ones are the primaries at the beginning, each with as many replicas.

    Attributes:
        primaries: how many.
    """

    nodes: list[Valkey]
    primaries: int
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def url(self) -> str:
        login = f":{self.nodes[0].password}@" if self.nodes[0].password else ""
        return f"redis+cluster://{login}{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def start(self) -> None:
        for node in self.nodes:
            node.options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
            node.options += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
            node.options += ["--masterauth", node.password] if node.password else []
            # A node's bus listens 10,000 above its port by default, where another server may.
            node.options += ["--cluster-port", str(free_ports()[0])]
            node.start()
            self._running.callback(node.stop)
        first = self.nodes[0]
        for at, node in enumerate(self.nodes):
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            if at:
                bus = first.options[first.options.index("--cluster-port") + 1]
                node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        step = _SLOTS // self.primaries
        for at, node in enumerate(self.nodes[: self.primaries]):
            last = _SLOTS - 1 if at == self.primaries - 1 else (at + 1) * step - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", at * step, last)
        count = len(self.nodes)
        eventually(lambda: all(len(_known(node)) == count for node in self.nodes))
        for at, node in enumerate(self.nodes[self.primaries :]):
            primary = self.nodes[at % self.primaries]
            eventually(lambda node=node, primary=primary: _follow(node, self.id_of(primary)))
        eventually(lambda: all(self._is_sound(node) for node in self.nodes))

    def _is_sound(self, node: Valkey) -> bool:
        info = _info(node)
        linked = all(
            one.client.info("replication")["master_link_status"] == "up"
            for one in self.nodes[self.primaries :]
        )
        return (
            info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes)) and linked
        )

    def id_of(self, node: Valkey) -> str:
        """A node's id."""
        return str(_text(node.client.execute_command("CLUSTER", "MYID")))

    def primary_of(self, key: str) -> Valkey:
        """The node that serves a key now, as the nodes that run say."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            with contextlib.suppress(redis.ConnectionError):
                for start, end, (_, port, *_), *_ in _raw(node).execute_command("CLUSTER", "SLOTS"):
                    if start <= slot <= end:
                        return next(one for one in self.nodes if one.port == port)
        raise LookupError(f"no node serves {key!r}")

    def begin_to_move(self, key: str, target: Valkey) -> int:
        """Declares that the slot of a key moves to another node; gives the slot.

        From now on the source answers with ASK for what it does not have.
        """
        slot, source = key_slot(key.encode()), self.primary_of(key)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return slot

    def move_keys(self, key: str, target: Valkey) -> None:
        """Moves the keys of a slot that has begun to move, one after the other, until there is none."""
        slot, source = key_slot(key.encode()), self.primary_of(key)
        options = ["REPLACE", *(["AUTH", target.password] if target.password else [])]
        while keys := _raw(source).execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            for one in keys:
                _raw(source).execute_command("MIGRATE", "127.0.0.1", target.port, one, 0, 5000, *options)

    def end_move(self, key: str, target: Valkey) -> None:
        """Has all nodes know that the slot has moved. From now on the source answers with MOVED."""
        slot, name = key_slot(key.encode()), self.id_of(target)
        source = self.primary_of(key)
        others = [node for node in self.nodes[: self.primaries] if node not in (target, source)]
        for node in (target, source, *others):
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def stop(self) -> None:
        self._running.close()


def _raw(node: Valkey) -> redis.Redis:
    return redis.Redis(port=node.port, password=node.password or None, decode_responses=True)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _known(node: Valkey) -> list[str]:
    """The nodes that a node knows, and has shaken hands with."""
    client = _raw(node)
    client.response_callbacks.pop("CLUSTER NODES", None)
    lines = _text(client.execute_command("CLUSTER NODES")).splitlines()
    return [line for line in lines if "handshake" not in line]


def _info(node: Valkey) -> dict[str, str]:
    client = _raw(node)
    client.response_callbacks.pop("CLUSTER INFO", None)
    lines = _text(client.execute_command("CLUSTER INFO")).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _follow(node: Valkey, primary: str) -> bool:
    try:
        return bool(_raw(node).execute_command("CLUSTER", "REPLICATE", primary))
    except redis.ResponseError:
        # It has not heard of that one yet.
        return False


@contextlib.contextmanager
def redis_cluster(directory: Path, *, replicas: bool = False, password: str = "") -> Iterator[RedisCluster]:
    """Three primaries, each with a replica if wanted."""
    ports = free_ports(6 if replicas else 3)
    nodes = [Valkey(port, directory / str(port), password) for port in ports]
    for node in nodes:
        node.directory.mkdir(parents=True)
    cluster = RedisCluster(nodes, 3)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
