"""Real file systems for tests: small ones, read-only ones, some that are mounted inside of others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(*arguments: str) -> None:
    """Runs ``mount``; skips the test where this user may not."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@contextmanager
def tmpfs(directory: Path, options: str) -> Iterator[Path]:
    """A file system in memory at ``directory``, with options such as ``size=1m,nr_inodes=100``."""
    directory.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", str(directory))
    try:
        yield directory
    finally:
        # Lazily: a process that was killed may still have a file open.
        subprocess.run(["umount", "-l", str(directory)], check=True)


def remount(directory: Path, options: str) -> None:
    """Changes the options of a file system: ``ro``, ``rw`` or ``size=…``."""
    mount("-o", f"remount,{options}", str(directory))


def fill(directory: Path) -> Path:
    """Takes every free byte of a file system; returns the file that has them."""
    file = directory / "filler"
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue
    return file


def use_up_inodes(directory: Path) -> list[Path]:
    """Takes every free inode of a file system; returns the files that have them."""
    files: list[Path] = []
    while True:
        try:
            (file := directory / f"inode-{len(files)}").touch()
        except OSError:
            return files
        files.append(file)
