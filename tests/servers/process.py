"""Starts a server process that cannot outlive its test session."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def free_ports(count: int = 1, *, below: int = 32768) -> list[int]:
    """``count`` different TCP ports of 127.0.0.1 that nothing listens on now, all less than ``below``.

    They lie below those that the kernel gives to outgoing connections: one of these could take a port
    before the server does that it is meant for.
    """
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(10240, below), below - 10240):
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"fewer than {count} free ports below {below}")


@contextlib.contextmanager
def running(
    command: list[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    environment: dict[str, str] | None = None,
    timeout: float = 90.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs ``command`` in a process group of its own until the block ends.

    Args:
        log: the file that takes the server's output; its end is shown when the server does not come up.
        ready: whether the server serves; an `OSError` counts as "not yet".
    """
    if setpriv := shutil.which("setpriv"):
        # The kernel kills the server when this process dies without having cleaned up.
        command = [setpriv, "--pdeathsig", "KILL", *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        _wait_until(ready, process, log, timeout)
        yield process
    finally:
        _kill_group(process)


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(OSError):
            if ready():
                return
        if process.poll() is not None or time.monotonic() > deadline:
            what = "ended" if process.poll() is not None else f"did not answer within {timeout} s"
            raise RuntimeError(
                f"{process.args!r} {what}; the end of its log:\n{log.read_text(errors='replace')[-3000:]}"
            )
        time.sleep(0.02)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
