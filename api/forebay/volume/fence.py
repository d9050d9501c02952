"""The fence of a volume's partial files: what a session begins after a recovery has no bytes, and no name.

Redis may lose its data, or be started anew, while processes download. Their sessions are void then, which
they learn at their next call of Redis only; until then they create files, write, and rename them. A recovery
must count what lies on the volume once and for all. So it first takes down the fence, which is an empty file
with a name of its own, and then removes all partial files. A late process writes into one of those, which has
no name any more, and its rename finds nothing; or it has created another one since, looks for the fence that
its session began behind, and finds it gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets

from forebay.uri import Layout

_FENCE = "fence."


def current(layout: Layout) -> str:
    """The fence that stands; one is put up where there is none.

    Returns:
        its name; empty where the disk takes no more files: then nothing can be downloaded anyway.
    """
    found = _fences(layout)
    if found:
        return found[0]
    name = _FENCE + secrets.token_hex(8)
    with contextlib.suppress(OSError):
        os.close(os.open(_path(layout, name), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        return name
    return ""


def stands(layout: Layout, name: str) -> bool:
    """Whether a fence still stands.

    Raises:
        OSError: it cannot be told.
    """
    with contextlib.suppress(FileNotFoundError):
        return not name or bool(os.stat(_path(layout, name)))
    return False


def take_down(layout: Layout) -> None:
    """Takes down the fence; what is renamed from now on must have been created before.

    Raises:
        OSError: it cannot be removed.
    """
    for name in _fences(layout):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_path(layout, name))


def _fences(layout: Layout) -> list[str]:
    try:
        return sorted(name for name in os.listdir(layout.private_dir) if name.startswith(_FENCE))
    except FileNotFoundError:
        return []


def _path(layout: Layout, name: str) -> str:
    return f"{layout.private_dir}/{name}"
