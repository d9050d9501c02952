"""Reaches what lies below a volume's directory, and follows no link on the way there.

A user who can write to a directory of the cache can put a link there. A download through it would overwrite
files elsewhere, an eviction would delete them, and a hit would hand them out. So a link below the directory
counts as something that is in the way, like another object's file.

Linux resolves a whole path so in one call, ``openat2``, which Python does not have. Where the kernel, or a
container's filter, refuses it, and on macOS, each directory of a path is opened from the one before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeVar

from forebay import forks
from forebay.new_directories import DIRECTORY_MODE, make_directory

_OPENAT2, _AT_FDCWD, _RESOLVE_NO_SYMLINKS = 437, -100, 0x04
# Names a file without opening it, so that neither its permissions nor a server of NFS are asked.
_NAME_ONLY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC
_DIRECTORY = _NAME_ONLY | os.O_DIRECTORY
_MAX_VISITED = 64
_T = TypeVar("_T")

# Errors that mean: there is no such file of ours, because nothing is there, or something else is in the way.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Beneath:
    """The files below one directory; safe to use from many threads, and after a fork.

    It keeps no descriptor open but within `visiting`: a daemon closes those that it does not know, and an
    open one keeps a file system from being unmounted.

    Args:
        directory: links that lead to it are the user's, and are followed once.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory.rstrip("/")
        # Where the directory is another machine's, there is nothing to resolve.
        self._real = os.path.realpath(directory).rstrip("/") if os.path.isabs(directory) else self._directory
        self._is_real = self._real == self._directory
        self._thread = _Thread()

    @contextlib.contextmanager
    def visiting(self) -> Iterator[None]:
        """Keeps the directories open that this thread reaches, until the end of the block.

        So it is looked for links once for many files of one directory. The block must be short, as a
        directory that is moved away meanwhile still counts as what lies at its path.
        """
        visited = self._thread.visited = {}
        try:
            yield
        finally:
            self._thread.visited = None
            for descriptor in visited.values():
                if descriptor >= 0:
                    os.close(descriptor)

    # Each `path` begins with the directory.

    def status(self, path: str) -> os.stat_result:
        """The status of what lies at a path, which is not followed if it is a link.

        Raises:
            OSError: nothing that can be reached does.
        """
        native = _native() if self._thread.visited is None else None
        if native is not None:
            descriptor = native.open(self._resolved(path), _NAME_ONLY)
            try:
                return os.fstat(descriptor)
            finally:
                os.close(descriptor)
        return self._at(path, lambda name, at: os.stat(name, dir_fd=at, follow_symlinks=False))

    def open(self, path: str, flags: int) -> int:
        """Opens a file that is there, without following a link.

        Raises:
            OSError: it cannot be opened.
        """
        native = _native()
        if native is not None:
            return native.open(self._resolved(path), flags)
        return self._at(path, lambda name, at: os.open(name, flags | os.O_NOFOLLOW, dir_fd=at))

    def is_file(self, path: str) -> bool:
        """Whether a path leads to a file without a link on the way.

        Raises:
            OSError: it cannot be told.
        """
        with absence():
            return stat.S_ISREG(self.status(path).st_mode)
        return False

    def is_same(self, path: str, found: os.stat_result) -> bool:
        """Whether a path leads, without a link on the way, to what was found there."""
        # Without `absence`, which would take a third of the time.
        try:
            status = self.status(path)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise
        return status.st_ino == found.st_ino and status.st_dev == found.st_dev

    def is_directory(self, path: str) -> bool:
        """Whether a path leads to a directory without a link on the way.

        Raises:
            OSError: it cannot be told.
        """
        with absence():
            os.close(self._open_directory(path))
            return True
        return False

    def create(self, path: str) -> int:
        """Opens a file for reading and writing, which is made, or emptied; returns its descriptor.

        Raises:
            OSError: it cannot be made.
        """
        flags = os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        native = _native()
        if native is not None:
            return native.open(self._resolved(path), flags, 0o644)
        return self._at(path, lambda name, at: os.open(name, flags, 0o644, dir_fd=at))

    def unlink(self, path: str) -> None:
        """Removes a file, or a link itself.

        Raises:
            OSError: it is not there, or cannot be removed.
        """
        self._at(path, lambda name, at: os.unlink(name, dir_fd=at))

    def chmod(self, path: str, mode: int) -> None:
        """Changes the permissions of a file.

        Raises:
            OSError: it is not there, or not this user's.
        """
        self._at(path, lambda name, at: os.chmod(name, mode, dir_fd=at))

    def take_out(self, path: str, place: str) -> None:
        """Moves a file to a directory of Forebay's own, which only this user can write.

        Raises:
            OSError: it is not there, or cannot be moved.
        """
        self._at(path, lambda name, at: os.rename(name, self._resolved(place), src_dir_fd=at))

    def rmdir(self, path: str) -> None:
        """Removes an empty directory.

        Raises:
            OSError: it is not there, or cannot be removed.
        """
        self._at(path, lambda name, at: os.rmdir(name, dir_fd=at))

    def rename(self, path: str, place: str) -> None:
        """Moves a file of Forebay's own, whose directory only this user can write, to a place.

        Raises:
            NotADirectoryError, IsADirectoryError: something else is in its way, such as a link.
            OSError: it cannot be moved there.
        """
        try:
            self._at(place, lambda name, at: os.rename(self._resolved(path), name, dst_dir_fd=at))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotADirectoryError(errno.ENOTDIR, "there is a link on the way", place) from None
            raise

    def link(self, outside: str, path: str) -> None:
        """Gives a file elsewhere, or a link itself, another name, below the directory.

        Raises:
            OSError: the file system cannot, or is another one; or there is something of that name.
        """
        self._at(path, lambda name, at: os.link(outside, name, dst_dir_fd=at, follow_symlinks=False))

    def make_directories(self, path: str, mode: int = DIRECTORY_MODE) -> None:
        """Makes a directory and those above it, where they are missing.

        Raises:
            OSError: one cannot be made, or something else is in its place.
        """
        try:
            os.close(self._open_directory(path))
        except FileNotFoundError:
            if len(path) <= len(self._directory):
                raise
            self.make_directories(os.path.dirname(path), mode)
            with contextlib.suppress(FileExistsError):
                self._at(path, lambda name, at: make_directory(name, mode, at))

    def _at(self, path: str, call: Callable[[str, int], _T]) -> _T:
        """Calls a function with the last name of a path, and the descriptor of the directory that it is in.

        Raises:
            OSError: there is no such directory, or a link is on the way.
        """
        above, _, name = path.rpartition("/")
        visited = self._thread.visited
        directory = self._open_directory(above) if visited is None else self._visit(above, visited)
        try:
            return call(name, directory)
        except OSError as error:
            # The system was told the last name only.
            error.filename = path
            raise
        finally:
            if visited is None:
                os.close(directory)

    def _visit(self, path: str, visited: dict[str, int]) -> int:
        """The descriptor of a directory, which stays open; one that is not there is not looked for again."""
        descriptor = visited.get(path)
        if descriptor is None:
            if len(visited) >= _MAX_VISITED:
                oldest = visited.pop(next(iter(visited)))
                if oldest >= 0:
                    os.close(oldest)
            try:
                descriptor = self._open_directory(path)
            except OSError as error:
                if error.errno in _ABSENT:
                    visited[path] = -error.errno
                raise
            visited[path] = descriptor
        if descriptor < 0:
            raise OSError(-descriptor, os.strerror(-descriptor), path)
        return descriptor

    def _open_directory(self, path: str) -> int:
        resolved, native = self._resolved(path), _native()
        if native is not None:
            return native.open(resolved, _DIRECTORY)
        descriptor = os.open(self._real or "/", _DIRECTORY)
        for name in filter(None, resolved[len(self._real) :].split("/")):
            try:
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                error.filename = path
                raise
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _resolved(self, path: str) -> str:
        if "/../" in path or path.endswith("/.."):
            raise OSError(errno.ELOOP, "leads out of the cache directory", path)
        return path if self._is_real else self._real + path[len(self._directory) :]


class _Thread(threading.local):
    """What one thread keeps open: directories by path, or the error, below 0, by which one is not there."""

    visited: dict[str, int] | None = None

    def __reduce__(self) -> tuple[type[_Thread], tuple[()]]:
        """A copy, also in another process, has nothing open."""
        return _Thread, ()


@contextlib.contextmanager
def absence() -> Iterator[None]:
    """Ends the block where an error says that there is no such file of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


class _Native:
    """The system call of Linux that Python does not have.

    Args:
        call: ``syscall`` of the C library.
        last_error: returns the error number of the last call in this thread.
    """

    def __init__(self, call: Callable[..., int], last_error: Callable[[], int]) -> None:
        self._call = call
        self._last_error = last_error

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Opens a path without a link in it."""
        how = _HOW.get(flags) or _how(flags, mode)
        descriptor = self._call(_OPENAT2, _AT_FDCWD, path.encode("utf-8", "surrogateescape"), how, 24)
        if descriptor < 0:
            number = self._last_error()
            raise OSError(number, os.strerror(number), path)
        return descriptor


def _how(flags: int, mode: int = 0) -> bytes:
    """The ``struct open_how`` of the call."""
    return struct.pack("QQQ", flags, mode, _RESOLVE_NO_SYMLINKS)


_HOW = {_NAME_ONLY: _how(_NAME_ONLY)}


@cache
def _native() -> _Native | None:
    """The call, where this kernel has it and lets us use it."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        return None
    # Imported here: what only parses URIs does without it.
    with forks.setting_up():
        import ctypes

    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    native = _Native(call, ctypes.get_errno)
    try:
        os.close(native.open("/", _DIRECTORY))
    except OSError:
        return None
    return native
