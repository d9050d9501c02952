"""The right to run the server of one directory on this machine.

The kernel releases it when the last process that holds it is gone, however it ended: there is no file to
clean up, and no process id that could be another's by now. On Linux it is a name among the abstract unix
sockets, elsewhere a lock on a file in ``/tmp``. It is never a lock on a file of the cache directory, which
may be on NFS.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys


class Lock:
    """A held lock; child processes inherit it once `share` was called."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def share(self) -> None:
        """Lets child processes inherit the lock; it is free when they, too, have ended."""
        os.set_inheritable(self._descriptor, True)

    def release(self) -> None:
        os.close(self._descriptor)


def take(directory: str) -> Lock | None:
    """Takes the lock of ``directory``, or returns ``None`` when another process holds it.

    Raises:
        OSError: ``directory`` does not exist.
    """
    name = name_of(directory)
    return _take_name(name) if sys.platform == "linux" else _take_file(f"/tmp/{name}.lock")


def name_of(directory: str) -> str:
    """The lock's name: the same for every path that leads to ``directory``, but not for another mount.

    Raises:
        OSError: ``directory`` does not exist.
    """
    found = os.stat(directory)
    return f"forebay-{os.geteuid()}-{found.st_dev:x}-{found.st_ino:x}"


def _take_name(name: str) -> Lock | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        try:
            holder.bind("\0" + name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return Lock(holder.detach())


def _take_file(path: str) -> Lock | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Lock(descriptor)
