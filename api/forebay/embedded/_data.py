"""Moves and copies the server's data files, which are in the working directory."""

from __future__ import annotations

import os
import shutil
import time

from forebay.embedded._settings import DATA


def set_aside() -> list[tuple[str, str]]:
    """Renames the data files to ``….broken-<time>``; returns the pairs of names, old and new."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    moved = [(name, f"{name}.broken-{stamp}") for name in DATA if os.path.lexists(name)]
    for name, aside in moved:
        os.rename(name, aside)
    return moved


def put_back(moved: list[tuple[str, str]]) -> None:
    """Undoes `set_aside`."""
    for name, aside in moved:
        if os.path.isdir(name):
            shutil.rmtree(name)
        os.rename(aside, name)


def make_own() -> None:
    """Copies the data into new files: the host that they were taken from may wake and write once more."""
    name = DATA[0]
    if os.path.isdir(name):
        theirs = name + ".theirs"
        shutil.rmtree(theirs, ignore_errors=True)
        os.rename(name, theirs)
        shutil.copytree(theirs, name)
        shutil.rmtree(theirs)
