"""A container engine: the one that answers, or one that is started for the tests where that is possible."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_START_SECONDS = 60.0
# Without rules for a firewall, which needs none of the host's: containers reach each other and the host.
_OPTIONS = ("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


class NoEngineError(Exception):
    """This machine has no engine, and cannot start one; the message says why."""


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Yields the environment with which ``docker`` reaches an engine.

    An engine that this starts keeps its images in the directory for temporary files, for the next time.

    Raises:
        NoEngineError: there is none, and none can be started.
    """
    if shutil.which("docker") is None:
        raise NoEngineError("there is no `docker` command; on Debian: apt-get install docker.io")
    if _answers({}):
        given = {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        yield given
        return
    if os.geteuid() != 0:
        raise NoEngineError("no engine answers, and only root can start one")
    if shutil.which("dockerd") is None:
        raise NoEngineError(
            "no engine answers, and there is no dockerd; on Debian: apt-get install docker.io"
        )
    directory = Path(tempfile.gettempdir()) / "forebay-engine"
    directory.mkdir(exist_ok=True)
    environment = {"DOCKER_HOST": f"unix://{directory}/docker.sock"}
    places = [f"--data-root={directory}/data", f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"]
    command = ["dockerd", *_OPTIONS, *places, "--host", environment["DOCKER_HOST"]]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(environment):
            if process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise NoEngineError(f"dockerd does not start on this machine:\n{end}")
            time.sleep(0.2)
        yield environment
    finally:
        process.terminate()
        process.wait(60)


def _answers(environment: dict[str, str]) -> bool:
    done = subprocess.run(
        ["docker", "info"], check=False, env={**os.environ, **environment}, capture_output=True
    )
    return done.returncode == 0 and b"Server Version" in done.stdout
