"""The fence of a volume's partial files: what a session begins after a recovery has no bytes, and no name.

Redis may lose its data, or be started anew, while processes download. Their sessions are void then, which
they learn at their next call of Redis only; until then they create files, write, and rename them. A recovery
must count what lies on the volume once and for all. So it first puts up a fence of its own, which is an empty
file whose name tells the start of Redis, takes down every other, and then removes all partial files. A late
process writes into one of those, which has no name any more, and its rename finds nothing; or it has created
another one since, looks for the fence that its session began behind, and finds it gone.

Where Redis fails over, two servers may take themselves for the master for seconds, each with processes that
have not heard of the other. The directory is one, and so is the fence: a process that finds that of another
server counts anew before it writes. When both put up theirs at the same time, each takes down the other's,
and neither begins a session before it has tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets

from forebay.uri import Layout

_FENCE = "fence."


def standing(layout: Layout, run_id: str) -> str | None:
    """The fence that stands for a start of Redis.

    Returns:
        its name; empty where there is no fence at all, and ``None`` where there is that of another start.
    """
    found = _fences(layout)
    if not found:
        return ""
    own = [name for name in found if name.startswith(_prefix(run_id))]
    return own[0] if len(found) == len(own) else None


def put_up(layout: Layout, run_id: str) -> str:
    """Puts up a new fence, and takes down all others: what began behind them cannot write any more.

    Returns:
        its name; empty where the disk takes no more files: then nothing can be downloaded anyway.

    Raises:
        OSError: another one cannot be taken down.
    """
    name = _prefix(run_id) + secrets.token_hex(8)
    try:
        os.close(os.open(_path(layout, name), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    except OSError as error:
        if error.errno is None:
            # Not of the disk: the handler of a signal raised it.
            raise
        name = ""
    for other in _fences(layout):
        if other != name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_path(layout, other))
    return name


def stands(layout: Layout, name: str) -> bool:
    """Whether a fence still stands.

    Raises:
        OSError: it cannot be told.
    """
    with contextlib.suppress(FileNotFoundError):
        return not name or bool(os.stat(_path(layout, name)))
    return False


def _fences(layout: Layout) -> list[str]:
    try:
        return sorted(name for name in os.listdir(layout.private_dir) if name.startswith(_FENCE))
    except FileNotFoundError:
        return []


def _path(layout: Layout, name: str) -> str:
    return f"{layout.private_dir}/{name}"


def _prefix(run_id: str) -> str:
    return _FENCE + hashlib.sha256(run_id.encode()).hexdigest()[:16] + "."
