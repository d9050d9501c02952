"""Redis behind Sentinels: a master, replicas, and Sentinels that promote one when the master is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

from forebay.embedded import _binary
from tests.servers.embedded import eventually
from tests.servers.process import free_ports, running
from tests.servers.valkey import Valkey

NAME = "mymaster"
_DOWN_AFTER_SECONDS = 1.0
_REPLICAS = "the-replicas-password"


@dataclass
class SentinelGroup:
    """Three Sentinels and their servers, all with a database that is replicated.

    Attributes:
        servers: the first is the master at the beginning.
        ports: of the Sentinels.
        password: of the servers.
        sentinel_password: of the Sentinels.
        down_after_seconds: how long a server may be silent until the Sentinels call it down.
    """

    directory: Path
    servers: list[Valkey]
    ports: list[int]
    password: str
    sentinel_password: str
    down_after_seconds: float = _DOWN_AFTER_SECONDS
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def url(self) -> str:
        """Database 0, as Forebay writes it, with all passwords."""
        login = f":{self.password}@" if self.password else ""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        query = f"?sentinel_password={self.sentinel_password}" if self.sentinel_password else ""
        return f"redis+sentinel://{login}{hosts}/{NAME}/0{query}"

    @property
    def sentinels(self) -> list[redis.Redis]:
        secret = self.sentinel_password or None
        return [redis.Redis(port=port, password=secret, decode_responses=True) for port in self.ports]

    @property
    def master(self) -> Valkey:
        """The server that the first Sentinel names."""
        port = int(self.sentinels[0].sentinel_master(NAME)["port"])
        return next(server for server in self.servers if server.port == port)

    @property
    def epoch(self) -> int:
        """Grows by one with each failover."""
        return int(self.sentinels[0].sentinel_master(NAME)["config-epoch"])

    def start(self) -> None:
        master, *replicas = self.servers
        options = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        options += ["--user", "replica", "on", f">{_REPLICAS}", "+psync", "+replconf", "+ping"]
        options += ["--masteruser", "replica", "--masterauth", _REPLICAS]
        master.options = options
        master.start()
        self._running.callback(master.stop)
        for replica in replicas:
            replica.options = [*options, "--replicaof", f"127.0.0.1 {master.port}"]
            replica.start()
            self._running.callback(replica.stop)
        for replica in replicas:
            # Whom it follows when it is started again, the Sentinels tell it: it may be the master then.
            replica.options = options
        for port in self.ports:
            self._start_sentinel(port)
        self.settle()

    def settle(self, timeout_seconds: float = 10.0) -> None:
        """Waits until all servers follow one master, as all Sentinels see it."""
        eventually(self._all_follow, timeout_seconds)

    def add_sentinel(self, *, quorum: int, down_after_seconds: float) -> None:
        """Starts one more Sentinel of the first server, which it calls down after so many seconds."""
        self.ports.append(free_ports()[0])
        self._start_sentinel(self.ports[-1], quorum, down_after_seconds)

    def _start_sentinel(self, port: int, quorum: int = 2, down_after: float | None = None) -> None:
        milliseconds = round(1000 * (down_after or self.down_after_seconds))
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {self.directory}",
            f"sentinel monitor {NAME} 127.0.0.1 {self.servers[0].port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} {milliseconds}",
            f"sentinel failover-timeout {NAME} 3000",
        ]
        lines += [f"sentinel auth-pass {NAME} {self.password}"] if self.password else []
        if secret := self.sentinel_password:
            lines += [f"requirepass {secret}", f"sentinel sentinel-pass {secret}"]
        path = self.directory / f"sentinel-{port}.conf"
        path.write_text("\n".join([*lines, ""]))
        client = redis.Redis(port=port, password=self.sentinel_password or None)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        log = self.directory / f"sentinel-{port}.log"
        self._running.enter_context(
            running([_binary.find(), str(path), "--sentinel"], log=log, ready=answers)
        )

    def _all_know_all(self) -> bool:
        others = len(self.ports) - 1, len(self.servers) - 1
        return all(
            (state["num-other-sentinels"], state["num-slaves"]) == others
            and all(not one["is_sdown"] for one in sentinel.sentinel_slaves(NAME))
            for sentinel in self.sentinels
            for state in [sentinel.sentinel_master(NAME)]
        )

    def kill_master(self) -> Valkey:
        """Kills the master at once; gives it back, to be started again."""
        server = self.master
        server.stop()
        return server

    def cut_replication(self) -> None:
        """From now on nothing is replicated, although the replicas are there."""
        client = self.master.client
        client.execute_command("ACL", "SETUSER", "replica", "off")
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        eventually(lambda: client.info("replication")["connected_slaves"] == 0)

    def wait_for_another(self, than: Valkey) -> Valkey:
        """Waits until the Sentinels have promoted another server."""
        eventually(lambda: self.master.port != than.port and _is_master(self.master))
        return self.master

    def _all_follow(self) -> bool:
        try:
            states = [server.client.info("replication") for server in self.servers]
        except redis.ConnectionError:
            # It has not come up yet.
            return False
        others = [state for state in states if state["role"] != "master"]
        return (
            len(others) == len(states) - 1
            and all(state["master_link_status"] == "up" for state in others)
            and self._all_know_all()
            and len({one.sentinel_master(NAME)["port"] for one in self.sentinels}) == 1
        )

    def stop(self) -> None:
        self._running.close()


def _is_master(server: Valkey) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(server.client.info("replication")["role"] == "master")
    return False


@contextlib.contextmanager
def sentinel_group(
    directory: Path,
    *,
    replicas: int = 1,
    password: str = "",
    sentinel_password: str = "",
    down_after_seconds: float = _DOWN_AFTER_SECONDS,
) -> Iterator[SentinelGroup]:
    """A master with replicas, and three Sentinels."""
    ports = free_ports(1 + replicas + 3)
    servers = [Valkey(port, directory / str(port), password) for port in ports[: 1 + replicas]]
    for server in servers:
        server.directory.mkdir(parents=True)
    group = SentinelGroup(
        directory, servers, ports[1 + replicas :], password, sentinel_password, down_after_seconds
    )
    try:
        group.start()
        yield group
    finally:
        group.stop()
