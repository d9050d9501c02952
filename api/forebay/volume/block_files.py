"""Which blocks of an object lie on the volume."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from forebay.uri.blocks import MARK
from forebay.volume.files import Files


def having_blocks(files: Files, entries: Sequence[str]) -> set[str]:
    """Which objects have a directory for their blocks.

    Of many objects, mostly none has one, and to look for each would cost more than all the rest that is done
    before a download. So the directory that they are in is asked first.
    """
    path_of, above = files.layout().path, dict[str, bool]()
    found = set()
    for entry in entries:
        directory = path_of(entry).rpartition("/")[0]
        if directory not in above:
            above[directory] = len(entries) == 1 or _may_have_directories(directory)
        if above[directory] and any(map(os.path.isdir, _places(files, entry))):
            found.add(entry)
    return found


def _may_have_directories(directory: str) -> bool:
    """False where it is certain that there is none below a directory.

    One that holds none has two links, one from above and one from itself; where links are not counted, there
    is one.
    """
    try:
        return os.stat(directory).st_nlink != 2
    except FileNotFoundError:
        return False
    except OSError:
        return True


def blocks_of(files: Files, entry: str) -> list[str]:
    """The entries of an object's blocks, of whatever version, whose files lie on the volume; in no order."""
    layout = files.layout()
    found: dict[str, None] = {}
    for above in _places(files, entry):
        for version in _names(above):
            directory = f"{above}/{version}"
            for name in _names(directory):
                block = layout.entry(f"{directory}/{name}")
                if block is not None:
                    found[block] = None
    return list(found)


def _places(files: Files, entry: str) -> list[str]:
    """The directories that may have an object's blocks, in one directory for each version."""
    layout, below = files.layout(), f"{entry}{MARK}/0/0"
    places = layout.path(below), layout.alternate_path(below)
    return [os.path.dirname(os.path.dirname(place)) for place in places]


def _names(directory: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(directory)
    return []
