"""What tells this machine from the others that may reach the same directory."""

from __future__ import annotations

import hashlib
import re
import socket
import sys


def name() -> str:
    """The host name and a short hash of the machine's id, such as ``gpu-7-3f9a01bc``.

    Neither is enough alone: containers and cluster nodes made from one image share the id, and hosts
    often share a name. In a container the host name changes when it is created anew.
    """
    host = socket.gethostname()
    digest = hashlib.sha256(f"{host}\n{_machine_id()}".encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', host)[:64] or 'host'}-{digest[:8]}"


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
    import ctypes

    found, no_wait = ctypes.create_string_buffer(16), (ctypes.c_long * 2)(1, 0)
    try:
        ctypes.CDLL(None).gethostuuid(found, ctypes.byref(no_wait))
    except (AttributeError, OSError):
        return ""
    return found.raw.hex()
