"""A cache directory with an embedded server that must be gone when the test is over."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis

from forebay import embedded

_T = TypeVar("_T")


@contextlib.contextmanager
def cache_directory(path: Path) -> Iterator[str]:
    """Yields ``path`` as a cache directory; at the end stops its server, and checks that nothing is left."""
    path.mkdir(parents=True)
    try:
        yield str(path)
    finally:
        embedded.stop(str(path))
        eventually(lambda: not processes(str(path)))


def processes(cache_dir: str) -> list[psutil.Process]:
    """The servers, supervisors and would-be supervisors of a cache directory."""
    directory = os.path.join(os.path.realpath(cache_dir), ".forebay", "valkey")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == directory or directory in process.cmdline():
                found.append(process)
    return [process for process in found if not has_ended(process)]


def server(cache_dir: str) -> psutil.Process:
    """The one server of a cache directory."""
    (found,) = (process for process in processes(cache_dir) if "valkey-server" in process.cmdline()[0])
    return found


def supervisor(cache_dir: str) -> psutil.Process:
    """The one supervisor of a cache directory."""
    parent = server(cache_dir).parent()
    assert parent is not None
    return parent


def client(url: str) -> Any:
    """A redis-py client."""
    return redis.Redis.from_url(url, decode_responses=True, protocol=2)


def eventually(condition: Callable[[], _T], timeout_seconds: float = 10.0) -> _T:
    """Waits until ``condition`` gives something true, and returns that."""
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return result


def has_ended(process: psutil.Process) -> bool:
    """Whether it is gone, or waits only for somebody to ask how it ended."""
    with contextlib.suppress(psutil.Error):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True
