"""Removing what was created in CVAT, which refuses to remove a task while it imports the task's media."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from forebay.backoff import Backoff
from forebay.cvat.server import CvatServer
from forebay.errors import CvatError, CvatResponseError

WAIT_SECONDS = 120.0
_MIN_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 5.0


def remove_all(
    server: CvatServer,
    created: Sequence[tuple[str, int]],
    *,
    wait_seconds: float = 0.0,
    tell: Callable[[str], object] = lambda _: None,
) -> str:
    """Removes objects of CVAT, and says which are left.

    CVAT answers with 409 or 500 until an import has ended, and cannot cancel one that has started, so
    this asks again until then. Ctrl-C ends the wait.

    Args:
        created: the kind of each, as its path has it (``tasks``), and its number.
        wait_seconds: how long to ask again, all of them together.
        tell: called with a sentence when there is something to wait for.

    Returns:
        what to tell the user about those that could not be removed; empty if there are none.
    """
    end, left = time.monotonic() + wait_seconds, []
    for position, (kind, number) in enumerate(created):
        try:
            _remove(server, kind, number, end, tell)
        except CvatError as error:
            left.append(f"{_named(server, kind, number)} ({getattr(error, 'detail', error)})")
        except KeyboardInterrupt:
            left += [_named(server, kind, number) for kind, number in created[position:]]
            break
    if not left:
        return ""
    when = ", when the import has ended" if any(kind == "tasks" for kind, _ in created) else ""
    return f"Left in CVAT: {'; '.join(left)}. Delete {'it' if len(left) == 1 else 'them'} there{when}"


def _remove(server: CvatServer, kind: str, number: int, end: float, tell: Callable[[str], object]) -> None:
    backoff, told = Backoff(_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS), False
    while True:
        try:
            server.delete(f"/api/{kind}/{number}")
        except CvatResponseError as error:
            remaining = end - time.monotonic()
            if (error.status != 409 and error.status < 500) or remaining <= 0:
                raise
        else:
            return
        if not told:
            tell(
                f"CVAT cannot cancel an import that it has started: waiting up to {remaining:.0f} s until "
                f"{_named(server, kind, number)} can be removed; Ctrl-C leaves it there"
            )
            told = True
        time.sleep(min(backoff.next(), remaining))


def _named(server: CvatServer, kind: str, number: int) -> str:
    """For instance ``task 5, https://app.cvat.ai/tasks/5``."""
    return f"{kind.removesuffix('s')} {number}, {server.masked_url}/{kind}/{number}"
