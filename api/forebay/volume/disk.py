"""The disk below a volume: what it says of itself, and what of it cannot be read."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterable, Iterator

from forebay.errors import VolumeError

log = logging.getLogger(__name__)

# The numbers by which a disk says that it is full.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# So begin the names of the files that `can_rename` makes.
PROBE = "probe."
# Downloads leave so many inodes free; of a small file system, a twentieth.
_MIN_FREE_INODES = 1000
_MIN_FREE_PART = 20
_MIN_NAME = 64
_MAX_NAME = 255


def files_below(directory: str, without: str = "") -> Iterator[tuple[str, int]]:
    """Every file below ``directory`` with its size in bytes; what cannot be read is passed over.

    Args:
        without: a directory that is left out.
    """
    try:
        with os.scandir(directory) as found:
            for item in found:
                try:
                    if not item.is_dir(follow_symlinks=False):
                        yield item.path, item.stat(follow_symlinks=False).st_size
                    elif item.path != without:
                        yield from files_below(item.path, without)
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        log.warning("%s is passed over, as it cannot be read: %s", directory, error.strerror)


def lacks_inodes(found: os.statvfs_result) -> bool:
    """Whether a file system has too few inodes left for more files."""
    # One that makes inodes as it needs them says that it has none.
    return found.f_files > 0 and found.f_favail <= min(_MIN_FREE_INODES, found.f_files // _MIN_FREE_PART)


def longest_name(directory: str) -> int:
    """How many bytes a name may have in a directory, or in the nearest one above it that exists."""
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    with contextlib.suppress(OSError, ValueError):
        told = os.pathconf(directory, "PC_NAME_MAX")
        # Some file systems tell nothing that can be believed.
        if told >= _MIN_NAME:
            return told
    return _MAX_NAME


def allocate(descriptor: int, size: int) -> None:
    """Makes an open file ``size`` bytes long, and takes the space for it where that is done at once.

    It is on a disk. In memory every page is looked for first: 0.5 s for 2 GB, in which nothing arrives. A
    network file system may not know how, and then the C library writes into every block. The devices of both
    have the major number 0.

    Raises:
        OSError: there is no room for it.
    """
    if os.major(os.fstat(descriptor).st_dev):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
        else:
            return
    os.ftruncate(descriptor, size)


def can_rename(directory: str, other: str) -> bool:
    """Whether files of one directory can be moved to another one; false where that is on another disk.

    Raises:
        OSError: one of them cannot be written.
    """
    # Processes of other machines and containers may have the same numbers.
    name = PROBE + os.urandom(8).hex()
    probe, moved = os.path.join(directory, name), os.path.join(other, name)
    descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        try:
            # A full disk may have room for an empty file.
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)
        os.replace(probe, moved)
    except OSError as error:
        os.unlink(probe)
        if error.errno != errno.EXDEV:
            raise
        return False
    os.unlink(moved)
    return True


def unreadable(path: str, error: OSError) -> VolumeError:
    """The error for a path that cannot be looked at."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "fix the permissions of its directories, or run as the user who filled the cache"
    else:
        remedy = "see to the disk, or set FIFTYONE_MEDIA_CACHE_DIR to another directory"
    return VolumeError(f"{path} cannot be read ({error.strerror}): {remedy}", path=path, errno=error.errno)


def folds_case(cache_dir: str) -> bool:
    """Whether the file system takes ``A`` and ``a`` for the same name."""
    path = cache_dir
    while not os.path.exists(path) or os.path.basename(path).swapcase() == os.path.basename(path):
        if path == os.path.dirname(path):
            return False
        path = os.path.dirname(path)
    swapped = os.path.join(os.path.dirname(path), os.path.basename(path).swapcase())
    return os.path.exists(swapped) and os.path.samefile(path, swapped)


def refuse_links(cache_dir: str, own: Iterable[str]) -> None:
    """Raises `VolumeError` where one of the cache's own directories is a link."""
    link = next(filter(os.path.islink, own), None)
    if link is not None:
        raise VolumeError(
            f"{link} is a link: Forebay follows no link below the cache directory, because others could put "
            "one there; put a directory in its place, or let FIFTYONE_MEDIA_CACHE_DIR name the one that it "
            "leads to",
            path=cache_dir,
        )
