"""Makes directories that only their owner can write, whatever the umask is."""

from __future__ import annotations

import os
import stat

# Others may read the cache. A user who may write it can put anything there, so the group may not.
DIRECTORY_MODE = 0o755
# Where the user says so.
SHARED_DIRECTORY_MODE = 0o775


def make_directory(path: str, mode: int = DIRECTORY_MODE, parent: int | None = None) -> None:
    """Makes one directory. The umask takes away from its permissions, but not from those of the group that
    ``mode`` names: the user has asked for them.

    Args:
        parent: the descriptor of the directory that ``path`` is relative to.

    Raises:
        OSError: it cannot be made.
    """
    os.mkdir(path, mode, dir_fd=parent)
    if mode & stat.S_IWGRP:
        os.chmod(path, mode, dir_fd=parent)


def make_directories(path: str, mode: int = DIRECTORY_MODE) -> None:
    """Makes a directory and those above it, where they are missing.

    Raises:
        OSError: one cannot be made.
    """
    above = os.path.dirname(path)
    if above and not os.path.exists(above):
        make_directories(above, mode)
    try:
        make_directory(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
