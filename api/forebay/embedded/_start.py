"""Starting, finding and stopping the embedded server, as seen from the processes that use it."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlsplit

from forebay.embedded import _binary, _lock, _machine
from forebay.embedded._owner import describe_conflict, read_owner
from forebay.embedded._place import Place
from forebay.embedded._settings import LEASE, LOG
from forebay.embedded._wire import ask, connect, info, ping
from forebay.errors import ConfigError, IndexUnavailableError, VolumeError

IDLE_SECONDS = 60.0
IDLE_VARIABLE = "FOREBAY_EMBEDDED_IDLE_SECONDS"

_REMEDY = "set FIFTYONE_MEDIA_CACHE_REDIS_URL to a Redis that runs"
_BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_boot.py")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """A running embedded server.

    Attributes:
        url: its URL for redis-py.
        pid: its process.
        run_id: differs from one run of the server to the next.
        clients: how many clients are connected.
        uptime_seconds: how long it has been running.
        used_memory_bytes: what its data and buffers take.
    """

    url: str
    pid: int
    run_id: str
    clients: int
    uptime_seconds: int
    used_memory_bytes: int


def ensure_running(
    cache_dir: str, *, timeout_seconds: float = 10.0, idle_seconds: float | None = None
) -> str:
    """The URL of the embedded server of ``cache_dir``; starts it when it does not run.

    It takes well under a millisecond when the server runs and about 0.1 s when it does not. The server
    stops when nobody was connected for ``idle_seconds``, so a client whose connection breaks, or that
    cannot connect, must call this again and connect to the URL that it returns.

    Args:
        cache_dir: the volume's directory; created when it does not exist.
        timeout_seconds: how long to wait for the server's first answer.
        idle_seconds: how long a server that is started now stays without a client; by default
            ``FOREBAY_EMBEDDED_IDLE_SECONDS`` from the environment, or `IDLE_SECONDS`.

    Returns:
        ``unix://<path>?db=0``, for ``redis.Redis.from_url``. Celery wants `broker_url`.

    Raises:
        VolumeError: the directory cannot be used, or belongs to another index or another user, or its
            server runs on another machine.
        IndexUnavailableError: no server could be started, or it does not answer.
    """
    deadline = time.monotonic() + timeout_seconds
    place = Place(cache_dir)
    _refuse_other_index(cache_dir)
    if ping(place.socket, timeout_seconds) == "+PONG":
        return _url(place)
    place.prepare()
    while True:
        report = _summon(place, _idle_seconds(idle_seconds), deadline)
        for moved in report.get("moved", ()):
            logger.warning(
                "the embedded index of %s could not be loaded and was moved to %s; it starts empty and is "
                "filled again from the files of the volume",
                cache_dir,
                os.path.join(place.directory, moved),
            )
        answer = ping(place.socket, max(0.1, deadline - time.monotonic()))
        if answer == "+PONG":
            return _url(place)
        if time.monotonic() > deadline:
            raise IndexUnavailableError(
                f"the embedded index of {cache_dir} does not answer within {timeout_seconds:g} s"
                f"{' (' + answer[1:] + ')' if answer else ''}: try again, see "
                f"{os.path.join(place.directory, LOG)}, or {_REMEDY}"
            )


def broker_url(url: str) -> str:
    """Celery's URL for database 1 of the server whose ``url`` `ensure_running` returned."""
    return f"redis+socket://{urlsplit(url).path}?virtual_host=1"


def status(cache_dir: str) -> Status | None:
    """What the embedded server of ``cache_dir`` says of itself, or ``None`` when it does not run."""
    place = Place(cache_dir)
    try:
        with connect(place.socket, 5.0) as connection:
            facts: dict[str, str] = {}
            for section in ("server", "clients", "memory"):
                facts |= info(connection, section)
    except OSError:
        return None
    return Status(
        url=_url(place),
        pid=int(facts["process_id"]),
        run_id=facts["run_id"],
        # Without this connection, and without the supervisor's.
        clients=max(0, int(facts["connected_clients"]) - 2),
        uptime_seconds=int(facts["uptime_in_seconds"]),
        used_memory_bytes=int(facts["used_memory"]),
    )


def stop(cache_dir: str, *, timeout_seconds: float = 10.0) -> bool:
    """Stops the embedded server of ``cache_dir``, connected clients or not; its data are kept.

    Returns:
        Whether one was running.

    Raises:
        IndexUnavailableError: it has not ended within ``timeout_seconds``.
    """
    deadline = time.monotonic() + timeout_seconds
    place = Place(cache_dir)
    try:
        with connect(place.socket, timeout_seconds) as connection:
            ask(connection, "SHUTDOWN NOSAVE")  # syncs the append-only file; there is no other to save
    except ConnectionResetError:
        pass
    except OSError:
        return False
    while (lock := _lock.take(place.directory)) is None:
        if time.monotonic() > deadline:
            raise IndexUnavailableError(
                f"the embedded index of {cache_dir} has not stopped within {timeout_seconds:g} s; see "
                f"{os.path.join(place.directory, LOG)}"
            )
        time.sleep(0.005)
    lock.release()
    return True


def _url(place: Place) -> str:
    return f"unix://{quote(place.socket)}?db=0"


def _refuse_other_index(cache_dir: str) -> None:
    owner = read_owner(cache_dir)
    if owner is not None and owner.kind == "redis":
        raise VolumeError(describe_conflict(cache_dir, owner))


def _idle_seconds(idle_seconds: float | None) -> float:
    if idle_seconds is not None:
        return idle_seconds
    text = os.environ.get(IDLE_VARIABLE, "")
    try:
        value = float(text) if text else IDLE_SECONDS
    except ValueError:
        value = -1.0
    if not value > 0:
        raise ConfigError(
            f"environment variable {IDLE_VARIABLE}={text!r} is not allowed: must be seconds above 0"
        )
    return value


def _summon(place: Place, idle_seconds: float, deadline: float) -> dict[str, Any]:
    """Starts a supervisor and waits for what it reports; an empty report when time is up.

    Raises:
        VolumeError: another machine runs the server of this directory.
        IndexUnavailableError: the server cannot be started.
    """
    patience = max(0.0, deadline - time.monotonic())
    log_path = os.path.join(place.directory, LOG)
    command = [sys.executable, "-I", "-S", _BOOT, place.directory, _binary.find(), _machine.name()]
    # Nothing of this process goes along: no descriptor, no terminal, no secret from the environment.
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    try:
        with (
            open(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log,
            subprocess.Popen(
                [*command, str(idle_seconds), str(patience)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=environment,
                start_new_session=True,
            ) as supervisor,
        ):
            assert supervisor.stdout is not None
            line = _read_line(supervisor.stdout, deadline + 0.5)
    except OSError as error:
        raise IndexUnavailableError(
            f"the embedded index of {place.cache_dir} cannot be started: {error}; {_REMEDY}"
        ) from None
    if line is None:
        return {}
    report: dict[str, Any] = json.loads(line or '{"state": "failed"}')
    if report["state"] == "refused":
        raise VolumeError(_elsewhere(place, report))
    if report["state"] == "failed":
        log_text = report.get("log") or f"its supervisor ended at once; see {log_path}"
        raise IndexUnavailableError(
            f"the embedded index of {place.cache_dir} cannot be started: {log_text}\nMend that, or {_REMEDY}"
        )
    return report


def _elsewhere(place: Place, report: dict[str, Any]) -> str:
    lease = os.path.join(place.directory, LEASE)
    return (
        f"the volume {place.cache_dir} is in use on {report['host']} (last sign of life "
        f"{report['age_seconds']:.0f} s ago), whose embedded index serves that machine only: to share the "
        "volume, run one Redis and set FIFTYONE_MEDIA_CACHE_REDIS_URL to it on every host. To use it here "
        "instead, stop every program that uses it there; if that machine is gone for good, the volume is "
        f"free in {report['free_after_seconds']:.0f} s, or once you delete {lease}"
    )


def _read_line(pipe: IO[bytes], deadline: float) -> bytes | None:
    """The first line, ``b""`` at the end of the pipe, or ``None`` when the deadline passes first."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    # One write of the supervisor, which the pipe keeps in one piece.
    if poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        return pipe.readline()
    return None
