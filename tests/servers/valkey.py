"""A Redis of the user's own: Valkey on a TCP port, with its data in a directory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

from forebay.embedded import _binary
from tests.servers.process import free_ports, running


@dataclass
class Valkey:
    """A running server.

    Attributes:
        url: database 0, with the password where there is one.
        options: more of the server's.
    """

    port: int
    directory: Path
    password: str = ""
    policy: str = "noeviction"
    options: list[str] = field(default_factory=list)
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Starts the server on the data that it left behind, if any."""
        command = [_binary.find(), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), "--appendonly", "yes", "--save", ""]
        # What is acknowledged is kept, also when the server is killed a moment later.
        command += ["--appendfsync", "always"]
        command += ["--maxmemory-policy", self.policy]
        command += self.options
        if self.password:
            command += ["--requirepass", self.password]
        log = self.directory / "valkey.log"
        self._process: subprocess.Popen[bytes] = self._running.enter_context(
            running(command, log=log, ready=self._answers)
        )

    def stop(self) -> None:
        """Kills the server."""
        self._running.close()

    def restart(self, *, empty: bool = False) -> None:
        """Kills the server and starts it again, with or without its data."""
        self.stop()
        if empty:
            for path in (self.directory / "appendonlydir").glob("*"):
                path.unlink()
        self.start()

    def pause(self) -> None:
        """Stops the server from answering, as a machine under a heavy load would."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@contextlib.contextmanager
def valkey(directory: Path, *, password: str = "", policy: str = "noeviction") -> Iterator[Valkey]:
    """A new server with its data in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Valkey(free_ports()[0], directory, password, policy)
    server.start()
    try:
        yield server
    finally:
        server.stop()
