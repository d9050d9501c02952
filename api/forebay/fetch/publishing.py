"""Publishing a complete file: it appears under its name at once."""

from __future__ import annotations

import contextlib
import errno
import os

from forebay.fetch.destination import Destination
from forebay.index import SessionLostError
from forebay.volume.files import Files
from forebay.volume.session import Session

_MAX_TRIES = 100


def publish(to: Destination, temporary: str, token: str, entry: str, *, replaces: bool) -> str:
    """Moves the partial file of a claim to the place of its entry.

    A process that takes over an expired claim removes its partial file first, so a late owner's rename
    finds nothing: it cannot publish over its successor.

    Args:
        temporary: the path of the partial file.
        replaces: whether there is an older copy, which may lie at the entry's other place.

    Returns:
        the path of the file.

    Raises:
        SessionLostError: the claim was lost.
        OSError: there is no place for it.
    """
    layout = to.files.layout()
    place = layout.path(entry)
    if _renamed(to.files, temporary, place, to.session, token):
        if replaces:
            to.files.remove_path(layout.alternate_path(entry))
        return place
    place = layout.alternate_path(entry)
    if _renamed(to.files, temporary, place, to.session, token):
        return place
    raise FileExistsError(errno.EEXIST, "there is something else, and at its other place as well", place)


def _renamed(files: Files, temporary: str, place: str, session: Session, token: str) -> bool:
    """Moves the file to its place; false where a directory is, or a file where a directory should be."""
    for _ in range(_MAX_TRIES):
        if not session.owns(token):
            raise SessionLostError
        try:
            files.put_in_place(temporary, place)
        except FileNotFoundError:
            if not os.path.exists(temporary):
                raise SessionLostError from None
        except (IsADirectoryError, NotADirectoryError):
            return False
        else:
            return True
        # Its directory is missing, or was pruned a moment ago; as what is made here may be, at any depth.
        with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError):
            files.make_room_for(place)
    raise FileNotFoundError(errno.ENOENT, "the directory disappears again and again", place)
