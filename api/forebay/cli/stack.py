"""``forebay up``: starts and stops the index, a worker and Flower of one machine together."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay import embedded
from forebay.cli.flower import check_port
from forebay.cli.output import complain, emit, say, warn
from forebay.config import mask_url
from forebay.config.sizes import count

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.cli.shared_options import State

_FLOWER_ADDRESS = "127.0.0.1"
_FLOWER_PORT = 5555
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.1
# A worker ends the downloads under way, and begins no others.
_STOP_SECONDS = 30.0


@dataclass
class _Service:
    """A process that belongs to the stack."""

    name: str
    process: subprocess.Popen[bytes]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def end(self) -> str:
        return f"the {self.name} has ended with status {self.process.returncode}"


class _ServiceEndedError(Exception):
    """A part of the stack has ended by itself."""


class _AskedToStop(Exception):  # noqa: N818 - no error
    """A signal has come."""


class Stack:
    """The embedded index (unless there is another Redis), a worker, and Flower.

    The others are processes in sessions of their own, so that Ctrl-C reaches only this one, which stops
    them in order: worker, Flower, index.

    Args:
        flower: whether Flower is wanted.
        flower_port: its port; by default 5555, or a free one.
        json: whether to say as JSON what was started.
    """

    def __init__(self, state: State, *, flower: bool, flower_port: int | None, json: bool) -> None:
        self._state = state
        self._flower = flower
        self._flower_port = flower_port
        self._json = json
        self._services: list[_Service] = []
        self._signals = 0

    def run(self) -> int:
        """Start everything, and stop it at a signal; a second signal kills what is left.

        Returns:
            the exit status: 0, or 1 when the worker ended by itself.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        cache = self._state.cache()
        try:
            self._start(cache)
            self._watch()
        except _AskedToStop:
            say("stopping …")
        except _ServiceEndedError as error:
            complain(str(error))
            return 1
        finally:
            self._stop(cache)
        return 0

    def _note_signal(self, *_: object) -> None:
        self._signals += 1

    def _pause(self) -> None:
        if self._signals:
            raise _AskedToStop
        time.sleep(_LOOK_SECONDS)

    def _start(self, cache: MediaCache) -> None:
        if self._flower and self._flower_port is not None:
            check_port(_FLOWER_ADDRESS, self._flower_port)
        config, index = cache.config, cache.engine.open_index()
        name = f"{config.volume}.{os.getpid()}@"
        options = ["--name", name.rstrip("@"), *["--verbose"] * self._state.verbose]
        worker = self._launch("worker", ["-m", "forebay", "worker", *options])
        flower = self._start_flower()
        self._wait_for(lambda: any(w.name.startswith(name) for w in index.workers.alive()), worker)
        if self._json:
            facts: dict[str, Any] = {"cache_dir": config.cache_dir, "volume": config.volume}
            facts |= {"redis": mask_url(index.connection.url), "worker": worker.process.pid, "flower": flower}
            emit(facts)
            sys.stdout.flush()
        say(f"cache   {config.cache_dir} (volume {config.volume})")
        say(f"index   {mask_url(index.connection.url)}")
        say(f"worker  process {worker.process.pid}, {count(config.num_workers, 'message')} at a time")
        if flower:
            say(f"Flower  {flower}")
        say("Ctrl-C stops it all")

    def _start_flower(self) -> str | None:
        if not self._flower:
            return None
        if importlib.util.find_spec("flower") is None:
            warn("Flower is not installed: `pip install 'forebay[flower]'`, or --no-flower")
            return None
        port = self._flower_port or _free_port(_FLOWER_PORT)
        service = self._launch("Flower", ["-m", "forebay", "flower", "--port", str(port)])
        self._wait_for(lambda: _listens(port), service)
        return f"http://{_FLOWER_ADDRESS}:{port}"

    def _launch(self, name: str, arguments: list[str]) -> _Service:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            # Their output is not the result of this command.
            stdout=sys.stderr.fileno(),
            stderr=sys.stderr.fileno(),
            env={**os.environ, **self._state.environment()},
            start_new_session=True,
            # This process has no other threads that could hold a lock at the fork.
            preexec_fn=_end_with_parent,  # noqa: PLW1509
        )
        service = _Service(name, process)
        self._services.append(service)
        return service

    def _wait_for(self, ready: Callable[[], bool], service: _Service) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if service.ended:
                raise _ServiceEndedError(service.end)
            if time.monotonic() > deadline:
                raise _ServiceEndedError(f"the {service.name} is not ready after {_START_SECONDS:.0f} s")
            self._pause()

    def _watch(self) -> None:
        while True:
            self._pause()
            for service in [service for service in self._services if service.ended]:
                if service.name == "worker":
                    raise _ServiceEndedError(service.end)
                warn(service.end)
                self._services.remove(service)

    def _stop(self, cache: MediaCache) -> None:
        for service in self._services:
            # SIGTERM would have the worker wait for 20 s, whatever its tasks do.
            service.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _STOP_SECONDS
        while left := [service for service in self._services if not service.ended]:
            if self._signals > 1 or time.monotonic() > deadline:
                for service in left:
                    os.killpg(service.process.pid, signal.SIGKILL)
                    service.process.wait()
            time.sleep(_LOOK_SECONDS)
        cache.close()
        if cache.config.redis_url is None:
            _stop_index(cache.config.cache_dir)


def _stop_index(cache_dir: str) -> None:
    status = embedded.status(cache_dir)
    if status is not None and status.clients:
        say("other programs still use the embedded index: it stops after they disconnect")
    elif status is not None:
        embedded.stop(cache_dir)


def _end_with_parent() -> None:
    """On Linux, have the kernel send SIGTERM to this process when its parent is killed."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)


_PR_SET_PDEATHSIG = 1
# Looked up before the fork: the child may not.
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None


def _free_port(wanted: int) -> int:
    """``wanted`` if the port is free, else another free port."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_FLOWER_ADDRESS, port))
            return int(probe.getsockname()[1])
    raise _ServiceEndedError("no port is free for Flower")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((_FLOWER_ADDRESS, port), timeout=1.0):
            return True
    except OSError:
        return False
