"""Which machine and process this is, and whether another process still exists."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from functools import cache
from pathlib import Path


def new_session_id() -> str:
    """A new name for a session of this process: ``<machine>-<pid>-<start of the process>-<random>``."""
    return f"{_host()}-{os.getpid()}-{_start_of(os.getpid())}-{secrets.token_hex(4)}"


def ended_here(session: str) -> bool:
    """Whether a session belongs to a process of this machine that exists no longer.

    False when that cannot be told: the session is then left to expire.
    """
    host, pid, started, _ = session.split("-")
    return host == _host() and _start_of(int(pid)) != started


def sessions_of_parent(session: str) -> str:
    """What the sessions of this process's parent begin with, as ``session`` is one of this process."""
    return f"{session.partition('-')[0]}-{os.getppid()}-"


def place(cache_dir: str) -> str:
    """Where a directory of this machine is, as ``host:directory``."""
    return f"{socket.gethostname()}:{os.path.realpath(cache_dir)}"


@cache
def _host() -> str:
    """What two processes have in common exactly when they can see each other's process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, space = socket.gethostname(), ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:10]


def _start_of(pid: int) -> str:
    """When a process was started, in clock ticks, so that its reused id is not taken for it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "" if os.path.exists("/proc/self/stat") else "?"
    except OSError:
        return "?"
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    # A zombie will do nothing more.
    return "" if state == "Z" else fields[18]
