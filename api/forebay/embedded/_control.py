"""The status of the embedded server, and stopping it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

from forebay.embedded import _lock
from forebay.embedded._server_directory import ServerDirectory
from forebay.embedded._settings import LOG, SUPERVISOR
from forebay.embedded._wire import ask, connect, info
from forebay.errors import IndexUnavailableError

_ASKING = "asking"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A running embedded server.

    Attributes:
        url: its URL for redis-py.
        pid: its process.
        run_id: differs from one run of the server to the next.
        clients: how many clients are connected.
        uptime_seconds: how long it has been running.
        used_memory_bytes: the memory of its data and buffers.
    """

    url: str
    pid: int
    run_id: str
    clients: int
    uptime_seconds: int
    used_memory_bytes: int


def status(cache_dir: str) -> ServerStatus | None:
    """The status of the embedded server of ``cache_dir``; ``None`` when it does not run or answer."""
    place = ServerDirectory(cache_dir)
    place.make_reachable()
    facts: dict[str, str] = {}
    try:
        with connect(place.socket, 5.0) as connection:
            for section in ("server", "clients", "memory"):
                facts |= info(connection, section)
    except OSError:
        return None
    return ServerStatus(
        url=place.url,
        pid=int(facts["process_id"]),
        run_id=facts["run_id"],
        # Without this connection, and without the supervisor's.
        clients=max(0, int(facts["connected_clients"]) - 2),
        uptime_seconds=int(facts["uptime_in_seconds"]),
        used_memory_bytes=int(facts["used_memory"]),
    )


def is_unused(cache_dir: str) -> bool:
    """Whether the embedded server of ``cache_dir`` runs, and no process uses it; who asks this does not."""
    place = ServerDirectory(cache_dir)
    if not os.path.isdir(place.directory):
        return False
    place.make_reachable()
    try:
        with connect(place.socket, 5.0) as connection:
            # Another process that asks the same does not use it either.
            ask(connection, f"CLIENT SETNAME {_ASKING}")
            clients = ask(connection, "CLIENT LIST").splitlines()
    except OSError:
        return False
    return all(f" name={SUPERVISOR} " in line or f" name={_ASKING} " in line for line in clients)


def stop(cache_dir: str, *, timeout_seconds: float = 10.0) -> bool:
    """Stops the embedded server of ``cache_dir``, connected clients or not; its data are kept.

    Returns:
        Whether one was running. When this returns, its supervisor has ended too (if it runs in another
        container, it is about to).

    Raises:
        IndexUnavailableError: it has not ended within ``timeout_seconds``.
    """
    deadline = time.monotonic() + timeout_seconds
    place = ServerDirectory(cache_dir)
    if not os.path.isdir(place.directory):
        return False
    place.make_reachable()
    running = False
    while True:
        reached = _shut_down(place.socket)
        lock = _lock.take(place.directory)
        running = running or reached or lock is None
        if lock is not None:
            lock.release()
            if not reached:
                return running
        if time.monotonic() > deadline:
            raise IndexUnavailableError(
                f"the embedded index of {cache_dir} has not stopped within {timeout_seconds:g} s; see "
                f"{os.path.join(place.directory, LOG)}"
            )
        time.sleep(0.005)


def _shut_down(path: str) -> bool:
    """Tells the server to end; it syncs the append-only file first. False where no server is reached."""
    try:
        with connect(path, 1.0) as connection, contextlib.suppress(OSError):
            ask(connection, "SHUTDOWN NOSAVE")
    except OSError:
        return False
    return True
