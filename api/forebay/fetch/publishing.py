"""Publishing a complete file: it appears under its name at once."""

from __future__ import annotations

import contextlib
import errno
import os

from forebay.index import Download, SessionLostError
from forebay.volume.files import Files
from forebay.volume.session import Session

_MAX_TRIES = 100


def publish(files: Files, session: Session, token: str, entry: str, *, replaces: bool) -> str:
    """Moves the partial file of a claim to the place of its entry.

    A process that takes over an expired claim removes its partial file first, so a late owner's rename
    finds nothing: it cannot publish over its successor.

    Args:
        replaces: whether there is an older copy, which may lie at the entry's other place.

    Returns:
        the path of the file.

    Raises:
        SessionLostError: the claim was lost.
        OSError: there is no place for it.
    """
    layout, temporary = files.layout(), files.temporary(token)
    for find in (layout.path, layout.alternate_path):
        place = find(entry)
        if _renamed(temporary, place, session, token):
            if replaces and find == layout.path:
                remove_if_there(layout.alternate_path(entry))
            return place
    raise FileExistsError(errno.EEXIST, "there is something else, and at its other place as well", place)


def _renamed(temporary: str, place: str, session: Session, token: str) -> bool:
    """Moves the file to its place; false where a directory is, or a file where a directory should be."""
    for _ in range(_MAX_TRIES):
        if not session.owns(token):
            raise SessionLostError
        try:
            os.rename(temporary, place)
        except FileNotFoundError:
            if not os.path.exists(temporary):
                raise SessionLostError from None
        except (IsADirectoryError, NotADirectoryError):
            return False
        else:
            return True
        # Its directory is missing, or was pruned a moment ago; as what is made here may be, at any depth.
        with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError):
            os.makedirs(os.path.dirname(place), exist_ok=True)
    raise FileNotFoundError(errno.ENOENT, "the directory disappears again and again", place)


def withdraw(files: Files, session: Session, download: Download) -> None:
    """Removes a published file whose commit is not known to have succeeded, and gives back its bytes.

    If the commit did succeed, the next request finds an entry without a file, and downloads it again.
    """
    with contextlib.suppress(OSError):
        files.remove(download.entry)
    session.reservation(download.token, download.size).close()


def remove_if_there(path: str) -> None:
    """Removes a file, if there is one."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)
