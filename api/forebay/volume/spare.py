"""Space that is kept for the embedded index, which writes even to say what there is, and to free space.

It consists of a few files, for bytes and for inodes. On a full disk they give way, so that the index can
start, answer and evict; they are made again when there is room.
"""

from __future__ import annotations

import contextlib
import os

_BYTES = 1 << 20
# As many as the index makes at its start, and some more.
_FILES = 16


def keep_spare(private_dir: str) -> None:
    """Gives the spare files up where the disk is full, and makes them where it has plenty of room."""
    directory = os.path.join(private_dir, "spare")
    with contextlib.suppress(OSError):
        found = os.statvfs(private_dir)
        free = found.f_bavail * found.f_frsize
        if free < _BYTES // 2 or (found.f_files > 0 and found.f_favail < _FILES // 2):
            for name in os.listdir(directory):
                os.unlink(os.path.join(directory, name))
        elif free > 3 * _BYTES and (not found.f_files or found.f_favail > 3 * _FILES):
            _make(directory)


def _make(directory: str) -> None:
    last = os.path.join(directory, str(_FILES - 1))
    if os.path.exists(last):
        return
    os.makedirs(directory, mode=0o700, exist_ok=True)
    for number in range(_FILES):
        with open(os.path.join(directory, str(number)), "wb") as file:
            # Random, as some file systems keep no zeros.
            file.write(b"" if number else os.urandom(_BYTES))
