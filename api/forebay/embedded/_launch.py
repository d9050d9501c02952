"""Starts a supervisor, and reads its report."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from dataclasses import dataclass, field
from typing import IO, Any

from forebay import forks, processes
from forebay.embedded._server_directory import ServerDirectory
from forebay.embedded._settings import LEASE, LOG
from forebay.errors import IndexUnavailableError, VolumeError

REMEDY = "set FIFTYONE_MEDIA_CACHE_REDIS_URL to a Redis that runs"

_BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_boot.py")
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class StartResult:
    """The result of starting a supervisor where no error was reported.

    Attributes:
        moved: the new names of data files that the server could not load.
        trouble: why there may be no server yet; another attempt may succeed.
    """

    moved: list[str] = field(default_factory=list)
    trouble: str = ""


def start_supervisor(place: ServerDirectory, idle_seconds: float, deadline: float) -> StartResult:
    """Starts a supervisor, and waits until there is a server or the deadline passes.

    Raises:
        VolumeError: another machine runs the server of this directory.
        IndexUnavailableError: the server cannot be started.
    """
    try:
        report = _run(place, idle_seconds, deadline)
    except OSError as error:
        raise _cannot_start(place, str(error)) from None
    if report["state"] == "refused":
        raise _in_use_elsewhere(place, report)
    if report["state"] == "failed":
        raise _cannot_start(place, report["reason"])
    return StartResult(report.get("moved", []), report.get("trouble", ""))


def _run(place: ServerDirectory, idle_seconds: float, deadline: float) -> dict[str, Any]:
    # Imported here: subprocess takes 40 ms, and mostly a server runs already.
    with forks.setting_up():
        import subprocess

        from forebay.embedded import _binary

    log_path = os.path.join(place.directory, LOG)
    arguments = [place.directory, _binary.find(), processes.machine_name(), str(idle_seconds)]
    arguments.append(str(max(0.0, deadline - time.monotonic())))
    # The supervisor inherits nothing from this process: no descriptor, no terminal, no secret variable.
    with (
        open(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log,
        subprocess.Popen(
            [sys.executable or "python3", "-I", "-S", _BOOT, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            start_new_session=True,
        ) as supervisor,
    ):
        assert supervisor.stdout is not None
        line = _read_line(supervisor.stdout, deadline + 0.5)
    if line:
        return dict(json.loads(line))
    if line is None:
        return {"state": "busy"}
    if supervisor.returncode > 0:
        return {"state": "failed", "reason": f"{sys.executable} cannot run its supervisor; see {log_path}"}
    return {"state": "killed", "trouble": "the supervisor was killed"}


def _read_line(pipe: IO[bytes], deadline: float) -> bytes | None:
    """The first line, ``b""`` at the end of the pipe, or ``None`` when the deadline passes first."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    return pipe.readline() if ready else None


def _cannot_start(place: ServerDirectory, reason: str) -> IndexUnavailableError:
    return IndexUnavailableError(
        f"the embedded index of {place.cache_dir} cannot be started: {reason}\nMend that, or {REMEDY}"
    )


def _in_use_elsewhere(place: ServerDirectory, report: dict[str, Any]) -> VolumeError:
    lease = os.path.join(place.directory, LEASE)
    host = report["host"]
    if host == processes.machine_name():
        host += ", this machine, through another mount or container"
    return VolumeError(
        f"the volume {place.cache_dir} is in use on {host} (last heartbeat "
        f"{report['age_seconds']:.0f} s ago), whose embedded index serves that machine only: to share the "
        "volume, run one Redis and set FIFTYONE_MEDIA_CACHE_REDIS_URL to it on every host. To use it here "
        "instead, stop every program that uses it there; if that machine is gone for good, the volume is "
        f"free in {report['free_after_seconds']:.0f} s, or once you delete {lease}",
        path=place.cache_dir,
    )
