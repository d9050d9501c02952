"""The process that keeps one Valkey server running, and ends it when it has had no client for a while.

It outlives the process that started it. Each process that finds no server starts a supervisor; the
supervisor that gets the lock stays, and the others end. Its server inherits the lock, so that the lock is
free again only when both are gone, however they ended.

The starter reads one line of JSON from its standard output: ``{"state": …}`` with

- ``ready``: a server answers; ``moved`` lists data that could not be loaded and was set aside,
- ``busy``: another supervisor runs, but its server does not answer yet,
- ``refused``: another machine holds the lease; with ``host``, ``age_seconds``, ``free_after_seconds``,
- ``killed``: the server was killed while it was starting; ``trouble`` tells how,
- ``failed``: the server does not start; with the ``reason``, such as the end of its log.

Imports only a little of the standard library: this process runs as long as any cache is in use.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import Any

from forebay.backoff import Backoff
from forebay.embedded import _data, _lock
from forebay.embedded._machine_lease import HEARTBEAT_SECONDS, MachineLease
from forebay.embedded._server import ServerProcess, Signals
from forebay.embedded._settings import CONFIG, LOG, SERVER_CONFIG, SOCKET, SUPERVISOR
from forebay.embedded._wire import ask, connect, info, ping

# Short enough that the lease is touched in time while the server is busy.
_ANSWER_SECONDS = 1.0
_HIDDEN_SOCKET = SOCKET + ".closed"
_LOG_BYTES = 1 << 20
_LOG_TAIL_BYTES = 2000


class _StartError(Exception):
    """The server does not start."""


class _KilledError(Exception):
    """The server was killed or stopped while it was starting."""


def main(directory: str, binary: str, host: str, idle_seconds: float, max_wait_seconds: float) -> None:
    """Runs the server as long as it is used.

    Args:
        directory: the server's directory.
        binary: the server's program.
        host: this machine's name.
        idle_seconds: how long the server stays without a client.
        max_wait_seconds: how long the starter waits.
    """
    deadline = time.monotonic() + max_wait_seconds
    # The starter waits for its child, so that it keeps no zombie; its child's child stays.
    if os.fork():
        os._exit(0)
    report = os.dup(1)
    os.dup2(2, 1)
    os.umask(0o077)
    os.chdir(directory)
    signals, lease = Signals(), MachineLease(host)
    try:
        answer = _settle(lease, deadline)
        if answer is not None:
            _tell(report, **answer)
            return
        server, moved = _start(binary, lease, signals)
    except _KilledError as error:
        _tell(report, state="killed", trouble=str(error))
    except Exception as error:
        _tell(report, state="failed", reason=str(error) or repr(error))
    else:
        connection = None
        with contextlib.suppress(OSError):
            # Before a process counts the clients.
            connection = _connect()
        _tell(report, state="ready", moved=moved)
        try:
            _watch(server, idle_seconds, lease, signals, connection)
        finally:
            server.stop()
    finally:
        lease.release()


def _tell(report: int, **facts: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(report, json.dumps(facts).encode() + b"\n")
    os.close(report)


def _settle(lease: MachineLease, deadline: float) -> dict[str, Any] | None:
    """Waits until it is decided which process keeps the server.

    Returns:
        ``None`` if this process does, otherwise what to report to the starter.
    """
    lock = None
    while True:
        lock = lock or _lock.take(".")
        held = lease.take() if lock else None
        if lock and not held:
            lock.share()
            return None
        # A server that can be reached is on this machine, even if its lease has another host name.
        if ping(SOCKET, _ANSWER_SECONDS) == "+PONG":
            return {"state": "ready"}
        if time.monotonic() + (held.free_after_seconds if held else 0.0) > deadline:
            return {"state": "refused", **held._asdict()} if held else {"state": "busy"}
        time.sleep(0.05 if held else 0.005)


def _start(binary: str, lease: MachineLease, signals: Signals) -> tuple[ServerProcess, list[str]]:
    """Starts the server; sets aside data that it cannot load, when it can start without.

    Raises:
        _StartError: it does not start either way; nothing was set aside.
        _KilledError: a signal ended it.
    """
    if os.stat(LOG).st_size > _LOG_BYTES:
        os.truncate(LOG, 0)
    with open(CONFIG, "w") as file:
        file.write(SERVER_CONFIG)
    log_start = os.stat(LOG).st_size
    server = _run_until_ready(binary, lease, signals)
    if server.runs():
        return server, []
    if not server.failed:
        raise _KilledError(f"the server ended with status {server.exit_status} while it was starting")
    problem = _log_since(log_start) or f"{binary} ended with status {server.exit_status}"
    moved = _data.set_aside()
    if moved:
        server = _run_until_ready(binary, lease, signals)
        if server.runs() or not server.failed:
            return server, [aside for _, aside in moved]
        _data.put_back(moved)
    raise _StartError(problem)


def _run_until_ready(binary: str, lease: MachineLease, signals: Signals) -> ServerProcess:
    """Runs the server until it answers, or has ended."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    server, backoff = ServerProcess(binary), Backoff(0.002, 0.2, factor=1.1)
    while server.runs() and ping(SOCKET, _ANSWER_SECONDS) != "+PONG":
        if signals.stopping:
            server.stop()
        elif not lease.heartbeat():
            server.kill()
        # Loading much data takes a while; only SIGTERM or a lost lease ends the wait.
        signals.wait(backoff.next())
    return server


def _log_since(position: int) -> str:
    with open(LOG, "rb") as log:
        log.seek(max(position, os.stat(LOG).st_size - _LOG_TAIL_BYTES))
        return log.read().decode("utf-8", "replace").strip()


def _connect() -> socket.socket:
    connection = connect(SOCKET, _ANSWER_SECONDS)
    ask(connection, f"CLIENT SETNAME {SUPERVISOR}")
    return connection


def _watch(
    server: ServerProcess,
    idle_seconds: float,
    lease: MachineLease,
    signals: Signals,
    connection: socket.socket | None,
) -> None:
    """Returns when the server has ended, is to be stopped, or was not used for ``idle_seconds``."""
    pause = min(HEARTBEAT_SECONDS, max(idle_seconds / 8, 0.01))
    used, seen = time.monotonic(), -1
    # Without its socket no new client could reach it: then a new server is better.
    while server.runs() and not signals.stopping and os.path.exists(SOCKET):
        if not lease.heartbeat():
            server.kill()
            return
        try:
            if connection is None:
                connection = _connect()
            clients, connections = _usage(connection)
            if clients or connections != seen:
                used, seen = time.monotonic(), connections
            elif time.monotonic() - used >= idle_seconds and _hide_socket(connection, seen):
                return
        except OSError:
            # It ends, which the next round sees, or it is busy, which counts as use.
            if connection is not None:
                connection.close()
            used, connection = time.monotonic(), None
        signals.wait(pause)


def _usage(connection: socket.socket) -> tuple[int, int]:
    """How many clients there are apart from this one, and how many connections there ever were."""
    clients = int(info(connection, "clients")["connected_clients"])
    return clients - 1, int(info(connection, "stats")["total_connections_received"])


def _hide_socket(connection: socket.socket, seen: int) -> bool:
    """Hides the socket from new clients; false, and undone, if one connected at the last moment."""
    os.rename(SOCKET, _HIDDEN_SOCKET)
    # A client that connected before the rename may still wait to be accepted; the server accepts it
    # between the two questions.
    usages = [_usage(connection), _usage(connection)]
    if usages[-1] == (0, seen):
        os.unlink(_HIDDEN_SOCKET)
        return True
    os.rename(_HIDDEN_SOCKET, SOCKET)
    return False
