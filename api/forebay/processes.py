"""Which machine and process this is, and whether another process is still alive.

There are three names, for three questions:

* `host_name`: the name that people know the machine by. Messages and records show it.
* `machine_name`: tells machines apart that share a host name, or were made from one image.
* `pid_scope`: equal in two processes exactly when they can see each other's process ids, so not in two
  containers. With a pid and a start time it makes a process's `identity`, which is never used again.

Only the standard library, and little of it: the supervisor of the embedded index loads this module without
the rest of the package (see `forebay.embedded._boot`).
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from functools import cache

_UNKNOWN_START = "?"
_IDENTITY = re.compile(r"([^-]*)-([0-9]{1,18})-([^-]*)(?:-|\Z)")


def host_name() -> str:
    """The machine's host name."""
    return socket.gethostname()


def location(directory: str) -> str:
    """``host:directory``, as messages and records show where a directory is; links in it are resolved."""
    return f"{host_name()}:{os.path.realpath(directory)}"


def machine_name() -> str:
    """The host name and a short hash of the machine's id, such as ``gpu-7-3f9a01bc``.

    Neither is enough alone: containers and cluster nodes made from one image share the id, and hosts
    often share a name. In a container the host name changes when it is created anew.
    """
    host = host_name()
    digest = hashlib.sha256(f"{host}\n{_machine_id()}".encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', host)[:64] or 'host'}-{digest[:8]}"


def boot_id() -> str:
    """A text that differs from one boot of the kernel to the next; empty where it is not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def network_namespace() -> int:
    """The number of this process's network namespace; 0 where there are none, or it is not known."""
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return 0


@cache
def pid_scope() -> str:
    """10 hexadecimal digits that two processes share exactly when they can see each other's process ids.

    Where the kernel does not tell (macOS), processes of one host name share them.
    """
    boot = boot_id()
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, namespace = "", ""
    return hashlib.sha256(f"{boot or host_name()} {namespace}".encode()).hexdigest()[:10]


def start_time(pid: int) -> str:
    """When a process was started, so that another one with its pid is not taken for it.

    Returns:
        clock ticks since the boot; empty where the process has ended (a zombie has, too), ``?`` where it
        cannot be told.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            stat = file.read()
    except FileNotFoundError:
        return "" if os.path.exists("/proc/self/stat") else _UNKNOWN_START
    except OSError:
        return _UNKNOWN_START
    # The name, in parentheses, may hold spaces and parentheses itself.
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    return "" if state == "Z" else fields[18]


def identity() -> str:
    """This process's identity, ``<pid scope>-<pid>-<start time>``: no other process ever has the same.

    Not cached: a forked child has another one.
    """
    pid = os.getpid()
    return f"{pid_scope()}-{pid}-{start_time(pid)}"


def is_alive(scope: str, pid: int, started: str) -> bool:
    """Whether a process may still be running.

    Args:
        scope: its `pid_scope`.
        pid: its process id within that scope.
        started: its `start_time`.

    Returns:
        False only where it is known to have ended. True also where this process cannot tell, as of a
        process on another machine or in another container.
    """
    return scope != pid_scope() or start_time(pid) == started


def is_identity_alive(text: str) -> bool:
    """`is_alive` for an `identity`; also for one that is followed by ``-`` and more.

    True where the text does not begin with an identity: this process cannot tell whose it is.
    """
    match = _IDENTITY.match(text)
    return match is None or is_alive(match[1], int(match[2]), match[3])


def _machine_id() -> str:
    if sys.platform == "darwin":
        return _hardware_id()
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path) as file:
                return file.read().strip()
        except OSError:
            continue
    return ""


def _hardware_id() -> str:
    import ctypes  # imported here: only macOS needs it

    found, no_wait = ctypes.create_string_buffer(16), (ctypes.c_long * 2)(1, 0)
    try:
        ctypes.CDLL(None).gethostuuid(found, ctypes.byref(no_wait))
    except (AttributeError, OSError):
        return ""
    return found.raw.hex()
