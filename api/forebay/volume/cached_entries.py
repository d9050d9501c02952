"""Which of many entries are cached, by the word of the index and by a look at each file.

What is asked of one object is nearly nothing, so what is done for each counts: files of one directory are
marked by their names in it, and Redis answers meanwhile.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Sequence

from forebay.errors import VolumeError
from forebay.index import Index
from forebay.volume.absent_files import AbsentFiles
from forebay.volume.files import Files
from forebay.volume.signs import is_leaving

# A directory is opened only where it has so many of the files; and a thread is started for so many entries.
_MANY_FILES = 4
_MANY_ENTRIES = 1000
_OPEN_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


def take_cached(index: Index, files: Files, entries: Sequence[str]) -> list[bool]:
    """Which entries are cached; those count as used now, by the index and by the marks of their files.

    The files are marked before the index answers. What the evictor chooses after that, it spares for its time
    of use in the index; what it is removing at that moment, the index does not call published.

    Args:
        files: of a volume that another machine has: the word of the index is all there is to go by.

    Raises:
        IndexUnavailableError: Redis does not come back.
    """
    if isinstance(files, AbsentFiles):
        return index.entries.present(entries)
    if len(entries) < _MANY_ENTRIES:
        marked = _mark(files, entries)
        published = index.entries.present(entries)
    else:
        asking = _Asking(index, entries)
        marked = _mark(files, entries)
        published = asking.answer()
    # Where not even the directory is there, the file can only be at the entry's other place, where few are.
    return [
        known and (there if there is not None else _can_touch(files, entry))
        for there, known, entry in zip(marked, published, entries, strict=True)
    ]


class _Asking:
    """Asks the index which entries are published, in a thread."""

    def __init__(self, index: Index, entries: Sequence[str]) -> None:
        self._index = index
        self._entries = entries
        self._published: list[bool] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._ask, name="forebay-cached-entries", daemon=True)
        self._thread.start()

    def answer(self) -> list[bool]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._published

    def _ask(self) -> None:
        try:
            self._published = self._index.entries.present(self._entries)
        except BaseException as error:
            self._error = error


def mark(files: Files, entries: Sequence[str]) -> list[bool]:
    """Marks the file of each entry as used now; false where there is none."""
    marked = zip(_mark(files, entries), entries, strict=True)
    return [_can_touch(files, entry) if there is None else there for there, entry in marked]


def _mark(files: Files, entries: Sequence[str]) -> list[bool | None]:
    """The same; ``None`` where not even the directory of the file is there, and its other place was not
    looked at."""
    path_of = files.layout().path
    directories: dict[str, tuple[list[int], list[str]]] = {}
    for number, entry in enumerate(entries):
        directory, _, name = path_of(entry).rpartition("/")
        found = directories.get(directory)
        if found is None:
            found = directories[directory] = ([], [])
        found[0].append(number)
        found[1].append(name)
    marked: list[bool | None] = [False] * len(entries)
    root = files.layout().media_dir
    for directory, (numbers, names) in directories.items():
        there = _marked_in(root, directory, names) if len(names) >= _MANY_FILES else [False] * len(names)
        if there is None:
            for number in numbers:
                marked[number] = None
            continue
        for number, is_there in zip(numbers, there, strict=True):
            # One by one, it is looked for at its other place as well, and may be one that cannot be marked.
            marked[number] = is_there or _can_touch(files, entries[number])
    return marked


def _can_touch(files: Files, entry: str) -> bool:
    try:
        return files.touch(entry) is not None
    except VolumeError:
        # What cannot be told is not cached: its download finds out why.
        return False


def _marked_in(root: str, directory: str, names: Sequence[str]) -> list[bool] | None:
    """Marks files of one directory as used now; false where that cannot be done by the file's name alone, and
    ``None`` where there is no such directory."""
    look, mark, is_file, now = os.stat, os.utime, stat.S_ISREG, time.time_ns()
    marked = []
    try:
        opened = _open_below(root, directory)
    except FileNotFoundError:
        return None
    except OSError:
        return [False] * len(names)
    try:
        for name in names:
            try:
                found = look(name, dir_fd=opened, follow_symlinks=False)
                if is_there := is_file(found.st_mode):
                    mark(name, ns=(now, found.st_mtime_ns), dir_fd=opened, follow_symlinks=False)
                    # In this order: see `forebay.volume.leaving`.
                    is_there = not is_leaving(look(name, dir_fd=opened, follow_symlinks=False))
            except OSError:
                is_there = False
            marked.append(is_there)
    finally:
        os.close(opened)
    return marked


def _open_below(root: str, directory: str) -> int:
    """A descriptor of a directory below ``root``, to which no link leads.

    Raises:
        OSError: there is no such directory, or there is a link on the way.
    """
    opened = os.open(root, _OPEN_DIRECTORY)
    for name in directory[len(root) + 1 :].split("/"):
        above = opened
        try:
            opened = os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return opened
